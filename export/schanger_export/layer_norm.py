"""LayerNorm that is safe in FP16: its squares are made small by an exact rescaling of the convolution before it.

A factor of what LayerNorm takes cancels out in its division, if epsilon is divided by the factor's square. Powers of
two change no digit, so that the FP32 graph computes the same bits as before, and FP16 does without islands of FP32.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

LARGEST_SUM = 1024.0
"""Of a pixel's squares on real tiles: 1/64 of FP16's range, so that other tiles may have 8 times the activations."""


def rescaled(model: onnx.ModelProto, largest: Mapping[str, float]) -> tuple[onnx.ModelProto, dict[str, float]]:
    """A copy that computes the same, and the values of `largest` but for the tensors inside its LayerNorms.

    Args:
        model: FP32, without Q/DQ.
        largest: the largest |x| of its tensors over real tiles; a LayerNorm whose input is not there stays as it is.
    """
    model, largest = copy.deepcopy(model), dict(largest)
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for divide in graph.node:
        root = made_by.get(divide.input[-1]) if divide.op_type == "Div" else None
        if root is None or root.op_type != "Sqrt" or not (most := largest.get(divide.input[0])):
            continue
        shifted, inside = made_by[root.input[0]], [divide.input[0], *root.output]
        mean = next(made_by[name] for name in shifted.input if name in made_by)
        inside += [*shifted.output, *mean.output, mean.input[0]]
        conv = made_by[divide.input[0]]
        while conv.op_type != "Conv":  # in models of earlier versions the mean is subtracted after it
            conv = made_by[conv.input[0]]
            inside.append(conv.output[0])
        scale = _power_of_two(most, channels=weights[conv.input[1]].dims[0])
        for name in conv.input[1:]:
            _divide(weights[name], scale)
        (position,) = (number for number, name in enumerate(shifted.input) if name in weights)
        epsilon = graph.initializer.add()
        epsilon.CopyFrom(weights[shifted.input[position]])
        epsilon.name = shifted.input[position] = f"{shifted.name}.epsilon"
        _divide(epsilon, scale**2)
        largest = {name: value for name, value in largest.items() if name not in inside}
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    return model, largest


def _power_of_two(most: float, channels: int) -> float:
    """The least that makes the squares small enough."""
    return float(2.0 ** math.ceil(math.log2(most * math.sqrt(channels / LARGEST_SUM))))


def _divide(tensor: onnx.TensorProto, by: float) -> None:
    values = numpy_helper.to_array(tensor) / np.float32(by)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
