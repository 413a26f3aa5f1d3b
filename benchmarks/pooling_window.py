"""Does a mean over windows of the training tile, inside a larger tile, give back what a larger tile loses?

`python benchmarks/pooling_window.py levir/val=ROOT:val --rendered 2` exports the bundled weights with tiles of 384 and
512 in three ways. Squeeze-excite takes its mean over the whole tile (`whole`, as published); over windows of 256
pixels, the side it was trained with, whose gates are interpolated linearly between them (`windows`: two along each
axis, 128 or 256 pixels apart); or over the 256 pixels in the middle (`centre`). Scored as in tiling.py, `whole` by the
native engine, the others by ONNX Runtime; F1 by image, and the difference to tile 256 with halo 32 with its bounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tiling as table
from common import save
from onnx import numpy_helper
from stitching import Inference, Scene, blend

from schanger_edge.evaluation.scores import Counts
from schanger_edge.sessions import open_session
from schanger_export import onnx_network
from schanger_export.cards import compose_card
from schanger_export.checkpoints import load_weights, read_card, weights_sha256
from schanger_export.graph import write_card
from schanger_export.onnx_network import STAGES, Graph
from schanger_export.weights import resolve

WINDOW = 256
ROWS = (
    *((384, halo, way) for way in ("whole", "windows", "centre") for halo in (32, 16)),
    *((512, 32, way) for way in ("whole", "windows")),
)

Gate = Callable[[Graph, str, str], str]
Images = Sequence[Sequence[Sequence[Counts]]]  # of each image, each grid, its quarters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="NAME=ROOT:SPLIT")
    parser.add_argument("--rendered", type=int, default=2, help="rendered scenes")
    parser.add_argument("--seed", type=int, default=table.UNSEEN, help="of the first rendered scene")
    options = parser.parse_args()
    data = {name: table.labelled_scenes(place) for name, place in (text.split("=", 1) for text in options.data)}
    data |= {"rendered": table.rendered_scenes(options.rendered, options.seed)} if options.rendered else {}
    default = {name: scores(*table.DEFAULT, "whole", scenes) for name, scenes in data.items()}
    rows = []
    for tile, halo, way in ROWS:
        found = {name: scores(tile, halo, way, scenes) for name, scenes in data.items()}
        own = {name: summary(counts, default[name]) for name, counts in found.items()}
        rows.append({"tile": tile, "halo": halo, "mean": way, "data": own})
    images = {name: [scene.name for scene in scenes] for name, scenes in data.items()}
    head = {"method": __doc__, "weights_sha256": weights_sha256(resolve(table.WEIGHTS)), "images": images}
    save("pooling_window", {**head, "rows": rows})


def summary(found: Images, default: Images) -> dict[str, Any]:
    return {
        "f1": round(table.total(found, 0).f1, 4),
        "f1_by_image": [round(table.total([image], 0).f1, 4) for image in found],
        "against_default": table.difference(table.units(found, 1), table.units(default, 1)),
    }


def scores(tile: int, halo: int, way: str, scenes: Sequence[Scene]) -> Images:
    """Of each image the counts of its quarters."""
    gates = {"whole": onnx_network._squeeze_excite, "windows": windows(tile), "centre": centre(tile)}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "m.onnx"
        write(model, tile, gates[way])
        with open_session(model, "cpu:native" if way == "whole" else "cpu", 1) as session:
            maps = [blend(Inference(session, one), table.plan_of(one, tile, halo)) for one in scenes]
    return [[table.quarters(probability, one)] for probability, one in zip(maps, scenes, strict=True)]


def write(path: Path, tile: int, gate: Gate) -> None:
    """The bundled weights with another squeeze-excite."""
    weights = resolve(table.WEIGHTS)
    size, state = load_weights(weights)
    facts = {"size": size, "weights_sha256": weights_sha256(weights), "tile": tile, "scores": {}}
    card = compose_card(read_card(weights), facts, None, None)
    published, onnx_network._squeeze_excite = onnx_network._squeeze_excite, gate
    try:
        model = onnx_network.build(state, card.normalization, tile, tile)
    finally:
        onnx_network._squeeze_excite = published
    write_card(model, dataclasses.replace(card, name=f"{card.name}-{tile}"))
    onnx.save_model(model, str(path))


def windows(tile: int) -> Gate:
    """Gates of overlapping windows, interpolated."""

    def gated(g: Graph, name: str, x: str) -> str:
        scale = scale_of(name)
        mean = g.node(
            f"{name}.mean", "AveragePool", x, kernel_shape=[WINDOW // scale] * 2, strides=[(tile - WINDOW) // scale] * 2
        )
        factor = tile / scale / 2
        factors = g.weight(f"{name}.factors", [1, 1, factor, factor])
        gate = g.node(f"{name}.gates", "Resize", gate_of(g, name, mean), "", factors, mode="linear")
        return g.node(f"{name}.gated", "Mul", x, gate)

    return gated


def centre(tile: int) -> Gate:
    """One gate, of the window in the middle."""

    def gated(g: Graph, name: str, x: str) -> str:
        scale = scale_of(name)
        bounds = {"from": [(tile - WINDOW) // 2 // scale] * 2, "to": [(tile + WINDOW) // 2 // scale] * 2}
        bounds["axes"] = [2, 3]
        for word, values in bounds.items():
            g.weights[f"{name}.{word}"] = numpy_helper.from_array(np.array(values, np.int64), f"{name}.{word}")
        middle = g.node(f"{name}.centre", "Slice", x, *(f"{name}.{word}" for word in bounds))
        mean = g.node(f"{name}.row_mean", "ReduceMean", middle, axes=[3], keepdims=1)
        mean = g.node(f"{name}.mean", "ReduceMean", mean, axes=[2], keepdims=1)
        return g.node(f"{name}.gated", "Mul", x, gate_of(g, name, mean))

    return gated


def gate_of(g: Graph, name: str, mean: str) -> str:
    """Gates from means, as in `onnx_network`."""
    reduced, expanded = f"{name}.conv_reduce", f"{name}.conv_expand"
    y = onnx_network._silu(g, reduced, g.conv(reduced, mean, *g.own(reduced)))
    return g.node(f"{name}.gate", "Sigmoid", g.conv(expanded, y, *g.own(expanded)))


def scale_of(name: str) -> int:
    """Pixels of the tile in one of the stage's, from a name such as encoder2.0.se."""
    stage = name.split(".", maxsplit=1)[0]
    number = int(stage[-1])
    return int(2 ** (number - 1 if stage.startswith("encoder") else STAGES - number))


if __name__ == "__main__":
    main()
