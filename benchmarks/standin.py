"""Stand-in models that keep the contract: one exact for proofs, one of five convolutions for timing.

`python benchmarks/standin.py integer --radius 5 -o standin.onnx` or `... timing -o timing.onnx`.
Needs the `quantize` extra (onnx).
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from schanger_edge.model.card import INPUT_NAMES, METADATA_KEY, OUTPUT_NAME, ModelCard, Normalization, Statistics

CHANNELS = 6  # red, green, blue of both dates
GRAY = Statistics(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))


def integer_model(
    path: Path, *, radius: int, tile: int | tuple[int, int], halo: int, seed: int = 0, any_tile: bool = False
) -> None:
    """One convolution of integer weights and the given radius: exact in float32 whatever the order of sums.

    probability = clip(|sum| / 2^k, 0, 1). A `tile` of (height, width) makes the model for one pass over a whole scene;
    it then breaks the contract's square tile and serves as reference only. `any_tile` leaves height and width open.
    """
    side = 2 * radius + 1
    weights = np.random.default_rng(seed).integers(-2, 3, (1, CHANNELS, side, side)).astype(np.float32)
    typical = 255 * np.sqrt(CHANNELS * side * side)
    scale = np.float32(2.0 ** -int(np.ceil(np.log2(typical))))
    nodes = [
        helper.make_node("Conv", ["pixels", "weights"], ["sum"], pads=[radius] * 4),
        helper.make_node("Abs", ["sum"], ["absolute"]),
        helper.make_node("Mul", ["absolute", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "zero", "one"], [OUTPUT_NAME]),
    ]
    constants = {"weights": weights, "scale": scale, "zero": np.float32(0), "one": np.float32(1)}
    _save(path, nodes, constants, tile, halo, "integer", any_tile=any_tile)


def timing_model(
    path: Path, *, tile: int = 256, halo: int = 16, width: int = 8, layers: int = 5, seed: int = 0
) -> None:
    """Some 3x3 convolutions and a sigmoid: cheap enough that everything around the network shows.

    The last bias keeps the output well below 0.5, so that noise does not become a million polygons.
    """
    rng = np.random.default_rng(seed)
    widths = [CHANNELS, *[width] * (layers - 1), 1]
    nodes, constants, last = [], {}, "pixels"
    for k, (cin, cout) in enumerate(itertools.pairwise(widths)):
        constants[f"weights{k}"] = rng.normal(0, np.sqrt(2 / (9 * cin)), (cout, cin, 3, 3)).astype(np.float32)
        constants[f"bias{k}"] = np.full(cout, -3 if cout == 1 else 0, np.float32)
        nodes.append(helper.make_node("Conv", [last, f"weights{k}", f"bias{k}"], [f"conv{k}"], pads=[1] * 4))
        last = f"conv{k}"
        if cout > 1:
            nodes.append(helper.make_node("Relu", [last], [f"relu{k}"]))
            last = f"relu{k}"
    constants["weights0"] /= 255
    constants[f"weights{len(widths) - 2}"] /= 4
    nodes.append(helper.make_node("Sigmoid", [last], [OUTPUT_NAME]))
    _save(path, nodes, constants, tile, halo, "timing")


def _save(
    path: Path,
    nodes: list,
    constants: dict,
    tile: int | tuple[int, int],
    halo: int,
    name: str,
    *,
    any_tile: bool = False,
) -> None:
    height, width = ("height", "width") if any_tile else (tile, tile) if isinstance(tile, int) else tile
    before, after = INPUT_NAMES
    head = [
        helper.make_node("Concat", [before, after], ["bytes"], axis=1),
        helper.make_node("Cast", ["bytes"], ["pixels"], to=TensorProto.FLOAT),
    ]
    inputs = [
        helper.make_tensor_value_info(date, TensorProto.UINT8, ["batch", 3, height, width]) for date in INPUT_NAMES
    ]
    output = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", 1, height, width])
    initializers = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(head + nodes, name, inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if isinstance(tile, int):
        card = ModelCard(
            name=f"standin-{name}", size="standin", dataset="none", tile=tile, halo=halo, threshold=0.5, gsd=None,
            normalization=Normalization(GRAY, GRAY), producer="benchmarks/standin.py",
        )  # fmt: skip
        helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["integer", "timing"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--halo", type=int, default=16)
    parser.add_argument("--radius", type=int, default=5)
    options = parser.parse_args()
    if options.kind == "integer":
        integer_model(options.output, radius=options.radius, tile=options.tile, halo=options.halo)
    else:
        timing_model(options.output, tile=options.tile, halo=options.halo)
    print(options.output)


if __name__ == "__main__":
    main()
