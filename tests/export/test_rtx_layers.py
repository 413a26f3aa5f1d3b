"""TensorRT-RTX builds the converted models without a GPU, and its layer log shows each convolution's precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import load_benchmark

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu13 (Linux and Windows on x86-64)")

from schanger_edge.model.plan import Batches  # noqa: E402
from schanger_edge.model.published import DATASETS  # noqa: E402
from schanger_edge.sessions.tensorrt.builder import Recipe  # noqa: E402
from schanger_edge.sessions.tensorrt.flavour import load_flavour  # noqa: E402
from schanger_export.fp16 import rescaled, to_fp16  # noqa: E402
from schanger_export.graph import Convolution, convolutions, float_tensors, read_model  # noqa: E402
from schanger_export.int8 import SQUEEZE_EXCITE, candidates, quantize  # noqa: E402
from schanger_export.onnx_network import build  # noqa: E402
from schanger_export.to_onnx import export  # noqa: E402
from schanger_export.weights import resolve  # noqa: E402

rtx_layers = load_benchmark("rtx_layers")

TILE = 64
CAPABILITIES = [
    pytest.param("8.6"),
    pytest.param("8.9", marks=pytest.mark.slow),
    pytest.param("12.0", marks=pytest.mark.slow),
]


@pytest.fixture
def built(tmp_path: Path) -> Callable[[Any, str], dict[str, list[Any]]]:
    """The layers that compute a convolution, by its node, from the log of a real build."""

    def build_it(model: Any, capability: str) -> dict[str, list[Any]]:
        path = tmp_path / "model.onnx"
        onnx.save_model(model, str(path))
        recipe = Recipe(path, TILE, Batches(1, 1, 1), capabilities=(capability,), detailed=True)
        known = {node.name for node in model.graph.node if node.op_type == "Conv"}
        found: dict[str, list[Any]] = {}
        for layer in rtx_layers.layers(rtx_layers.build(load_flavour("rtx"), recipe)[1]):
            convs = known & set(layer.nodes)
            weights = [tensor for tensor in layer.constants if len(tensor.shape) == 4]
            if layer.kind in rtx_layers.CONVOLUTIONS and layer.inputs and weights and len(convs) == 1:
                found.setdefault(convs.pop(), []).append(layer)
        return found

    return build_it


def types(found: dict[str, list[Any]]) -> dict[str, set[str]]:
    """Types of the first input."""
    return {name: {layer.inputs[0].kind for layer in layers} for name, layers in found.items()}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Any:
    target = tmp_path_factory.mktemp("model") / "model.onnx"
    export(resolve("schanger-small"), "small", target, tile=TILE, halo=8)
    return read_model(Path(target))[0]


def quantized(model: Any, convs: list[Convolution]) -> Any:
    """Quantized with one made-up threshold: types and placement don't depend on it."""
    return quantize(model, {conv.activation: 4.0 for conv in convs}, [conv.name for conv in convs])


def with_fp16(parent: Any, convs: list[Convolution]) -> Any:
    """The same, all else in FP16."""
    return to_fp16(quantized(onnx.version_converter.convert_version(parent, 19), convs), {}, resize=True).model


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "base"])
def test_the_graph_is_built_as_it_is(weights: Callable[..., Any], size: str, built: Callable[..., Any]) -> None:
    state = {name: value.numpy() for name, value in weights(size).items()}
    graph = build(state, DATASETS["levir-cd"].normalization)
    found = types(built(graph, "8.6"))
    assert {conv.name for conv in convolutions(graph) if ".se." not in conv.name} <= set(found)
    assert {kind for kinds in found.values() for kind in kinds} == {"Float"}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_fp16_has_no_fp32_convolution(capability: str, parent: Any, built: Callable[..., Any]) -> None:
    safe = rescaled(parent, dict.fromkeys(float_tensors(parent), 50.0))
    found = types(built(to_fp16(*safe, resize=True).model, capability))
    wanted = {conv.name for conv in convolutions(parent) if ".se." not in conv.name}
    assert wanted - set(found) == set()  # squeeze-excite's tiny ones may be fused into layers of other kinds
    assert {kind for kinds in found.values() for kind in kinds} == {"Half"}


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("fp16", [False, True])
def test_int8_convolutions_are_the_expected_ones(
    fp16: bool, capability: str, parent: Any, built: Callable[..., Any]
) -> None:
    make = with_fp16 if fp16 else quantized
    found = types(built(make(parent, candidates(parent)), capability))
    assert {name for name, kinds in found.items() if kinds == {"Int8"}} == {conv.name for conv in candidates(parent)}
    others = {kind for kinds in found.values() for kind in kinds} - {"Int8"}
    assert others == {"Half" if fp16 else "Float"}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_why_int8_is_not_advised(capability: str, parent: Any, built: Callable[..., Any]) -> None:
    """Decision 035 rests on this: if a version does better, traffic must be counted anew."""
    convs = [conv for conv in convolutions(parent) if not any(mark in conv.name for mark in SQUEEZE_EXCITE)]
    found = built(with_fp16(parent, convs), capability)
    assert {conv.name for conv in convs} <= set(found)
    for conv in convs:
        for layer in found[conv.name]:
            assert [tensor.kind for tensor in (*layer.inputs[:1], *layer.outputs)] == ["Int8", "Float"], conv.name
            padded = 4 if conv.depthwise else 1
            assert layer.inputs[0].shape[1] >= padded * conv.input_shape[1]
