"""LayerNorm in FP16: the rescaled graph computes the same bits in FP32, and does not overflow in FP16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
reference = pytest.importorskip("onnx.reference")

from schanger_edge.datasets.tile_pool import WholeTile  # noqa: E402
from schanger_edge.model.bundled import model_path  # noqa: E402
from schanger_edge.model.card import Normalization, Statistics  # noqa: E402
from schanger_export import graph, onnx_network  # noqa: E402
from schanger_export.fp16 import LARGEST_SUM, rescaled, to_fp16  # noqa: E402
from schanger_export.parity import image_like_tiles  # noqa: E402
from schanger_export.ranges import largest_values, values_of  # noqa: E402

TILE = 64
DATE = Statistics((0.4, 0.4, 0.35), (0.2, 0.2, 0.18))
HALF_DIFFERENCE = 2e-3
"""Of probability, mean: what FP16 may move it by on weights that were never trained; `convert` allows 1e-3."""


@pytest.fixture(scope="module")
def tiles() -> list[WholeTile]:
    before, after = image_like_tiles(3, TILE)
    return [WholeTile(*pair, None) for pair in zip(before, after, strict=True)]


@pytest.fixture(scope="module", params=["bundled", "golden"])
def parent(request: pytest.FixtureRequest, weights: Callable[..., dict[str, Any]]) -> Any:
    """The small network of small tiles."""
    if request.param == "golden":
        state = {name: value.numpy() for name, value in weights("small").items()}
        return onnx_network.build(state, Normalization(DATE, DATE))
    model = graph.read_model(model_path(None))[0]
    for value in (*model.graph.input, *model.graph.output):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_value = TILE
    return model


@pytest.fixture(scope="module")
def ranges(parent: Any, tiles: list[WholeTile]) -> dict[str, float]:
    return largest_values(parent, list(graph.float_tensors(parent)), tiles)


def probabilities(model: Any, tiles: list[WholeTile]) -> Any:
    return np.stack([values["probability"] for values in values_of(model, ["probability"], tiles)])


def test_the_same_bits_in_fp32(parent: Any, ranges: dict[str, float], tiles: list[WholeTile]) -> None:
    safe, others = rescaled(parent, ranges)
    onnx.checker.check_model(safe, full_check=True)
    assert probabilities(safe, tiles).tobytes() == probabilities(parent, tiles).tobytes()
    squares = [node.output[0] for node in parent.graph.node if node.op_type == "Pow"]
    assert len(squares) == 10
    assert not set(squares) & set(others)
    for values in values_of(safe, squares, tiles):
        for square in values.values():
            assert 0 < square.sum(1).max() <= LARGEST_SUM


def test_fp16_agrees_with_fp32(parent: Any, ranges: dict[str, float], tiles: list[WholeTile]) -> None:
    half = to_fp16(*rescaled(parent, ranges), resize=True).model
    wanted, found = probabilities(parent, tiles), probabilities(half, tiles)
    assert wanted.std() > 0.01
    assert np.abs(found - wanted).mean() < HALF_DIFFERENCE


@pytest.mark.parametrize("times", [1, 5])
def test_large_activations(parent: Any, ranges: dict[str, float], tiles: list[WholeTile], times: float) -> None:
    """In onnx's own evaluator, which computes FP16 in FP16; as it stands the graph overflows."""
    norms = [node for node in parent.graph.node if node.name.endswith(".normalized") and node.op_type == "Div"]
    assert len(norms) == 10
    (values,) = values_of(parent, [node.input[0] for node in norms], tiles[:1])
    safe = rescaled(parent, ranges)
    scales = scales_of(parent, safe[0])
    safe_half, half = to_fp16(*safe, resize=True).model, to_fp16(parent, {}, resize=True).model
    overflowing = []
    for node in norms:
        name, output = node.input[0], node.output[0]
        x = values[name] * np.float32(times * ranges[name] / np.abs(values[name]).max())
        wanted = x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-6)
        normal = evaluated(safe_half, name, output, x / scales[name])
        np.testing.assert_allclose(normal, wanted, rtol=5e-3, atol=5e-3)
        with np.errstate(over="ignore"):
            as_it_stands = evaluated(half, name, output, x)
        if (times * ranges[name]) ** 2 > np.finfo(np.float16).max:
            assert not np.allclose(as_it_stands, wanted, rtol=0.1, atol=0.1)
            overflowing.append(name)
    assert bool(overflowing) == (times > 1 and max(ranges[node.input[0]] for node in norms) > 52)


def scales_of(parent: Any, safe: Any) -> dict[str, np.float32]:
    """By what each convolution before a LayerNorm was divided."""
    before, after = ({t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (parent, safe))
    convs = {node.output[0]: node.input[1] for node in parent.graph.node if node.op_type == "Conv"}
    return {name: (before[w] / after[w]).flat[0] for name, w in convs.items() if np.all(before[w] != 0)}


def evaluated(model: Any, source: str, target: str, x: Any) -> Any:
    """The part of a model between two tensors."""
    part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model([source], [target])
    (result,) = reference.ReferenceEvaluator(part).run(None, {source: x.astype(np.float16)})
    return result.astype(np.float32)
