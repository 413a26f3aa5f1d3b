"""The graph that is built node by node against the tracer's: export time and memory, and the speed of the models.

`python benchmarks/graph.py [--sizes small base] [--rounds 11]`. Three models of the same weights: `plain`, as torch's
tracer writes the network; `traced`, the same with constants folded in torch, as exports were made before; and `built`,
by `onnx_network.build`. Each export runs in a process of its own and includes the comparison of four pairs of tiles
with its reference: torch for the tracer, double precision in numpy for the graph. A round runs each model once on one
pair of 256 x 256, in an order turned by one each round, in ONNX Runtime and in OpenVINO, one thread each. Times are CPU
times of the process, medians over rounds; ratios are those of one round, to `traced`. `small` has the bundled weights,
`base` random ones. A size that is not named keeps what was measured of it before. Needs the `export` and `openvino`
extras.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, save

TILE, PAIRS = 256, 4
FORMS = ("plain", "traced", "built")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["small", "base"])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--export", nargs=3, metavar=("SIZE", "FORM", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        export(*options.export)
        return
    found = json.loads((RESULTS / "graph.json").read_text())["sizes"] if (RESULTS / "graph.json").exists() else {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--export", size]
            exports = {
                form: json.loads(subprocess.check_output([*command, form, folder], text=True).splitlines()[-1])
                for form in FORMS
            }
            found[size] = {"export": exports, **speeds(Path(folder), options.rounds), "rounds": options.rounds}
            found[size]["load"] = os.getloadavg()
    import openvino
    import torch

    versions = {"torch": torch.__version__, "openvino": openvino.__version__}
    save("graph", {"method": __doc__, **versions, "sizes": found})


def export(size: str, form: str, folder: str) -> None:
    """Write a model, compare it, and print what that took."""
    from schanger_edge.host import board
    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.file import read_model
    from schanger_export.parity import image_like_tiles, largest_difference
    from schanger_export.weights import resolve

    card = dataclasses.replace(read_model(model_path("schanger-small")).card, tile=TILE)
    target = Path(folder) / f"{form}.onnx"
    state = Path(folder) / "state.npz"
    if not state.exists():
        np.savez(state, **(weights_of(resolve("schanger-small")) if size == "small" else random_weights()))
    arrays = dict(np.load(state))
    began = time.process_time()
    reference = write_built(arrays, target, card) if form == "built" else write_traced(arrays, size, target, card, form)
    written = time.process_time()
    difference = largest_difference(reference, target, image_like_tiles(PAIRS, TILE))
    seconds = {"write": written - began, "compare": time.process_time() - written}
    told = {"cpu_seconds": {key: round(value, 2) for key, value in seconds.items()}}
    told |= {"peak_megabytes": round(board.peak_memory(Path("/")) / 2**20), "bytes": target.stat().st_size}
    print(json.dumps({**told, "largest_difference": difference}))


def weights_of(path: Path) -> Any:
    from schanger_export.checkpoints import load_weights

    return load_weights(path, "small")[1]


def random_weights() -> Any:
    import torch

    from schanger_export.network import SChanger

    torch.manual_seed(0)
    return {name: value.numpy() for name, value in SChanger("base").state_dict().items()}


def write_built(arrays: Any, target: Path, card: Any) -> Any:
    import onnx

    from schanger_edge.model.card import METADATA_KEY
    from schanger_export.numpy_network import Reference
    from schanger_export.onnx_network import build

    model = build(arrays, card.normalization)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save_model(model, str(target))
    return Reference(arrays, card.normalization).run


def write_traced(arrays: Any, size: Any, target: Path, card: Any, form: str) -> Any:
    import onnx
    import torch
    from cpu_traced import ProbabilityModule, finish, traced

    from schanger_export.network import SChanger

    torch.set_num_threads(1)
    network = SChanger(size).eval()
    network.load_state_dict({name: torch.from_numpy(values) for name, values in arrays.items()})
    model = traced(ProbabilityModule(network, card.normalization, folded=form == "traced"), TILE)
    finish(model, card)
    onnx.save_model(model, str(target))
    return ProbabilityModule(network, card.normalization).run


def speeds(folder: Path, rounds: int) -> dict[str, Any]:
    """CPU time of one inference of each model, by engine."""
    from schanger_export.parity import image_like_tiles

    before, after = image_like_tiles(1, TILE)
    feed = {"before": before, "after": after}
    found: dict[str, Any] = {}
    for engine, opened in (("onnxruntime", onnxruntime_runner), ("openvino", openvino_runner)):
        runs = {form: opened(folder / f"{form}.onnx", feed) for form in FORMS}
        times: dict[str, list[float]] = {form: [] for form in FORMS}
        for turn in range(-1, rounds):  # the first warms up
            for form in (*FORMS[turn % 3 :], *FORMS[: turn % 3]):
                began = time.process_time()
                runs[form]()
                times[form] += [time.process_time() - began] if turn >= 0 else []
        found[engine] = {
            form: {
                "milliseconds": round(1000 * statistics.median(own), 1),
                **spread([mine / theirs for mine, theirs in zip(own, times["traced"], strict=True)]),
            }
            for form, own in times.items()
        }
    return found


def spread(ratios: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"ratio": round(middle, 3), "ratio_q1": round(low, 3), "ratio_q3": round(high, 3)}


def onnxruntime_runner(model: Path, feed: dict[str, Any]) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feed)


def openvino_runner(model: Path, feed: dict[str, Any]) -> Callable[[], Any]:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(str(model), "CPU", settings)
    return lambda: compiled(feed)


if __name__ == "__main__":
    main()
