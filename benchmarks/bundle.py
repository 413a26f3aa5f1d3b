"""Make a bundled model: export a checkpoint, score it, put the scores into its card, and keep its weights beside it.

`python benchmarks/bundle.py RUN/last.pth schanger-small --dataset TEXT --score levir/val=ROOT:val ...` writes
schanger_edge/model/NAME.onnx and, to train on from, export/schanger_export/bundled/NAME.pth. Scores go by the official
protocol (`schanger-edge evaluate`) on the folders given; the same figures are written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import official_scores, save

from schanger_edge.model.bundled import FOLDER
from schanger_export.architecture import is_parameter
from schanger_export.cards import compose_card
from schanger_export.checkpoints import as_tensors, load_weights, read_card, save_checkpoint, weights_sha256
from schanger_export.to_onnx import export_model
from schanger_export.weights import BUNDLED

LICENSE = "research use only, like the imagery it was trained on; see NOTICE"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name", help="such as schanger-small")
    parser.add_argument("--dataset", required=True, help="what the weights were trained on, in words")
    parser.add_argument("--tile", type=int, help="side of its tiles, in pixels")
    parser.add_argument("--halo", type=int, help="context around a tile's core, in pixels")
    parser.add_argument("--tiling", default="", help="why it has this tile and halo, in words")
    parser.add_argument("--score", action="append", default=[], help="NAME=ROOT:SPLIT")
    options = parser.parse_args()
    card: dict[str, Any] = {**read_card(options.checkpoint), "dataset": options.dataset, "license": LICENSE}
    card |= {"name": options.name, "scores": {}, "tiling": options.tiling}
    card |= {key: value for key in ("tile", "halo") if (value := getattr(options, key)) is not None}
    size, state = load_weights(options.checkpoint)
    weights, model = BUNDLED / f"{options.name}.pth", FOLDER / f"{options.name}.onnx"

    def write() -> float:
        BUNDLED.mkdir(exist_ok=True)
        save_checkpoint(weights, as_tensors(state), card=card)
        given = {"size": size, "weights_sha256": weights_sha256(weights)}
        return export_model(state, model, compose_card(card, given, None, None)).largest_difference

    difference = write()
    card["scores"] = official_scores(options.score, model)
    write()
    figures = {"largest_difference_from_double_precision": difference, "scores": card["scores"]}
    figures["weights_sha256"] = weights_sha256(weights)
    figures |= {
        "parameters": sum(value.size for name, value in state.items() if is_parameter(name)),
        "bytes": model.stat().st_size,
    }
    save(f"{options.name}-accuracy", {"method": __doc__, "trained_on": options.dataset, **figures})


if __name__ == "__main__":
    main()
