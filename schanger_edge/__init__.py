"""Change maps from two georeferenced images: `from schanger_edge import detect`."""

# Eager, because a submodule of the same name would else take the place of the function.
from schanger_edge._version import __version__
from schanger_edge.errors import SchangerError
from schanger_edge.evaluation.evaluate import Evaluation, evaluate
from schanger_edge.run.detect import Detection, detect

__all__ = ["Detection", "Evaluation", "SchangerError", "__version__", "detect", "evaluate"]
