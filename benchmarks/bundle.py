"""Make a bundled model: export a checkpoint, score it, and put the scores into its card.

`python benchmarks/bundle.py last.pth small -o schanger_edge/models/schanger-small.onnx --dataset TEXT
--score levir/val=ROOT:val --score synthetic=ROOT:val`. Scores go by the official protocol (`schanger-edge evaluate`)
on the folders given; the same figures are written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import save

from schanger_edge import evaluate
from schanger_edge._version import __version__
from schanger_edge.model_card import ModelCard, Normalization, Statistics
from schanger_export.checkpoints import load_network, weights_sha256
from schanger_export.to_onnx import export_model

LICENSE = "research use only, like the imagery it was trained on; see NOTICE"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("size", choices=["small", "base"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--dataset", required=True, help="what the weights were trained on, in words")
    parser.add_argument("--score", action="append", default=[], help="NAME=ROOT:SPLIT")
    parser.add_argument("--mean", type=float, nargs=3, default=[0.40, 0.39, 0.34])
    parser.add_argument("--std", type=float, nargs=3, default=[0.18, 0.17, 0.16])
    parser.add_argument("--halo", type=int, default=32)
    parser.add_argument("--gsd", type=float, default=0.5)
    options = parser.parse_args()
    statistics = Statistics(tuple(options.mean), tuple(options.std))
    network = load_network(options.checkpoint, options.size)
    scores: dict[str, dict[str, float]] = {}

    def write() -> float:
        card = ModelCard(
            name=f"schanger-{options.size}", size=options.size, dataset=options.dataset, tile=256, halo=options.halo,
            threshold=0.5, gsd=options.gsd, normalization=Normalization(statistics, statistics),
            weights_sha256=weights_sha256(options.checkpoint), scores=scores,
            producer=f"schanger-edge {__version__}", license=LICENSE,
        )  # fmt: skip
        return export_model(network, options.output, card).largest_difference

    difference = write()
    for text in options.score:
        name, place = text.split("=", 1)
        root, split = place.rsplit(":", 1)
        result = evaluate(root, split=split, model=options.output)
        keys = ("f1", "precision", "recall", "iou")
        scores[name] = {**{key: round(getattr(result, key), 4) for key in keys}, "tiles": result.tiles}
    write()
    figures = {"largest_difference_from_torch": difference, "scores": scores}
    save(f"{options.output.stem}-accuracy", {"method": __doc__, "trained_on": options.dataset, **figures})


if __name__ == "__main__":
    main()
