"""What TensorRT-RTX builds of the models take: bytes of the plan and of scratch memory, by GPU, batch and tile.

`nice python benchmarks/rtx_builds.py` builds one plan after the other, without a GPU, and writes what it knows after
each; a build that is in the results already is left out, unless its model or TensorRT-RTX changed since.

Models are the bundled ones, and the base network in FP32 and FP16 with weights drawn at random, which decide neither.
Scratch is the builder's own `Max Scratch Memory`: what a context takes beside weights and the tiles themselves. For a
shape profile it is that of the largest batch. Seconds hold for the machine and what else ran on it.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
from common import RESULTS, save

from schanger_edge.errors import SessionError
from schanger_edge.files import sha256_of
from schanger_edge.model import bundled
from schanger_edge.model.card import Normalization, Statistics
from schanger_edge.model.plan import Batches
from schanger_edge.sessions.tensorrt import builder
from schanger_edge.sessions.tensorrt.flavour import error_log, load_flavour
from schanger_export import onnx_network
from schanger_export.architecture import shapes
from schanger_export.fp16 import to_fp16

CAPABILITIES = ("8.6", "8.9", "12.0")
BATCHES = (Batches(1, 1, 1), Batches(1, 4, 8))
TILES = (256, 512)
SCRATCH = re.compile(r"Max Scratch Memory: (\d+) bytes")
GREY = Statistics((0.4, 0.4, 0.4), (0.2, 0.2, 0.2))


def main() -> None:
    flavour = load_flavour("rtx")
    file = RESULTS / "rtx_builds.json"
    known = json.loads(file.read_text())["builds"] if file.exists() else []
    done = []
    with tempfile.TemporaryDirectory() as folder:
        wanted = itertools.product(CAPABILITIES, list(models(Path(folder))), BATCHES)
        for capability, (name, tile, path), batches in wanted:
            one = {
                "model": name, "tile": tile, "batches": [batches.least, batches.best, batches.most],
                "capability": capability, "model_sha256": sha256_of(path), "tensorrt_rtx": flavour.version,
            }  # fmt: skip
            found = next((row for row in known if row.items() >= one.items()), None)
            done.append(found or {**one, **build(flavour, path, tile, batches, capability)})
            save("rtx_builds", {"method": __doc__, "builds": done})
            sys.stdout.write(f"{done[-1]}\n")
            sys.stdout.flush()


def models(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """(name, tile, file) of each model for each tile."""
    base = base_network()
    graphs = {name: onnx.load(str(bundled.model_path(name))) for name in bundled.names()}
    graphs |= {"base, FP32": base, "base, FP16": to_fp16(base, {}, resize=True).model}
    for name, graph in graphs.items():
        for tile in TILES:
            for value in (*graph.graph.input, *graph.graph.output):
                for axis in (2, 3):
                    value.type.tensor_type.shape.dim[axis].dim_value = tile
            path = folder / f"{name}-{tile}.onnx"
            onnx.save_model(graph, str(path))
            yield name, tile, path


def base_network() -> onnx.ModelProto:
    """The base network, the same on every machine."""
    rng = np.random.default_rng(36)
    state = {name: np.abs(rng.normal(0, 0.1, shape)) + 0.01 for name, shape in shapes("base", True).items()}
    return onnx_network.build(state, Normalization(GREY, GREY), TILES[0], TILES[0])


def build(flavour: Any, path: Path, tile: int, batches: Batches, capability: str) -> dict[str, Any]:
    """Bytes of plan and scratch, and seconds; or why there is none."""
    said: list[str] = []

    def listening(trt: Any) -> Any:
        log, complain = error_log(trt), type(error_log(trt)).log

        class Log(type(log)):  # type: ignore[misc]
            def log(self, severity: Any, message: str) -> None:
                said.append(message)
                complain(self, severity, message)

        return Log()

    began = time.perf_counter()
    try:
        with mock.patch.object(builder, "error_log", listening):
            recipe = builder.Recipe(path, tile, batches, capabilities=(capability,))
            plan, _ = builder.build_plan(flavour, recipe)
    except SessionError as error:
        return {"failed": str(error)}
    scratch = [int(found[1]) for found in map(SCRATCH.search, said) if found]
    return {"plan_bytes": len(plan), "scratch_bytes": max(scratch), "seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    main()
