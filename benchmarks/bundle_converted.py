"""Make the bundled FP16 or INT8 model of a bundled FP32 model: convert or calibrate, then score.

`python benchmarks/bundle_converted.py schanger-small int8 --data SOURCE ... --score levir/val=ROOT:val ...` writes
schanger_edge/model/NAME-int8.onnx, its ranges taken on the tiles of the sources, name and scores in its card; report
and scores of both models go to benchmarks/results/. Nothing is written where it loses more than half a point of F1 on
any of the scored data.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
from common import RESULTS, official_scores, save

from schanger_edge.model.bundled import FOLDER, model_path
from schanger_edge.model.file import read_model
from schanger_export.calibrate import calibrate
from schanger_export.convert import convert, report_path
from schanger_export.graph import write_card

SAMPLES = {"fp16": 32, "int8": 256}
LOSS = 0.5
"""Points of F1."""

Scores = Mapping[str, Mapping[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parent", help="such as schanger-small")
    parser.add_argument("precision", choices=SAMPLES)
    parser.add_argument("--data", action="append", required=True, help="as of `schanger-edge calibrate`")
    parser.add_argument("--score", action="append", default=[], help="NAME=ROOT:SPLIT")
    parser.add_argument("--samples", type=int)
    options = parser.parse_args()
    name, samples = f"{options.parent}-{options.precision}", options.samples or SAMPLES[options.precision]
    parent = model_path(options.parent)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.onnx"
        if options.precision == "fp16":
            convert(parent, file, sources=options.data, samples=samples, progress=tell)
        else:
            calibrate(parent, options.data, file, samples=samples, progress=tell)
        card, scores = read_model(file).card, official_scores(options.score, file)
        check_loss(read_model(parent).card.scores, scores)
        model = onnx.load(str(file))
        write_card(model, dataclasses.replace(card, name=name, scores=scores))
        onnx.save_model(model, str(FOLDER / f"{name}.onnx"))
        if options.precision == "int8":
            shutil.copy(report_path(file, ".png"), RESULTS / f"{name}-calibration.png")
        report = json.loads(report_path(file).read_text())
    figures = {"scores": scores, "scores_of_the_parent": read_model(parent).card.scores}
    key = {"fp16": "conversion", "int8": "calibration"}[options.precision]
    save(name, {"method": __doc__, **figures, key: report})


def check_loss(parent: Scores, scores: Scores) -> None:
    """End where the model scores more than LOSS below its parent, or the parent was not scored on the same data."""
    for data, found in scores.items():
        if data not in parent:
            raise SystemExit(f"the parent's card has no score on {data}: make it with benchmarks/bundle.py.")
        if not (lost := 100 * (parent[data]["f1"] - found["f1"])) <= LOSS:
            raise SystemExit(f"{lost:.2f} points of F1 lost on {data}, more than {LOSS}: nothing was written.")


def tell(stage: str, done: int, total: int) -> None:
    print(f"{stage} {done}/{total}", end="\r", flush=True)


if __name__ == "__main__":
    main()
