"""How much memory traffic INT8 can save by where it is placed, what a real build makes of it, and what F1 it costs.

`python benchmarks/traffic.py [--build] [--calibrate SOURCE ... --score NAME=ROOT:SPLIT ...]`

Placements, in a model that is FP16 elsewhere:

- *shipped*: what the bundled INT8 model has in INT8; most parts were put back for their loss;
- *convolutions*: the same before any part is put back: what `calibrate` may quantize;
- *wide*: the wide tensors inside inverted residuals and MLPs, quantized after the activation; squeeze-excite's mean is
  taken before, its gate applied in the projection;
- *chain*: the input of every convolution but of the first, squeeze-excite's and the heads';
- *all*: the input of every convolution but squeeze-excite's.

`bytes` are counted on the graph (`graph_costs.layers`, one pair of tiles): convolutions read and write, all else is
done on the way, as the best kernels would. `padded` counts the channels of INT8 tensors up to a multiple of 32, as INT8
tensor cores want them.

`--build` has TensorRT-RTX build each placement for SM 8.6, one pair of tiles, and adds up what the layers of its log
read and hand on (`built`), with the types that INT8 convolutions hand on. It is no TensorRT for Orin, and no time.

With sources, ranges are taken on their tiles (percentile 99.99, one symmetric scale for a tensor, both dates together),
weights get a scale for each channel, and the Q/DQ model of each placement is scored by ONNX Runtime: what calibration
alone reaches. F1 is pooled over the tiles, at the model's threshold; that of bundled models stands in their cards.
What is not done anew stays as it was; `weights_sha256` are the weights whose F1 it is.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import rtx_layers
from common import RESULTS, official_scores, save
from graph_costs import WIDTH, Graph, layers

from schanger_edge.datasets.draw import draw_tiles
from schanger_edge.datasets.tile_pool import source_items
from schanger_edge.model.bundled import model_path
from schanger_edge.model.card import PUBLISHED_TILE
from schanger_edge.model.file import read_model as file_of
from schanger_edge.model.plan import Batches
from schanger_edge.sessions.tensorrt.builder import Recipe
from schanger_edge.sessions.tensorrt.flavour import load_flavour
from schanger_export.calibrate import OPSET_FP16
from schanger_export.checkpoints import weights_sha256
from schanger_export.fp16 import to_fp16
from schanger_export.graph import HEADS, STEM, Convolution, read_model
from schanger_export.int8 import candidates, quantize
from schanger_export.ranges import collect
from schanger_export.weights import resolve

sys.path.append(str(Path(__file__).parents[1] / "jetson/first_contact"))
from stored import ANY_RANGE, before_gate, stored, whole_chain

FP32, INT8 = "schanger-small", "schanger-small-int8"
BUNDLED = {"FP16": FP32, "shipped": INT8}
"""Placements whose F1 stands in a card; that of FP16 is its parent's."""

TENSOR_CORE = 32
SAMPLES, SEED = 32, 36
CAPABILITY = "8.6"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="store_true", help="by TensorRT-RTX")
    parser.add_argument("--calibrate", action="append", default=[], help="as of `schanger-edge calibrate --data`")
    parser.add_argument("--score", action="append", default=[], help="NAME=ROOT:SPLIT")
    options = parser.parse_args()
    found, file = table(), RESULTS / "traffic.json"
    known = json.loads(file.read_text()) if file.exists() else {"placements": {}, "weights_sha256": ""}
    for name, row in found.items():
        row |= {key: value for key, value in known["placements"].get(name, {}).items() if key in ("built", "f1")}
    if options.build:
        for name, model in models(fp16_parent(), collections.defaultdict(lambda: ANY_RANGE)):
            found[name]["built"] = built(to_fp16(model, {}, resize=True).model)
            sys.stdout.write(f"{name} {found[name]['built']}\n")
    if options.calibrate:
        score(found, options.calibrate, options.score)
        known["weights_sha256"] = weights_sha256(resolve(FP32))
    save("traffic", {"method": __doc__, "weights_sha256": known["weights_sha256"], "placements": found})


