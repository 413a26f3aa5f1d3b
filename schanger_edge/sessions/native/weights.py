"""The network's weights out of a model file, where its graph is the one that the native engine computes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import ModelError
from schanger_edge.model.file import ModelFile
from schanger_edge.model.graph import Graph, read_graph
from schanger_edge.sessions.engine import OtherGraphError

GRAPHS = ("2319ee7ff3a2e95d", "0b77db06a408b7de")
"""Digests of the graphs that the library computes, small and base: `graph_digest` of what the factory writes."""
STAGES = 5


class Weights(NamedTuple):
    """All weights as the library takes them, and the channels of the six stages."""

    widths: tuple[int, ...]
    values: NDArray[np.float32]


def read_weights(model: ModelFile) -> Weights:
    """The weights of a model file.

    Raises:
        OtherGraphError: the file holds another graph.
        ModelError: the file cannot be read, or a weight is no finite number.
    """
    graph = read_graph(model.path)
    if graph_digest(graph) not in GRAPHS:
        raise OtherGraphError(
            f"{model.path.name} holds another graph than the one that this version's native engine computes"
        )
    read = dict.fromkeys(name for node in graph.nodes for name in node.inputs)  # in the order of their nodes
    names = [name for name in read if name in graph.floats and _is_weight(name)]
    names[1], names[2] = names[2], names[1]  # the library takes the mean of both dates, then the scale of both
    values = np.concatenate([graph.floats[name].ravel() for name in names])
    if not np.isfinite(values).all():
        raise ModelError(f"{model.path} has weights that are no finite numbers: export it again, or train anew.")
    inner = (graph.floats[f"encoder{k}.1.expand_conv.weight"].shape[1] for k in range(1, STAGES + 1))
    return Weights((graph.floats["conv_1.weight"].shape[0], *inner), values)


def graph_digest(graph: Graph) -> str:
    """Hash of all that decides what a graph computes, but for the weights' values."""
    digest = hashlib.sha256()
    for node in graph.nodes:
        digest.update(repr((node.kind, node.inputs, node.outputs, node.attributes)).encode())
    for name, values in sorted(graph.floats.items()):
        digest.update(repr((name, values.shape)).encode() + (b"" if _is_weight(name) else values.tobytes()))
    return digest.hexdigest()[:16]


def _is_weight(name: str) -> bool:
    """Weights are named after their place, as in `encoder1.0.dwconv.weight`; constants, such as `half`, have none."""
    return "." in name
