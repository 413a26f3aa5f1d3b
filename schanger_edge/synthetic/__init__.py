"""Made-up two-date aerial scenes with exact truth, for the demo, tests, benchmarks and training."""

from schanger_edge.synthetic.files import SyntheticPair, write_pair
from schanger_edge.synthetic.scene import SyntheticScene

__all__ = ["SyntheticPair", "SyntheticScene", "write_pair"]
