"""How much memory traffic INT8 can save, by where it is placed, and what each placement costs in F1.

`python benchmarks/traffic.py [--calibrate SOURCE ... --score NAME=ROOT:SPLIT ...]`

Bytes are those of `graph_costs.layers` for one pair of tiles, FP16 but for the tensors that a placement stores as INT8:

- *shipped*: the bundled INT8 model, in which most parts were put back for their loss;
- *convolutions*: the same before any part is put back: what `calibrate` may quantize;
- *wide*: the wide tensors inside inverted residuals and MLPs, quantized after the activation; squeeze-excite's mean is
  taken before, its gate applied in the projection;
- *chain*: the input of every convolution but of the first, squeeze-excite's and the heads';
- *all*: the input of every convolution but squeeze-excite's.

`padded` counts the channels of INT8 tensors up to a multiple of 32, as INT8 tensor cores want them; `as_built` has each
channel read four times by INT8 depthwise convolutions, as TensorRT-RTX does (its layer log of a build for SM 8.6).

Without sources, bytes are counted anew and the F1 of the results stay. With them, ranges are taken on their tiles
(percentile 99.99, one symmetric scale for a tensor, both dates together), and the FP32 model is scored with each
placement's tensors, and the weights of the convolutions that read them (a scale per channel), rounded to INT8: what
calibration alone can reach. F1 is pooled over the tiles, at the model's threshold.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import RESULTS, official_scores, save
from graph_costs import WIDTH, Graph, layers
from onnx import numpy_helper

from schanger_edge.datasets.draw import draw_tiles
from schanger_edge.datasets.tile_pool import source_items
from schanger_edge.model.bundled import model_path
from schanger_export.graph import HEADS, STEM, Convolution, read_model
from schanger_export.int8 import SQUEEZE_EXCITE, candidates
from schanger_export.ranges import Histogram, collect

FP32, INT8 = "schanger-small", "schanger-small-int8"
TENSOR_CORE, DEPTHWISE_READS = 32, 4
LEVELS = 127
SAMPLES, SEED = 32, 36


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrate", action="append", default=[], help="as of `schanger-edge calibrate --data`")
    parser.add_argument("--score", action="append", default=[], help="NAME=ROOT:SPLIT")
    options = parser.parse_args()
    found, file = table(), RESULTS / "traffic.json"
    if options.calibrate:
        score(found, options.calibrate, options.score)
    elif file.exists():
        for name, row in json.loads(file.read_text())["placements"].items():
            found[name] |= {"f1": row["f1"]} if "f1" in row else {}
    save("traffic", {"method": __doc__, "placements": found})
    for name, row in found.items():
        sys.stdout.write(f"{name:<14}{row['bytes'] / 1e6:8.0f} MB {row['saved']:7.1%} {row.get('f1', '')}\n")


def table() -> dict[str, dict[str, Any]]:
    """Bytes of a pair of tiles for each placement, and the share that it saves of FP16's."""
    parent = read_model(model_path(FP32))[0]
    in_fp16 = layers(Graph(parent, "fp16")).bytes
    shipped = Graph(onnx.load(str(model_path(INT8))), "fp16")
    counts = {"FP16": Placed(parent, ()), "shipped": shipped}
    counts |= {name: Placed(parent, convs) for name, convs in placements(parent).items()}
    rows = {}
    for name, graph in counts.items():
        size = layers(graph).bytes
        rows[name] = {"bytes": size, "saved": round(1 - size / in_fp16, 4)}
        if isinstance(graph, Placed) and name != "FP16":
            graph.multiple = TENSOR_CORE
            rows[name]["padded_saved"] = round(1 - layers(graph).bytes / in_fp16, 4)
            graph.multiple, graph.depthwise_reads = 1, DEPTHWISE_READS
            rows[name]["as_built_saved"] = round(1 - layers(graph).bytes / in_fp16, 4)
    return rows


class Placed(Graph):
    """An FP16 graph in which some convolutions read INT8, its channels counted up to a multiple of `multiple`."""

    multiple = depthwise_reads = 1

    def __init__(self, model: onnx.ModelProto, convs: Collection[Convolution]) -> None:
        super().__init__(model, "fp16")
        self._stored = {conv.activation for conv in convs}

    def read(self, conv: Convolution) -> int:
        stored = conv.activation in self._stored
        return self._bytes(conv.input_shape, stored) * (self.depthwise_reads if stored and conv.depthwise else 1)

    def written(self, conv: Convolution) -> int:
        readers = [reader for reader in self.readers[conv.name] if math.prod(reader.input_shape[2:]) > 1]
        stored = bool(readers) and all(reader.activation in self._stored for reader in readers)
        return self._bytes(conv.output_shape, stored)

    def _bytes(self, shape: Sequence[int], stored: bool) -> int:
        batch, channels, *pixels = shape
        if stored:
            channels = math.ceil(channels / self.multiple) * self.multiple
        return math.prod((batch, channels, *pixels)) * WIDTH["int8" if stored else "fp16"]


