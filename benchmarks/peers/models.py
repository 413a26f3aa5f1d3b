"""One exact network in the form that each tool asks for.

It sums 11 x 11 pixels of all bands, the second date against the first, and calls change where the sum is large. All are
integers below 2^24, so float32 is exact whatever the order of sums, and 5 pixels of context give what one pass gives.
Its map has areas with outlines, as that of a real network, not noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from schanger_edge.model.card import INPUT_NAMES, METADATA_KEY, OUTPUT_NAME, ModelCard, Normalization, Statistics

RADIUS = 5
GRAY = Statistics(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
TWO_DATES = ((-1, -1, -1, 1, 1, 1), 2.0**-14)  # sign of each band, scale to a probability
ONE_DATE = ((1, 1, 1), 2.0**-16)


def pair_model(path: Path, *, tile: int | None, halo: int = 16) -> Path:
    """`before` and `after` uint8 (N, 3, T, T) to `probability`: ours, and for one pass where `tile` is None."""
    head = [helper.make_node("Concat", list(INPUT_NAMES), ["bytes"], axis=1), _cast("bytes")]
    shape = ["batch", 3, tile or "height", tile or "width"]
    model = _model(head, dict.fromkeys(INPUT_NAMES, (TensorProto.UINT8, shape)), TWO_DATES)
    if tile:
        card = ModelCard(
            name="standin-peers", size="standin", dataset="none", tile=tile, halo=halo, threshold=0.5, gsd=None,
            normalization=Normalization(GRAY, GRAY), producer="benchmarks/peers/models.py",
        )  # fmt: skip
        helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    return _saved(model, path)


def image_model(path: Path) -> Path:
    """`image` uint8 (N, 3, H, W) to `probability`: the bare loop over one date, and one pass."""
    inputs = {"image": (TensorProto.UINT8, ["batch", 3, "height", "width"])}
    return _saved(_model([_cast("image")], inputs, ONE_DATE), path)


def geodeep_model(path: Path, *, tile: int, halo: int, centimetres: float, bands: int = 3) -> Path:
    """float32 0 to 1 (1, C, T, T) to two classes, with GeoDeep's metadata; its removal of small areas is turned off.

    `centimetres` per pixel are the image's own: it resamples others.
    """
    model = _classes_model([1, bands, tile, tile])
    overlap = 100 * 2 * halo / tile  # in percent
    facts = {"model_type": '"Segmentor"', "resolution": centimetres, "tiles_overlap": overlap}
    facts |= {"seg_small_segment": 0, "seg_thresh": 0.5, "class_names": '{"0": "none", "1": "change"}'}
    helper.set_model_props(model, {key: str(value) for key, value in facts.items()})
    return _saved(model, path)


def geoai_model(path: Path, *, bands: int = 3) -> Path:
    """float32 0 to 1 (N, C, H, W) to two classes; of any height and width, as its own export: so it never resizes."""
    return _saved(_classes_model(["batch", bands, "height", "width"]), path)


def _classes_model(shape: list[int | str]) -> onnx.ModelProto:
    head = [
        helper.make_node("Mul", ["image", "white"], ["values"]),
        helper.make_node("Round", ["values"], ["pixels"]),
    ]
    tail = [
        helper.make_node("Sub", ["one", OUTPUT_NAME], ["rest"]),
        helper.make_node("Concat", ["rest", OUTPUT_NAME], ["classes"], axis=1),
    ]
    return _model(head, {"image": (TensorProto.FLOAT, shape)}, TWO_DATES if shape[1] == 6 else ONE_DATE, tail)


def _cast(name: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], ["pixels"], to=TensorProto.FLOAT)


def _model(
    head: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list]],
    weights: tuple[tuple[int, ...], float],
    tail: list[onnx.NodeProto] | None = None,
) -> onnx.ModelProto:
    """`head` gives `pixels`; then |sum of the window| * scale, at most 1; then `tail`."""
    signs, scale = weights
    side = 2 * RADIUS + 1
    kernel = np.repeat(np.float32(signs), side * side).reshape(1, len(signs), side, side)
    nodes = [
        *head,
        helper.make_node("Conv", ["pixels", "kernel"], ["sum"], pads=[RADIUS] * 4),
        helper.make_node("Abs", ["sum"], ["absolute"]),
        helper.make_node("Mul", ["absolute", "scale"], ["scaled"]),
        helper.make_node("Min", ["scaled", "one"], [OUTPUT_NAME]),
        *(tail or []),
    ]
    values = {"kernel": kernel, "scale": np.float32(scale), "one": np.float32(1), "white": np.float32(255)}
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items() if name in used]
    ports = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    batch, _, height, width = next(iter(inputs.values()))[1]
    output = nodes[-1].output[0]
    shape = [batch, 2 if tail else 1, height, width]
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "peers", ports, [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path
