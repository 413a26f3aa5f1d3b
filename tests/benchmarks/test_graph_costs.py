"""benchmarks/graph_costs.py against counts made by hand, on graphs small enough for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import load_benchmark

onnx = pytest.importorskip("onnx")

SIDE = 8
AREA = SIDE * SIDE


@pytest.fixture(scope="module")
def costs() -> ModuleType:
    return load_benchmark("graph_costs")


class Maker:
    """Puts a graph together; every method returns the name of its output."""

    def __init__(self, channels: int) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self._input = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, channels, SIDE, SIDE))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def constant(self, values: Any) -> str:
        name = f"constant{len(self.tensors)}"
        self.tensors.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def conv(self, x: str, shape: Sequence[int], groups: int = 1, quantized: bool = False) -> str:
        """Of weights (outputs, inputs of a group, rows, columns), in INT8 where wanted."""
        weight = self.constant(np.ones(shape, np.float32))
        if quantized:
            x, weight = self.stored_as_int8(x), self.stored_as_int8(weight)
        return self.node("Conv", x, weight, group=groups, pads=[shape[2] // 2] * 4)

    def stored_as_int8(self, x: str) -> str:
        scale = self.constant(np.float32(0.1)), self.constant(np.int8(0))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *scale), *scale)

    def silu(self, x: str) -> str:
        return self.node("Mul", x, self.node("Sigmoid", x))

    def inverted_residual(self, x: str, channels: int, *, excite: bool, quantized: bool = False) -> str:
        """Expansion by four, depthwise 3x3, squeeze-excite to one channel, projection, addition."""
        wide = 4 * channels
        y = self.silu(self.conv(x, (wide, channels, 1, 1), quantized=quantized))
        y = self.silu(self.conv(y, (wide, 1, 3, 3), groups=wide))
        if excite:
            mean = self.node("ReduceMean", y, axes=[2, 3], keepdims=1)
            gate = self.conv(self.silu(self.conv(mean, (1, wide, 1, 1))), (wide, 1, 1, 1))
            y = self.node("Mul", y, self.node("Sigmoid", gate))
        return self.node("Add", x, self.conv(y, (channels, wide, 1, 1), quantized=quantized))

    def model(self, output: str) -> Any:
        value = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
        graph = onnx.helper.make_graph(self.nodes, "test", [self._input], [value], self.tensors)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])


@pytest.fixture
def count(costs: ModuleType) -> Callable[..., tuple[Any, Any]]:
    """count(maker, output, floats): both forms of what a graph costs."""

    def both(maker: Maker, output: str, floats: str = "fp32") -> tuple[Any, Any]:
        graph = costs.Graph(maker.model(output), floats)
        return costs.layers(graph), costs.fused(graph)

    return both


def test_one_convolution(count: Callable[..., Any]) -> None:
    maker = Maker(3)
    output = maker.silu(maker.conv("x", (5, 3, 3, 3)))
    for floats, width in (("fp32", 4), ("fp16", 2)):
        layers, fused = count(maker, output, floats)
        assert layers.macs == {floats: AREA * 5 * 3 * 9}
        assert layers.bytes == width * (3 * AREA + 5 * 3 * 9 + 5 * AREA)
        assert fused == layers


def test_a_depthwise_convolution_alone_is_no_inverted_residual(count: Callable[..., Any]) -> None:
    maker = Maker(6)
    layers, fused = count(maker, maker.conv("x", (6, 1, 5, 5), groups=6))
    assert layers.macs == {"fp32": AREA * 6 * 25}
    assert layers.bytes == 4 * (6 * AREA + 6 * 25 + 6 * AREA)
    assert fused == layers


def test_inverted_residual_without_squeeze_excite_takes_one_pass(count: Callable[..., Any]) -> None:
    maker = Maker(2)
    layers, fused = count(maker, maker.inverted_residual("x", 2, excite=False))
    weights = 8 * 2 + 8 * 9 + 2 * 8
    assert layers.macs == fused.macs == {"fp32": AREA * weights}
    assert layers.bytes == 4 * (AREA * (2 + 8 + 8 + 8 + 8 + 2) + weights)
    assert fused.bytes == 4 * (AREA * (2 + 2) + weights)


def test_squeeze_excite_takes_two_passes(count: Callable[..., Any]) -> None:
    maker = Maker(2)
    layers, fused = count(maker, maker.inverted_residual("x", 2, excite=True), "fp16")
    inner, project, squeeze = 8 * 2 + 8 * 9, 2 * 8, 8 + 8
    squeeze_bytes = (8 + 8 + 1) + (1 + 8 + 8)  # each reads, has weights, writes
    assert layers.macs == {"fp16": AREA * (inner + project) + squeeze}
    assert layers.bytes == 2 * (AREA * (2 + 8 + 8 + 8 + 8 + 2) + inner + project + squeeze_bytes)
    assert fused.macs == {"fp16": AREA * (2 * inner + project) + squeeze}
    first, second = AREA * 2 + inner + 8, AREA * 2 + inner + 8 + project + AREA * 2
    assert fused.bytes == 2 * (first + second + squeeze_bytes)


def test_int8_values_are_a_byte_where_every_reader_wants_them(count: Callable[..., Any]) -> None:
    maker = Maker(2)
    output = maker.inverted_residual("x", 2, excite=False, quantized=True)
    layers, fused = count(maker, output)
    pointwise, depthwise = 8 * 2 + 2 * 8, 8 * 9
    assert layers.macs == {"int8": AREA * pointwise, "fp32": AREA * depthwise}
    expand = 2 + 4 * 8  # the depthwise convolution wants floats
    middle = 4 * 8 + 8  # the projection wants INT8
    project = 8 + 4 * 2  # nobody reads the end
    assert layers.bytes == AREA * (expand + middle + project) + pointwise + 4 * depthwise
    assert fused.bytes == AREA * (2 + 4 * 2) + pointwise + 4 * depthwise


def test_a_block_whose_inside_is_read_from_outside_is_not_fused(count: Callable[..., Any], costs: ModuleType) -> None:
    maker = Maker(2)
    end = maker.inverted_residual("x", 2, excite=False)
    expanded = next(node.output[0] for node in maker.nodes if node.op_type == "Mul")
    output = maker.node("Add", end, maker.conv(expanded, (2, 8, 1, 1)))
    layers, fused = count(maker, output)
    assert costs.inverted_residuals(costs.Graph(maker.model(output))) == []
    assert fused == layers


def test_floor_in_seconds(costs: ModuleType) -> None:
    cost = costs.Cost({"fp32": 100, "int8": 30}, bytes=500)
    assert cost.seconds(1000, {"fp32": 50, "int8": 300}) == (0.5, pytest.approx(2.1))


def test_the_bundled_model(costs: ModuleType) -> None:
    """The counts known of the network: 5.358 GMAC and 0.86 GB in FP16, by convolutions' inputs and outputs alone."""
    from schanger_edge.model.bundled import model_path

    graph = costs.Graph(onnx.load(str(model_path("schanger-small"))), "fp16")
    layers = costs.layers(graph)
    assert layers.macs == {"fp16": 5_358_434_688}
    assert 0.86e9 < layers.bytes < 0.87e9
    blocks = costs.inverted_residuals(graph)
    assert len(blocks) == 25  # twenty with squeeze-excite, and the five attentions' multilayer perceptrons
    assert sum(len(block.squeeze) == 2 for block in blocks) == 20
