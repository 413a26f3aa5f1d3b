"""What TensorRT-RTX builds of the models take: bytes of the plan and of scratch memory, by GPU, batch and tile.

`nice python benchmarks/rtx_builds.py` builds one plan after the other, without a GPU, and writes what it knows after
each; a build that is in the results already is left out, unless its graph or TensorRT-RTX changed since. Values of
weights decide neither bytes, so they are not looked at: retrained weights need no new builds.

Models are the bundled ones, and the base network in FP32 and FP16 with weights drawn at random.
Scratch is the builder's own `Max Scratch Memory`: what a context takes beside weights and the tiles themselves. For a
shape profile it is that of the largest batch. Seconds hold for the machine and what else ran on it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import rtx_layers
from common import RESULTS, save

from schanger_edge.errors import SessionError
from schanger_edge.model import bundled
from schanger_edge.model.card import Normalization, Statistics
from schanger_edge.model.plan import Batches
from schanger_edge.sessions.tensorrt import builder
from schanger_edge.sessions.tensorrt.flavour import load_flavour
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
                "model": name,
                "tile": tile,
                "batches": [batches.least, batches.best, batches.most],
                "capability": capability,
                "graph_sha256": graph_sha256(onnx.load(str(path))),
                "tensorrt_rtx": flavour.version,
            }
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


def graph_sha256(model: onnx.ModelProto) -> str:
    """Of nodes, types and shapes, whatever the values of the weights are."""
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    graph.ClearField("name")
    for tensor in graph.initializer:
        tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims))
    return hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()


def base_network() -> onnx.ModelProto:
    """The base network, the same on every machine."""
    rng = np.random.default_rng(36)
    state = {name: np.abs(rng.normal(0, 0.1, shape)) + 0.01 for name, shape in shapes("base", True).items()}
    return onnx_network.build(state, Normalization(GREY, GREY))


def build(flavour: Any, path: Path, tile: int, batches: Batches, capability: str) -> dict[str, Any]:
    """Bytes of plan and scratch, and seconds; or why there is none."""
    began = time.perf_counter()
    try:
        plan, said = rtx_layers.build(flavour, builder.Recipe(path, tile, batches, capabilities=(capability,)))
    except SessionError as error:
        return {"failed": str(error)}
    scratch = max(map(int, SCRATCH.findall(said)))
    return {"plan_bytes": len(plan), "scratch_bytes": scratch, "seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    main()
