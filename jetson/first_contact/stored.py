"""An FP32 graph -> the same with what stands in memory between convolutions stored as INT8, by Q/DQ.

No model is shipped in this form, see docs/decisions/035: benchmarks count its bytes, the first contact times it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from schanger_export.graph import Convolution, convolutions
from schanger_export.int8 import SQUEEZE_EXCITE

LEVELS = 127
ANY_RANGE = 4.0
"""For where nothing is calibrated: types, layers and times don't follow from it."""


def whole_chain(model: onnx.ModelProto) -> list[Convolution]:
    """All convolutions but squeeze-excite's."""
    return [conv for conv in convolutions(model) if not any(mark in conv.name for mark in SQUEEZE_EXCITE)]


def stored(parent: onnx.ModelProto, convs: Sequence[Convolution], thresholds: Mapping[str, float]) -> onnx.ModelProto:
    """A copy with Q/DQ at what these convolutions read, before squeeze-excite's gate, and at the weights of those that
    read it without a gate between.
    """
    model = copy.deepcopy(parent)
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    tensors = {before_gate(parent, conv) for conv in convs}
    for tensor in sorted(tensors):
        _store(graph, tensor, np.array(thresholds[tensor] / LEVELS), "ReduceMean")
    for conv in convs:
        if conv.activation in tensors:
            _store(graph, conv.weight, np.maximum(np.abs(values[conv.weight]).max((1, 2, 3)) / LEVELS, 1e-12))
    return model


def _store(graph: onnx.GraphProto, tensor: str, scale: NDArray[Any], not_for: str = "") -> None:
    """Q and DQ between a tensor and all that read it, but for nodes of one kind."""
    pair = [f"{tensor}.scale", f"{tensor}.zero_point"]
    graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), pair[0]))
    graph.initializer.append(numpy_helper.from_array(np.zeros(scale.shape, np.int8), pair[1]))
    for node in graph.node:
        if node.op_type != not_for:
            node.input[:] = [f"{tensor}.dequantized" if name == tensor else name for name in node.input]
    place = 1 + next((number for number, node in enumerate(graph.node) if tensor in node.output), -1)
    axis: dict[str, Any] = {"axis": 0} if scale.shape else {}
    for kind, source, target in (
        ("DequantizeLinear", f"{tensor}.int8", f"{tensor}.dequantized"),
        ("QuantizeLinear", tensor, f"{tensor}.int8"),
    ):
        graph.node.insert(place, onnx.helper.make_node(kind, [source, *pair], [target], name=target, **axis))


def before_gate(model: onnx.ModelProto, conv: Convolution) -> str:
    """The tensor that is stored for a convolution: its input, or what squeeze-excite's gate multiplies for it."""
    gated = next((node for node in model.graph.node if conv.activation in node.output), None)
    is_gate = gated is not None and gated.op_type == "Mul" and gated.name.endswith(".gated") and ".se." in gated.name
    return str(gated.input[0]) if is_gate and gated is not None else conv.activation
