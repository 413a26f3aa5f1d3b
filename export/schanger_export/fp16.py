"""An FP32 or Q/DQ graph -> the same in FP16, but for what needs FP32's range or precision.

Inputs (uint8) and output (float32) keep their types. ONNX Runtime's CPU cannot show an overflow, because it computes
FP16 nodes in FP32; so what must stay is decided by the ranges that were measured in FP32.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper
from onnxconverter_common import float16

LARGEST = 8000.0
"""A tensor that passes this on real tiles stays FP32: an eighth of FP16's range is left for tiles not seen."""

LARGEST_SUM = 1024.0
"""Of a pixel's squares on real tiles: 1/64 of FP16's range, so that other tiles may have 8 times the activations."""

RESIZE = "Resize"
_HALF, _SINGLE = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


@dataclasses.dataclass(frozen=True)
class Converted:
    """A converted copy.

    Attributes:
        model: the graph.
        by_range: names of the nodes that stay FP32 because a tensor of theirs is too large.
        kept: names of all nodes that stay FP32, sorted.
    """

    model: onnx.ModelProto
    by_range: list[str]
    kept: list[str]


def to_fp16(model: onnx.ModelProto, largest: Mapping[str, float], *, resize: bool) -> Converted:
    """A converted copy.

    Args:
        model: with FP32 weights, its LayerNorms made safe, see `rescaled`.
        largest: the largest |x| of each of its other tensors over real tiles, in FP32.
        resize: whether Resize works in FP16 too.
    """
    too_large = {name for name, value in largest.items() if value > LARGEST}
    by_range = [node.name for node in model.graph.node if too_large & {*node.input, *node.output}]
    blocked = {*by_range, *_means_over_pixels(model.graph)}
    if not resize:
        blocked |= {node.name for node in model.graph.node if node.op_type == RESIZE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that become FP16's smallest: parity sees what they do
        converted = float16.convert_float_to_float16(
            copy.deepcopy(model), keep_io_types=True, op_block_list=[], node_block_list=sorted(blocked)
        )
    del converted.graph.value_info[:]
    own_casts = {node.name for node in model.graph.node if node.op_type == "Cast"} - blocked
    for node in converted.graph.node:
        if node.name in own_casts and node.attribute[0].i == _SINGLE:  # the converter leaves them FP32
            node.attribute[0].i = _HALF
    factors = {name for node in model.graph.node if node.op_type == RESIZE for name in node.input[1:]}
    originals = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name in factors}
    for tensor in converted.graph.initializer:
        if tensor.name in originals:  # the converter makes Resize's factors FP16 too, which ONNX forbids
            tensor.CopyFrom(originals[tensor.name])
    _drop_detours(converted.graph)
    return Converted(converted, by_range, sorted(blocked))


def _means_over_pixels(graph: onnx.GraphProto) -> set[str]:
    """Squeeze-excite's: added up in FP16, hundreds of values lose their last digits, which no rescaling brings back."""
    squares = {name for node in graph.node if node.op_type == "Pow" for name in node.output}
    return {node.name for node in graph.node if node.op_type == "ReduceMean" and node.input[0] not in squares}


def _drop_detours(graph: onnx.GraphProto) -> None:
    """Between two FP32 nodes the converter puts casts to FP16 and back, which would undo what they are kept for."""
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    renamed = {}
    for node in casts.values():
        before = casts.get(node.input[0])
        if before is not None and (before.attribute[0].i, node.attribute[0].i) == (_HALF, _SINGLE):
            renamed[node.output[0]] = before.input[0]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    for _ in range(2):  # the second half of each detour, then the first, which only the second used
        used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        for node in [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]:
            graph.node.remove(node)


def rescaled(model: onnx.ModelProto, largest: Mapping[str, float]) -> tuple[onnx.ModelProto, dict[str, float]]:
    """A copy whose LayerNorms are safe in FP16, and the values of `largest` but for the tensors inside these.

    A factor of what LayerNorm takes cancels out in its division, if epsilon is divided by the factor's square. So an
    exact rescaling of the convolution before it makes its squares small. Powers of two change no digit: the FP32 graph
    computes the same bits as before, and FP16 does without islands of FP32.

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
