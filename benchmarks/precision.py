"""What FP16 and INT8 lose, by the official protocol.

`python benchmarks/precision.py MODEL --calibrate SOURCE --score NAME=ROOT:SPLIT`.

Converts a model as `schanger-edge convert` and `calibrate` do, then scores parent, FP16, INT8 and INT8+FP16 on labelled
data that none of them saw. Beside them stand two ways not taken, with the same thresholds: one scale per weight tensor
instead of one per output channel, and one scale per date instead of one for both.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import save
from onnx import numpy_helper

from schanger_edge.datasets.draw import TileSet, draw_tiles
from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.samples import LabelRule
from schanger_edge.datasets.tile_pool import source_items
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.evaluation.protocol import predicted_tiles
from schanger_edge.model.bundled import model_path
from schanger_edge.sessions import open_session
from schanger_export.calibrate import calibrate
from schanger_export.convert import convert
from schanger_export.graph import read_model
from schanger_export.int8 import candidates, quantize
from schanger_export.options import SEED
from schanger_export.ranges import Histogram, values_of


def agreement(parent: Path, other: Path, root: Path, split: str) -> Agreement:
    """Both models on every tile of a split."""
    files = pair_files(root, split)
    rule, found = LabelRule.for_files(files), Agreement()
    with open_session(parent) as one, open_session(other) as two:
        tile = one.least_tile
        both = [predicted_tiles(files, rule, session.run, tile) for session in (one, two)]
        for (entry, first), (_, second) in zip(*both, strict=True):
            found.add(first, second, entry.label)
    return found


def per_date(model: onnx.ModelProto, tiles: TileSet, method: str, chosen: Sequence[str]) -> onnx.ModelProto:
    """Quantized, but with a scale for each date wherever the dates lie stacked."""
    convs = [conv for conv in candidates(model) if conv.name in chosen]
    names = sorted({conv.activation for conv in convs})
    dates: dict[str, list[Histogram]] = {}
    for values in values_of(model, names, tiles):
        for name, value in values.items():
            parts = dates.setdefault(name, [Histogram() for _ in range(len(value))])
            for histogram, part in zip(parts, value, strict=True):
                histogram.add(part)
    thresholds = {name: [histogram.threshold(method) for histogram in parts] for name, parts in dates.items()}
    result = quantize(model, {name: max(values) for name, values in thresholds.items()}, list(chosen))
    for node in [node for node in result.graph.node if node.op_type == "QuantizeLinear"]:
        own = thresholds.get(node.input[0], [])
        if len(own) == 2:
            _split_by_date(result.graph, node, own)
    return result


def _split_by_date(graph: Any, quantize_node: Any, thresholds: list[float]) -> None:
    """x -> Q -> DQ becomes x -> Split -> twice Q -> DQ -> Concat."""
    name, zero = quantize_node.input[0], quantize_node.input[2]
    dequantize = next(
        n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] == quantize_node.output[0]
    )
    nodes = [onnx.helper.make_node("Split", [name], [f"{name}.d0", f"{name}.d1"], axis=0)]
    for date, threshold in enumerate(thresholds):
        scale = f"{name}.scale{date}"
        graph.initializer.append(numpy_helper.from_array(np.array(threshold / 127, np.float32), scale))
        nodes.append(onnx.helper.make_node("QuantizeLinear", [f"{name}.d{date}", scale, zero], [f"{name}.q{date}"]))
        nodes.append(onnx.helper.make_node("DequantizeLinear", [f"{name}.q{date}", scale, zero], [f"{name}.r{date}"]))
    nodes.append(onnx.helper.make_node("Concat", [f"{name}.r0", f"{name}.r1"], [dequantize.output[0]], axis=0))
    place = list(graph.node).index(quantize_node)
    graph.node.remove(quantize_node)
    graph.node.remove(dequantize)
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--calibrate", action="append", required=True, help="as `schanger-edge calibrate --data`")
    parser.add_argument("--score", required=True, help="NAME=ROOT:SPLIT")
    parser.add_argument("--samples", type=int, default=256)
    options = parser.parse_args()
    path = model_path(options.model)
    name, _, place = options.score.partition("=")
    root, _, split = place.rpartition(":")
    with tempfile.TemporaryDirectory() as folder:
        files = {
            kind: Path(folder) / f"{kind}.onnx" for kind in ("fp16", "int8", "int8+fp16", "per tensor", "per date")
        }
        convert(path, files["fp16"], sources=options.calibrate)
        made = calibrate(path, options.calibrate, files["int8"], samples=options.samples)
        calibrate(path, options.calibrate, files["int8+fp16"], samples=options.samples, method=made.method, fp16=True)  # type: ignore[arg-type]
        parent, card, _ = read_model(path)
        sources = [source_items(text) for text in options.calibrate]
        (tiles,) = draw_tiles(sources, card.tile, (min(options.samples, 64),), SEED, lambda tile: tile.label)  # type: ignore[arg-type,return-value]
        chosen = [conv.name for conv in candidates(parent) if conv.part not in made.steps[-1].kept]
        thresholds = _thresholds(files["int8"])
        onnx.save(quantize(parent, thresholds, chosen, per_channel=False), str(files["per tensor"]))
        onnx.save(per_date(parent, tiles, made.method, chosen), str(files["per date"]))
        rows = {}
        for kind, file in files.items():
            found = agreement(path, file, root, split)
            rows[kind] = {**found.as_dict(), "bytes": file.stat().st_size}
            print(kind, rows[kind], flush=True)
    save("precision", {
        "method": __doc__, "model": str(options.model), "scored": name, "samples": options.samples,
        "threshold_method": made.method, "kept_high_precision": made.steps[-1].kept,
        "int8_share_of_macs": round(made.steps[-1].macs_share, 4), "rows": rows,
    })  # fmt: skip


def _thresholds(path: Path) -> dict[str, float]:
    """Those in the report beside a calibrated model."""
    values: dict[str, float] = json.loads(path.with_name(f"{path.stem}.report.json").read_text())["thresholds"]
    return values


if __name__ == "__main__":
    main()
