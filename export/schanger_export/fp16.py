"""An FP32 or Q/DQ graph -> the same in FP16, but for what needs FP32's range or precision.

Inputs (uint8) and output (float32) keep their types. ONNX Runtime's CPU cannot show an overflow, because it computes
FP16 nodes in FP32; so what must stay is decided by the ranges that were measured in FP32.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping

import onnx
from onnxconverter_common import float16

LARGEST = 8000.0
"""A tensor that passes this on real tiles stays FP32: an eighth of FP16's range is left for tiles not seen."""

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
        model: with FP32 weights, its LayerNorms made safe, see `layer_norm.rescaled`.
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
