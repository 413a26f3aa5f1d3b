"""Multiply-adds and least bytes of one pair of tiles, counted on a model file's graph.

Two forms. *Layers*: each convolution reads its input and its weights from memory and writes its output; whatever stands
between two convolutions (activation, norm, addition, mean, pooling, resizing) is done on the way and costs nothing.
*Fused*: an inverted residual (1x1 expansion, depthwise convolution, 1x1 projection) reads its input and writes its
output, and what is between never leaves the chip. With squeeze-excite the gate needs the mean over the whole tile, so
such a block goes over its input twice, and expansion and depthwise convolution are computed twice.

Both are least counts: rows at the borders of what fits on the chip are not counted again, biases and the second operand
of a residual addition not at all. Needs the `quantize` extra.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping

import onnx

from schanger_export.graph import Convolution, convolutions

WIDTH = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of a value."""

DEQUANTIZE = "DequantizeLinear"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one pair of tiles costs.

    Attributes:
        macs: multiply-adds, by the precision of their operands.
        bytes: read from and written to memory.
    """

    macs: Mapping[str, int]
    bytes: int

    def seconds(self, bandwidth: float, rates: Mapping[str, float]) -> tuple[float, float]:
        """(of memory, of arithmetic) at `bandwidth` in bytes/s and `rates` in multiply-adds/s by precision."""
        return self.bytes / bandwidth, sum(macs / rates[precision] for precision, macs in self.macs.items())


@dataclasses.dataclass(frozen=True)
class Block:
    """An inverted residual; `squeeze` are the convolutions of its squeeze-excite, in order, or none."""

    expand: Convolution
    depthwise: Convolution
    squeeze: tuple[Convolution, ...]
    project: Convolution


class Graph:
    """A model's convolutions, and which of them reads which other's output.

    Args:
        model: FP32 or with Q/DQ.
        floats: the precision that its floating-point tensors are counted in, fp32 or fp16.
    """

    def __init__(self, model: onnx.ModelProto, floats: str = "fp32") -> None:
        self.convs = {conv.name: conv for conv in convolutions(model)}
        self._floats = floats
        self._dequantized = {name for node in model.graph.node if node.op_type == DEQUANTIZE for name in node.output}
        sources = _sources(model.graph, self._dequantized)
        self.sources = {conv.name: sources.get(conv.activation, frozenset()) for conv in self.convs.values()}
        self.readers: dict[str, list[Convolution]] = collections.defaultdict(list)
        for conv in self.convs.values():
            for name in self.sources[conv.name]:
                self.readers[name].append(conv)

    def precision(self, conv: Convolution) -> str:
        """Of a convolution's operands."""
        return "int8" if {conv.activation, conv.weight} <= self._dequantized else self._floats

    def read(self, conv: Convolution) -> int:
        """Bytes of its input."""
        stored = "int8" if conv.activation in self._dequantized else self._floats
        return math.prod(conv.input_shape) * WIDTH[stored]

    def weights(self, conv: Convolution) -> int:
        """Bytes of its weights."""
        return math.prod(conv.weight_shape) * WIDTH[self.precision(conv)]

    def written(self, conv: Convolution) -> int:
        """Bytes of its output: INT8 where whoever reads it wants INT8; means are taken before it is rounded."""
        readers = [reader for reader in self.readers[conv.name] if not _is_squeezed(reader)]
        stored = readers and all(reader.activation in self._dequantized for reader in readers)
        return math.prod(conv.output_shape) * WIDTH["int8" if stored else self._floats]

    def macs(self, convs: Iterable[Convolution]) -> collections.Counter[str]:
        """Multiply-adds by precision."""
        total: collections.Counter[str] = collections.Counter()
        for conv in convs:
            total[self.precision(conv)] += conv.macs
        return total


def layers(graph: Graph) -> Cost:
    """As the layers stand."""
    convs = graph.convs.values()
    return Cost(graph.macs(convs), sum(_layer_bytes(graph, conv) for conv in convs))


def fused(graph: Graph) -> Cost:
    """With inverted residuals fused; all else as it stands, squeeze-excite's small convolutions too."""
    macs = graph.macs(graph.convs.values())
    left, total = dict(graph.convs), 0
    for block in inverted_residuals(graph):
        inner = (block.expand, block.depthwise)
        for conv in (*inner, block.project):
            del left[conv.name]
        once = graph.read(block.expand) + sum(map(graph.weights, inner))
        total += once + graph.weights(block.project) + graph.written(block.project)
        if block.squeeze:  # the first of two passes writes the mean, the second reads the gate
            total += once + graph.read(block.squeeze[0]) + graph.written(block.squeeze[-1])
            macs += graph.macs(inner)
    return Cost(macs, total + sum(_layer_bytes(graph, conv) for conv in left.values()))


def inverted_residuals(graph: Graph) -> list[Block]:
    """All blocks of 1x1 expansion, depthwise convolution, squeeze-excite or none, and 1x1 projection."""
    found = []
    for depthwise in (conv for conv in graph.convs.values() if conv.depthwise):
        squeeze = _squeeze(graph, depthwise)
        before = [graph.convs[name] for name in graph.sources[depthwise.name]]
        after = [conv for conv in graph.readers[depthwise.name] if conv not in squeeze]
        if len(before) == len(after) == 1:
            (expand,), (project,) = before, after
            inside = {conv.name for conv in (depthwise, *squeeze[-1:])}
            closed = graph.readers[expand.name] == [depthwise] and graph.sources[project.name] == inside
            if closed and _widens(expand) and _narrows(project):
                found.append(Block(expand, depthwise, squeeze, project))
    return found


def _sources(graph: onnx.GraphProto, dequantized: set[str]) -> dict[str, frozenset[str]]:
    """For each tensor the convolutions it is made of, with no other between and nothing that was stored as INT8."""
    sources: dict[str, frozenset[str]] = {}
    for node in graph.node:  # in topological order, as ONNX demands
        if node.op_type == "Conv":
            own = frozenset({node.name})
        else:
            own = frozenset().union(*(sources.get(name, ()) for name in node.input if name not in dequantized))
        sources.update(dict.fromkeys(node.output, own))
    return sources


def _squeeze(graph: Graph, depthwise: Convolution) -> tuple[Convolution, ...]:
    """The chain of convolutions on one value per channel that follows a depthwise convolution."""
    chain: list[Convolution] = []
    name = depthwise.name
    while following := [conv for conv in graph.readers[name] if _is_squeezed(conv)]:
        chain.append(following[0])
        name = following[0].name
    return tuple(chain)


def _is_squeezed(conv: Convolution) -> bool:
    return math.prod(conv.input_shape[2:]) == 1


def _widens(conv: Convolution) -> bool:
    return conv.weight_shape[2:] == (1, 1) and conv.weight_shape[0] > conv.weight_shape[1]


def _narrows(conv: Convolution) -> bool:
    return conv.weight_shape[2:] == (1, 1) and conv.weight_shape[0] < conv.weight_shape[1]


def _layer_bytes(graph: Graph, conv: Convolution) -> int:
    return graph.read(conv) + graph.weights(conv) + graph.written(conv)