def placements(model: onnx.ModelProto) -> dict[str, list[Convolution]]:
    """The convolutions that read INT8, by placement."""
    graph = Graph(model)
    convs = [conv for conv in graph.convs.values() if not any(mark in conv.name for mark in SQUEEZE_EXCITE)]
    inner = [conv for conv in convs if ".dwconv" in conv.name and conv.depthwise]
    after = [reader for conv in inner for reader in graph.readers[conv.name] if reader in convs]
    return {
        "convolutions": candidates(model),
        "wide": [*inner, *after],
        "chain": [conv for conv in convs if conv.part not in (STEM, HEADS)],
        "all": convs,
    }


def score(found: dict[str, dict[str, Any]], sources: Sequence[str], data: Sequence[str]) -> None:
    """Put the F1 of each placement, rounded as calibration has it, into its row."""
    parent, card, _ = read_model(model_path(FP32))
    items = [source_items(text) for text in sources]
    (tiles,) = draw_tiles(items, card.tile, (SAMPLES,), SEED, lambda tile: tile.label)  # type: ignore[arg-type,return-value]
    placed = placements(parent)
    tensors = sorted({before_gate(parent, conv) for convs in placed.values() for conv in convs})
    histograms = collect(parent, tensors, tiles)
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models(parent, placed, histograms):
            path = Path(folder) / f"{name}.onnx"
            onnx.save_model(model, str(path))
            found[name]["f1"] = {key: value["f1"] for key, value in official_scores(data, path).items()}
            sys.stdout.write(f"{name} {found[name]['f1']}\n")


def models(
    parent: onnx.ModelProto, placed: Mapping[str, Sequence[Convolution]], histograms: Mapping[str, Histogram]
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The FP32 model, and with each placement rounded."""
    yield "FP16", parent
    for name, convs in placed.items():
        thresholds = {tensor: histograms[tensor].threshold("percentile") for tensor in histograms}
        yield name, rounded(parent, convs, thresholds)


def rounded(parent: onnx.ModelProto, convs: Sequence[Convolution], thresholds: Mapping[str, float]) -> onnx.ModelProto:
    """A copy in which these convolutions read rounded tensors and have rounded weights."""
    model = copy.deepcopy(parent)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for conv in convs:
        values = numpy_helper.to_array(weights[conv.weight])
        step = np.abs(values).max((1, 2, 3), keepdims=True) / LEVELS
        values = (np.rint(values / np.maximum(step, 1e-12)) * step).astype(np.float32)
        weights[conv.weight].CopyFrom(numpy_helper.from_array(values, conv.weight))
    graph.initializer.append(numpy_helper.from_array(np.int8(0), "zero_point"))
    for tensor in {before_gate(parent, conv) for conv in convs}:
        scale = f"{tensor}.scale"
        graph.initializer.append(numpy_helper.from_array(np.float32(thresholds[tensor] / LEVELS), scale))
        readers = [node for node in graph.node if tensor in node.input and node.op_type != "ReduceMean"]
        for node in readers:
            node.input[:] = [f"{tensor}.rounded" if name == tensor else name for name in node.input]
        place = 1 + next(number for number, node in enumerate(graph.node) if tensor in node.output)
        for kind, source, target in (
            ("DequantizeLinear", f"{tensor}.int8", f"{tensor}.rounded"), ("QuantizeLinear", tensor, f"{tensor}.int8"),
        ):  # fmt: skip
            node = onnx.helper.make_node(kind, [source, scale, "zero_point"], [target], name=target)
            graph.node.insert(place, node)
    return model


def before_gate(model: onnx.ModelProto, conv: Convolution) -> str:
    """The tensor that is stored for a convolution: its input, or what squeeze-excite's gate multiplies for it."""
    gated = next((node for node in model.graph.node if conv.activation in node.output), None)
    is_gate = gated is not None and gated.op_type == "Mul" and gated.name.endswith(".gated") and ".se." in gated.name
    return str(gated.input[0]) if is_gate and gated is not None else conv.activation


if __name__ == "__main__":
    main()
