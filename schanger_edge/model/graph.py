"""A model file's graph as an engine of our own reads it: nodes, and the weights that are floats.

A file that cannot be read, or is damaged, is a ModelError.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import ModelError
from schanger_edge.model.file import ATTRIBUTE, ELEMENTS, GRAPH, INITIALIZER, INITIALIZER_NAME, NODE, content_of
from schanger_edge.model.wire import fields, parts, text

# Numbers of fields in onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_KIND = 1, 2, 3, 4  # NodeProto
ATTRIBUTE_NAME, ATTRIBUTE_VALUES = 1, (3, 4, 8, 9)  # AttributeProto: i, s, ints, strings
DIMENSIONS, DATA_TYPE, RAW_DATA = 1, 2, 9  # TensorProto
ALWAYS_FP32 = frozenset({"ReduceMean", "Pow", "Sqrt"})
_FLOAT = ELEMENTS.index("float")

Value = int | str


class Node(NamedTuple):
    """What a node computes: its operator, names of what goes in and comes out, and attributes with their values."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, tuple[Value, ...]], ...]


class Graph(NamedTuple):
    """Nodes in their order, and the weights that are floats, by name; the arrays lie in the file's bytes."""

    nodes: list[Node]
    floats: dict[str, NDArray[np.float32]]


def read_graph(path: Path) -> Graph:
    """Read a model file."""
    nodes, floats = list[Node](), dict[str, NDArray[np.float32]]()
    with _reading(path) as graphs:
        for graph in graphs:
            for number, value in fields(graph):
                if number == NODE and isinstance(value, memoryview):
                    nodes.append(_node(value))
                elif number == INITIALIZER and isinstance(value, memoryview):
                    floats.update(_floats(value))
    return Graph(nodes, floats)


def read_named_nodes(path: Path) -> dict[str, Node]:
    """The nodes of a model file by their names, in their order."""
    with _reading(path) as graphs:
        return {text(node, NODE_NAME): _node(node) for graph in graphs for node in parts(graph, NODE)}


def fp32_nodes(nodes: Mapping[str, Node]) -> list[str]:
    """Names of the nodes that need FP32's range or precision in any model, in their order.

    Mean, power and root of the channel LayerNorm with the addition of epsilon between them; squeeze-excite's mean,
    whose sum over a tile passes FP16's range.
    """
    roots = {node.inputs[0] for node in nodes.values() if node.kind == "Sqrt"}
    return [name for name, node in nodes.items() if node.kind in ALWAYS_FP32 or roots & set(node.outputs)]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Iterable[memoryview]]:
    """The graphs of a model file, and errors as sentences."""
    try:
        yield parts(memoryview(content_of(path)), GRAPH)
    except ValueError as error:
        raise ModelError(f"{path} is damaged ({error}): export it again.") from error


def _node(node: memoryview) -> Node:
    inputs, outputs = (
        tuple(str(value, "utf-8") for value in parts(node, number)) for number in (NODE_INPUT, NODE_OUTPUT)
    )
    attributes = sorted(_attribute(value) for value in parts(node, ATTRIBUTE))
    return Node(text(node, NODE_KIND), inputs, outputs, tuple(attributes))


def _attribute(attribute: memoryview) -> tuple[str, tuple[Value, ...]]:
    values = [value for number, value in fields(attribute) if number in ATTRIBUTE_VALUES]
    readable = (str(value, "utf-8") if isinstance(value, memoryview) else value for value in values)
    return text(attribute, ATTRIBUTE_NAME), tuple(readable)


def _floats(tensor: memoryview) -> dict[str, NDArray[np.float32]]:
    """A weight by its name; nothing where it is of another type, or not stored as raw bytes, as ours are."""
    shape, kind, raw = list[int](), 0, None
    for number, value in fields(tensor):
        if number == DIMENSIONS and isinstance(value, int):
            shape.append(value)
        elif number == DATA_TYPE and isinstance(value, int):
            kind = value
        elif number == RAW_DATA and isinstance(value, memoryview):
            raw = value
    if kind != _FLOAT or raw is None or len(raw) != 4 * math.prod(shape):
        return {}
    return {text(tensor, INITIALIZER_NAME): np.frombuffer(raw, "<f4").reshape(shape)}
