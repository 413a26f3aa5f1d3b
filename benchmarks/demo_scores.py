"""Scores of the bundled model on the demo's rendered pair against its exact truth.

`python benchmarks/demo_scores.py` does what `schanger-edge demo` does and writes `results/demo.json`. The scene is one
that no training saw; the second date lies in another CRS, and tiles overlap as in `run`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from common import save

from schanger_edge.evaluation.demo import SEED, SIDE, demo


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = demo(Path(folder))
    model, counts = result.detection.summary["model"], result.counts
    scores = {key: round(getattr(counts, key), 4) for key in ("f1", "precision", "recall", "iou")}
    head = {"method": __doc__, "model_sha256": model["sha256"], "side": SIDE, "seed": SEED}
    save("demo", {**head, "pixels": counts.total, "scores": scores})


if __name__ == "__main__":
    main()
