"""The network as an ONNX graph, node by node: `network.py` again, in the same order and with the same names.

A node, its output and its weights are named after their place: `encoder1.0.dwconv`, `encoder1.0.dwconv.weight`.
Every constant scale and shift is folded into the convolution beside it, exactly but for rounding: BatchNorm, layer
scales, and the subtraction of the mean in LayerNorm. That saves passes over the activations, which is what inference
spends its time on. Both dates lie stacked along the batch, so that quantization gives them one scale.

Needs numpy and onnx, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from schanger_edge.model.card import INPUT_NAMES, OUTPUT_NAME, Normalization, Statistics
from schanger_export.architecture import BATCHNORM_EPS, LAYERNORM_EPS, LFEM_EPS, STAGES

OPSET = 17  # the newest that TensorRT 8.5 reads
IR_VERSION = 8  # the newest that ONNX Runtime 1.16 and TensorRT 8.6 are sure to read
BATCH, SIZE = "batch", ("height", "width")
STACKED, SIDES, FUSED = "dates", "sides", "head6.0.conv"
"""Normalized dates (2N, 3, H, W); side logits (N, 5, H, W), coarsest first; the fused logit (N, 1, H, W)."""

Array = NDArray[np.float64]
State = Mapping[str, NDArray[Any]]


def build(state: State, normalization: Normalization, name: str = "") -> onnx.ModelProto:
    """A model: uint8 RGB tiles in, probability out.

    Args:
        state: a whole state dict of the Siamese network, see `architecture.shapes`.
        normalization: colour statistics of the dates.
        name: of the graph.

    Returns:
        Inputs `before` and `after` (N, 3, height, width) uint8, output `probability` (N, 1, height, width) float32, for
        every N and every height and width that is a multiple of 16.
    """
    graph = Graph(state)
    statistics = (normalization.before, normalization.after)
    dates = [_normalized(graph, date, values) for date, values in zip(INPUT_NAMES, statistics, strict=True)]
    graph.node(OUTPUT_NAME, "Sigmoid", _network(graph, graph.node(STACKED, "Concat", *dates, axis=0)))
    image, probability = (BATCH, 3, *SIZE), (BATCH, 1, *SIZE)
    made = helper.make_graph(
        graph.nodes,
        name or "schanger",
        [helper.make_tensor_value_info(date, TensorProto.UINT8, image) for date in INPUT_NAMES],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, probability)],
        list(graph.weights.values()),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


class Graph:
    """Nodes and weights as they gather; convolutions find their weights in the state by their names."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def __getitem__(self, name: str) -> Array:
        """A tensor of the state dict."""
        return np.asarray(self._state[name], np.float64)

    def node(self, name: str, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; its output has its name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def weight(self, name: str, values: Array | Sequence[float] | float) -> str:
        """Add a weight, or a constant that several nodes share."""
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(np.array(values, np.float32), name)
        return name

    def conv(self, name: str, x: str, weight: Array, bias: Array, dilation: int = 1) -> str:
        """Add a convolution of stride 1 that keeps height and width; one input per group makes it depthwise."""
        kernel = weight.shape[2]
        pad = dilation * (kernel - 1) // 2
        weights = self.weight(f"{name}.weight", weight), self.weight(f"{name}.bias", bias)
        return self.node(
            name,
            "Conv",
            x,
            *weights,
            kernel_shape=[kernel] * 2,
            pads=[pad] * 4,
            strides=[1, 1],
            dilations=[dilation] * 2,
            group=len(weight) if weight.shape[1] == 1 else 1,
        )

    def own(self, name: str) -> tuple[Array, Array]:
        """Weight and bias of a convolution in the state dict."""
        return self[f"{name}.weight"], self[f"{name}.bias"]


def _normalized(g: Graph, date: str, statistics: Statistics) -> str:
    # (x / 255 - mean) / std as (x - 255 mean) * (1 / (255 std)): one pass less, and subtracting first keeps FP16 exact.
    mean, std = (np.array(values).reshape(1, 3, 1, 1) * 255 for values in (statistics.mean, statistics.std))
    x = g.node(f"{date}.float", "Cast", date, to=TensorProto.FLOAT)
    x = g.node(f"{date}.centered", "Sub", x, g.weight(f"{date}.mean", mean))
    return g.node(f"{date}.normalized", "Mul", x, g.weight(f"{date}.scale", 1 / std))


def _network(g: Graph, x: str) -> str:
    """Normalized dates -> the fused logit."""
    x = _conv_bn(g, "conv_1", x, BATCHNORM_EPS)
    skips = []
    for k in range(1, STAGES + 1):
        if k > 1:
            x = g.node(f"encoder{k}.pool", "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = _lfem(g, f"encoder{k}.1", _lfem(g, f"encoder{k}.0", x))
        skips.append(x)
    x = _scam(g, "Bi1.0", skips.pop())
    sides = []
    for k in range(1, STAGES + 1):
        if k > 1:
            x = _upsample(g, f"decoder{k}.upsample", x, 2)
            x = g.node(f"decoder{k}.add", "Add", x, _scam(g, f"Bi{k}.0", skips.pop()))
        x = _lfem(g, f"decoder{k}.1", _lfem(g, f"decoder{k}.0", x))
        fused = _temporal_fusion(g, f"head{k}.0", x)
        logit = g.conv(f"head{k}.1.conv", fused, *g.own(f"head{k}.1.conv"))
        sides.append(_upsample(g, f"head{k}.upsample", logit, 2 ** (STAGES - k)))
    return g.conv(FUSED, g.node(SIDES, "Concat", *sides, axis=1), *g.own(FUSED))


def _conv_bn(g: Graph, name: str, x: str, eps: float = LFEM_EPS, act: bool = True) -> str:
    """ConvBNAct, with the BatchNorm inside the convolution."""
    scale, shift = _batchnorm(g, f"{name}.bn", eps)
    x = g.conv(name, x, g[f"{name}.conv.weight"] * scale[:, None, None, None], shift)
    return _silu(g, name, x) if act else x


def _lfem(g: Graph, name: str, x: str) -> str:
    y = _conv_bn(g, f"{name}.dwconv", _conv_bn(g, f"{name}.expand_conv", x))
    y = _conv_bn(g, f"{name}.project_conv", _squeeze_excite(g, f"{name}.se", y), act=False)
    weight = g[f"{name}.project_conv.conv.weight"]
    residual = 6 * weight.shape[0] == weight.shape[1]
    return g.node(f"{name}.add", "Add", x, y) if residual else y


def _squeeze_excite(g: Graph, name: str, x: str) -> str:
    # Along each row, then over the rows: ONNX Runtime sums in float32, and one mean over 512 x 512 pixels is off in its
    # sixth digit, which moves probability by 4e-4. Two short sums move it by 2e-5; GlobalAveragePool is ten times worse
    # than one ReduceMean.
    mean = g.node(f"{name}.row_mean", "ReduceMean", x, axes=[3], keepdims=1)
    mean = g.node(f"{name}.mean", "ReduceMean", mean, axes=[2], keepdims=1)
    reduced = f"{name}.conv_reduce"
    y = _silu(g, reduced, g.conv(reduced, mean, *g.own(reduced)))
    gate = g.node(f"{name}.gate", "Sigmoid", g.conv(f"{name}.conv_expand", y, *g.own(f"{name}.conv_expand")))
    return g.node(f"{name}.gated", "Mul", x, gate)


def _temporal_fusion(g: Graph, name: str, x: str) -> str:
    halves = [f"{name}.before", f"{name}.after"]
    g.nodes.append(helper.make_node("Split", [x], halves, name=f"{name}.split", axis=0))  # into halves, for every N
    x = g.node(f"{name}.pair", "Concat", *halves, axis=1)
    # LayerNorm subtracts the mean over the channels: the convolution before it does that.
    weight, bias = g.own(f"{name}.diff.0")
    x = g.conv(f"{name}.diff.0", x, weight - weight.mean(0), bias - bias.mean())
    return _gelu(g, f"{name}.diff.2", _centered_layer_norm(g, f"{name}.diff.1", x))


def _centered_layer_norm(g: Graph, name: str, x: str) -> str:
    """LayerNorm over the channels of each pixel, whose mean is zero already."""
    square = g.node(f"{name}.square", "Pow", x, g.weight("two", 2))
    variance = g.node(f"{name}.variance", "ReduceMean", square, axes=[1], keepdims=1)
    shifted = g.node(f"{name}.add_epsilon", "Add", variance, g.weight("layer_norm_epsilon", LAYERNORM_EPS))
    x = g.node(f"{name}.normalized", "Div", x, g.node(f"{name}.deviation", "Sqrt", shifted))
    weight, bias = (g[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
    x = g.node(f"{name}.scaled", "Mul", x, g.weight(f"{name}.weight", weight))
    return g.node(f"{name}.shifted", "Add", x, g.weight(f"{name}.bias", bias))


def _scam(g: Graph, name: str, x: str) -> str:
    scale, shift = _batchnorm(g, f"{name}.norm1")
    y = _attention(g, f"{name}.attn", x, scale, shift, g[f"{name}.layer_scale_1"])
    # The shortcut inside is the normalized input scale x + shift, times the layer scale: with x itself a factor of x.
    kept = 1 + g[f"{name}.layer_scale_1"] * scale
    x = g.node(f"{name}.kept", "Mul", x, g.weight(f"{name}.kept.weight", kept[:, None, None]))
    x = g.node(f"{name}.attended", "Add", x, y)
    return g.node(f"{name}.add", "Add", x, _mlp(g, name, x))


def _attention(g: Graph, name: str, x: str, scale: Array, shift: Array, layer_scale: Array) -> str:
    """The attention half of SCAM without its shortcut's scale x, times the layer scale."""
    proj_1, proj_2, unit = f"{name}.proj_1", f"{name}.proj_2", f"{name}.spatial_gating_unit"
    x = _gelu(g, proj_1, g.conv(proj_1, x, *_after(g, proj_1, scale, shift)))
    gate = g.conv(f"{unit}.conv0", _temporal_fusion(g, f"{unit}.diff", x), *g.own(f"{unit}.conv0"))
    gate = g.conv(f"{unit}.conv_spatial", gate, *g.own(f"{unit}.conv_spatial"), dilation=3)
    gate = g.conv(f"{unit}.conv1", gate, *g.own(f"{unit}.conv1"))
    gate = g.node(f"{unit}.both", "Concat", gate, gate, axis=0)
    weight, bias = g.own(proj_2)
    x = g.node(f"{unit}.gated", "Mul", x, gate)
    return g.conv(proj_2, x, weight * layer_scale[:, None, None, None], (bias + shift) * layer_scale)


def _mlp(g: Graph, scam: str, x: str) -> str:
    """The second half of SCAM without its shortcut, BatchNorm before and layer scale after it inside."""
    fc1, dwconv, fc2 = (f"{scam}.mlp.{part}" for part in ("fc1", "dwconv.dwconv", "fc2"))
    x = g.conv(fc1, x, *_after(g, fc1, *_batchnorm(g, f"{scam}.norm2")))
    x = _gelu(g, dwconv, g.conv(dwconv, x, *g.own(dwconv)))
    weight, bias = g.own(fc2)
    layer_scale = g[f"{scam}.layer_scale_2"]
    return g.conv(fc2, x, weight * layer_scale[:, None, None, None], bias * layer_scale)


def _batchnorm(g: Graph, name: str, eps: float = BATCHNORM_EPS) -> tuple[Array, Array]:
    """Scale and shift per channel of a BatchNorm: x -> scale x + shift."""
    scale = g[f"{name}.weight"] / np.sqrt(g[f"{name}.running_var"] + eps)
    return scale, g[f"{name}.bias"] - g[f"{name}.running_mean"] * scale


def _after(g: Graph, conv: str, scale: Array, shift: Array) -> tuple[Array, Array]:
    """Weight and bias of a 1x1 convolution that does to x what it did to scale x + shift."""
    weight, bias = g.own(conv)
    return weight * scale[:, None, None], bias + weight[:, :, 0, 0] @ shift


def _silu(g: Graph, name: str, x: str) -> str:
    return g.node(f"{name}.silu", "Mul", x, g.node(f"{name}.sigmoid", "Sigmoid", x))


def _gelu(g: Graph, name: str, x: str) -> str:
    """The exact one, in the five nodes that runtimes know to fuse."""
    y = g.node(f"{name}.erf", "Erf", g.node(f"{name}.by_sqrt2", "Div", x, g.weight("sqrt2", np.sqrt(2.0))))
    y = g.node(f"{name}.plus_one", "Add", y, g.weight("one", 1))
    return g.node(f"{name}.gelu", "Mul", g.node(f"{name}.product", "Mul", x, y), g.weight("half", 0.5))


def _upsample(g: Graph, name: str, x: str, factor: int) -> str:
    if factor == 1:
        return x
    # A factor rather than a size: sizes would be computed, for want of a known batch.
    scales = g.weight(f"upsample{factor}", [1, 1, factor, factor])
    return g.node(name, "Resize", x, "", scales, mode="linear", coordinate_transformation_mode="align_corners")