def table() -> dict[str, dict[str, Any]]:
    """Bytes of a pair of tiles for each placement, counted on the graph, and the share that it saves of FP16's."""
    parent = read_model(model_path(FP32))[0]
    graphs = {name: Placed(parent, convs) for name, convs in placements(parent).items()}
    in_fp16 = layers(graphs["FP16"]).bytes
    rows = {}
    for name, graph in graphs.items():
        size = layers(graph).bytes
        rows[name] = {"bytes": size, "saved": round(1 - size / in_fp16, 4)}
        graph.multiple = TENSOR_CORE
        rows[name]["padded_saved"] = round(1 - layers(graph).bytes / in_fp16, 4)
    return rows


class Placed(Graph):
    """An FP16 graph in which some convolutions read INT8, its channels counted up to a multiple of `multiple`."""

    multiple = 1

    def __init__(self, model: onnx.ModelProto, convs: Collection[Convolution]) -> None:
        super().__init__(model, "fp16")
        self._stored = {conv.activation for conv in convs}

    def read(self, conv: Convolution) -> int:
        return self._bytes(conv.input_shape, conv.activation in self._stored)

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
    convs = whole_chain(model)
    inner = [conv for conv in convs if ".dwconv" in conv.name and conv.depthwise]
    after = [reader for conv in inner for reader in graph.readers[conv.name] if reader in convs]
    in_int8 = Graph(onnx.load(str(model_path(INT8))))
    return {
        "FP16": [],
        "shipped": [conv for conv in convs if in_int8.precision(in_int8.convs[conv.name]) == "int8"],
        "convolutions": candidates(model),
        "wide": [*inner, *after],
        "chain": [conv for conv in convs if conv.part not in (STEM, HEADS)],
        "all": convs,
    }


def models(parent: onnx.ModelProto, thresholds: Mapping[str, float]) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The parent with Q/DQ as each placement has them."""
    for name, convs in placements(parent).items():
        if name in ("shipped", "convolutions"):
            yield name, quantize(parent, {conv.activation: thresholds[conv.activation] for conv in convs}, names(convs))
        else:
            yield name, stored(parent, convs, thresholds)


def names(convs: Sequence[Convolution]) -> list[str]:
    return [conv.name for conv in convs]


def fp16_parent() -> onnx.ModelProto:
    """The FP32 model, fit to get FP16 scales."""
    return onnx.version_converter.convert_version(read_model(model_path(FP32))[0], OPSET_FP16)


def built(model: onnx.ModelProto) -> dict[str, Any]:
    """What the layers of a build read and hand on, in bytes by type, and what INT8 convolutions hand on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save_model(model, str(path))
        recipe = Recipe(path, PUBLISHED_TILE, Batches(1, 1, 1), capabilities=(CAPABILITY,), detailed=True)
        _, said = rtx_layers.build(load_flavour("rtx"), recipe)
    bytes_by_type: collections.Counter[str] = collections.Counter()
    handed_on: collections.Counter[str] = collections.Counter()
    for layer in rtx_layers.layers(said):
        for tensor in (*layer.inputs, *layer.outputs):
            bytes_by_type[tensor.kind] += tensor.bytes
        if layer.kind in rtx_layers.CONVOLUTIONS and layer.inputs[0].kind == "Int8":
            handed_on[layer.outputs[0].kind] += 1
    return {"bytes": bytes_by_type.total(), "bytes_by_type": bytes_by_type, "int8_convolutions_hand_on": handed_on}


def score(found: dict[str, dict[str, Any]], sources: Sequence[str], data: Sequence[str]) -> None:
    """Put the F1 of each placement into its row."""
    parent = read_model(model_path(FP32))[0]
    items = [source_items(text) for text in sources]
    (tiles,) = draw_tiles(items, PUBLISHED_TILE, (SAMPLES,), SEED, lambda tile: tile.label)  # type: ignore[arg-type,return-value]
    convs = placements(parent)["all"]
    tensors = sorted({name for conv in convs for name in (conv.activation, before_gate(parent, conv))})
    histograms = collect(parent, tensors, tiles)
    thresholds = {name: histogram.threshold("percentile") for name, histogram in histograms.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models(parent, thresholds):
            if name in BUNDLED:
                scores = file_of(model_path(BUNDLED[name])).card.scores
            else:
                path = Path(folder) / f"{name}.onnx"
                onnx.save_model(model, str(path))
                scores = official_scores(data, path)
            found[name]["f1"] = {key: value["f1"] for key, value in scores.items()}
            sys.stdout.write(f"{name} {found[name]['f1']}\n")


if __name__ == "__main__":
    main()
