"""The network's weights out of a model file, where its graph is the one that the native engine computes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import ModelError
from schanger_edge.model.file import ModelFile
from schanger_edge.model.graph import Graph, read_graph
from schanger_edge.sessions.engine import OtherGraphError

GRAPHS = ("591bde7e939d4d38", "9fe9ca3a60d146d0")
"""Digests of the graphs that the library computes, small and base: `graph_digest` of what the factory writes.

They differ where two stages are equally wide, so that there is a shortcut between them.
"""
STAGES = 5
_DATES = ("before", "after")

Shape = tuple[int, ...]


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
    try:
        widths = _widths(graph)
        wanted = dict(layout(widths))
        fits = all(graph.floats[name].shape == shape for name, shape in wanted.items())
    except (KeyError, IndexError):
        fits = False
    if not fits or graph_digest(graph, wanted) not in GRAPHS:
        raise OtherGraphError(
            f"{model.path.name} holds another graph than the one that this version's native engine computes"
        )
    values = np.concatenate([graph.floats[name].ravel() for name in wanted])
    if not np.isfinite(values).all():
        raise ModelError(f"{model.path} has weights that are no finite numbers: export it again, or train anew.")
    return Weights(widths, values)


def _widths(graph: Graph) -> tuple[int, ...]:
    inner = (graph.floats[f"encoder{k}.1.expand_conv.weight"].shape[1] for k in range(1, STAGES + 1))
    return (graph.floats["conv_1.weight"].shape[0], *inner)


def graph_digest(graph: Graph, weights: dict[str, Shape]) -> str:
    """Hash of all that decides what a graph computes, but for the weights' values and the number of channels."""
    digest = hashlib.sha256()
    for node in graph.nodes:
        attributes = tuple(one for one in node.attributes if one[0] != "group")  # of a depthwise convolution: channels
        digest.update(repr((node.kind, node.inputs, node.outputs, attributes)).encode())
    for name in sorted(graph.floats.keys() - weights.keys()):
        digest.update(name.encode() + graph.floats[name].tobytes())
    return digest.hexdigest()[:16]


def layout(widths: tuple[int, ...]) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every weight, in the order in which the library takes them."""
    for part in ("mean", "scale"):
        yield from ((f"{date}.{part}", (1, 3, 1, 1)) for date in _DATES)
    yield from _conv("conv_1", 3, widths[0], 3)
    for k in range(1, STAGES + 1):
        yield from _lfem(f"encoder{k}.0", widths[k - 1], widths[k])
        yield from _lfem(f"encoder{k}.1", widths[k], widths[k])
    for k in range(1, STAGES + 1):
        inner, outer = widths[STAGES + 1 - k], widths[STAGES - k]
        yield from _scam(f"Bi{k}.0", inner)
        yield from _lfem(f"decoder{k}.0", inner, inner)
        yield from _lfem(f"decoder{k}.1", inner, outer)
        yield from _fusion(f"head{k}.0", outer)
        yield from _conv(f"head{k}.1.conv", outer, 1, 3)
    yield from _conv("head6.0.conv", STAGES, 1, 1)


def _conv(name: str, inputs: int, outputs: int, kernel: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    yield f"{name}.bias", (outputs,)


def _lfem(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    wide, reduced = 6 * inputs, inputs // 4
    yield from _conv(f"{name}.expand_conv", inputs, wide, 1)
    yield from _conv(f"{name}.dwconv", 1, wide, 3)
    yield from _conv(f"{name}.se.conv_reduce", wide, reduced, 1)
    yield from _conv(f"{name}.se.conv_expand", reduced, wide, 1)
    yield from _conv(f"{name}.project_conv", wide, outputs, 1)


def _fusion(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    yield from _conv(f"{name}.diff.0", 2 * channels, channels, 1)
    yield from ((f"{name}.diff.1.{part}", (channels, 1, 1)) for part in ("weight", "bias"))


def _scam(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    attention, unit = f"{name}.attn", f"{name}.attn.spatial_gating_unit"
    yield from _conv(f"{attention}.proj_1", channels, channels, 1)
    yield from _fusion(f"{unit}.diff", channels)
    yield from _conv(f"{unit}.conv0", 1, channels, 5)
    yield from _conv(f"{unit}.conv_spatial", 1, channels, 7)
    yield from _conv(f"{unit}.conv1", channels, channels, 1)
    yield from _conv(f"{attention}.proj_2", channels, channels, 1)
    yield f"{name}.kept.weight", (channels, 1, 1)
    yield from _conv(f"{name}.mlp.fc1", channels, 4 * channels, 1)
    yield from _conv(f"{name}.mlp.dwconv.dwconv", 1, 4 * channels, 3)
    yield from _conv(f"{name}.mlp.fc2", 4 * channels, channels, 1)
