"""Make the bundled FP16 or INT8 model of a bundled FP32 model: convert or calibrate, then score.

`python benchmarks/bundle_converted.py schanger-small int8 --data SOURCE ... --score levir/val=ROOT:val ...` writes
schanger_edge/model/NAME-int8.onnx, its ranges taken on the tiles of the sources, name and scores in its card; report
and scores of both models go to benchmarks/results/.
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
from schanger_export.convert import convert, report_path
from schanger_export.graph import write_card

SAMPLES = {"fp16": 32, "int8": 256}


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
            shutil.copy(report_path(file, ".png"), RESULTS / f"{name}-calibration.png")
        card, scores = read_model(file).card, official_scores(options.score, file)
        model = onnx.load(str(file))
        write_card(model, dataclasses.replace(card, name=name, scores=scores))
        onnx.save_model(model, str(FOLDER / f"{name}.onnx"))
        report = json.loads(report_path(file).read_text())
    figures = {"scores": scores, "scores_of_the_parent": read_model(parent).card.scores}
    key = {"fp16": "conversion", "int8": "calibration"}[options.precision]
    save(name, {"method": __doc__, **figures, key: report})


def tell(stage: str, done: int, total: int) -> None:
    print(f"{stage} {done}/{total}", end="\r", flush=True)


if __name__ == "__main__":
    main()
