"""Make the bundled INT8 model of a bundled FP32 model: calibrate, score, put name and scores into its card.

`python benchmarks/bundle_int8.py schanger-small --calibrate SOURCE ... --score levir/val=ROOT:val ...` writes
schanger_edge/model/NAME-int8.onnx; the report of the calibration and the scores of both go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import onnx
from common import RESULTS, official_scores, save

from schanger_edge.model.bundled import FOLDER, model_path
from schanger_edge.model.file import read_model
from schanger_export.calibrate import calibrate
from schanger_export.graph import write_card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parent", help="such as schanger-small")
    parser.add_argument("--calibrate", action="append", required=True, help="as `schanger-edge calibrate --data`")
    parser.add_argument("--score", action="append", default=[], help="NAME=ROOT:SPLIT")
    parser.add_argument("--samples", type=int, default=256)
    options = parser.parse_args()
    name = f"{options.parent}-int8"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.onnx"
        made = calibrate(
            model_path(options.parent), options.calibrate, file, samples=options.samples,
            progress=lambda stage, done, total: print(f"{stage} {done}/{total}", end="\r", flush=True),
        )  # fmt: skip
        card, scores = read_model(file).card, official_scores(options.score, file)
        model = onnx.load(str(file))
        write_card(model, dataclasses.replace(card, name=name, scores=scores))
        onnx.save_model(model, str(FOLDER / f"{name}.onnx"))
        report = json.loads(made.reports[0].read_text())
        shutil.copy(made.reports[1], RESULTS / f"{name}-calibration.png")
    parent = read_model(model_path(options.parent)).card.scores
    figures = {"scores": scores, "scores_of_the_parent": parent, "calibration": report}
    save(f"{name}", {"method": __doc__, **figures})


if __name__ == "__main__":
    main()
