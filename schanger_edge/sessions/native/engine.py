"""The native engine: SChanger's own kernels, which know this one network; same bytes for any threads and any batch."""

from __future__ import annotations

import ctypes
import hashlib
import threading
import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schanger_edge._version import __version__
from schanger_edge.errors import ModelError, SessionError
from schanger_edge.model.file import ModelFile
from schanger_edge.model.graph import Graph, read_graph
from schanger_edge.sessions.engine import Auto, Engine, Findings, OtherGraphError
from schanger_edge.sessions.native.library import Kernels, build, kernels, library_path, load, open_network
from schanger_edge.sessions.ort import available_cores, cpu_words
from schanger_edge.sessions.session import Session, check_probability

PARITY = 1e-4
FP32, BF16 = "fp32", "bf16"
GRAPHS = ("2319ee7ff3a2e95d", "0b77db06a408b7de")
"""Digests of the graphs that the library computes, small and base: `graph_digest` of what the factory writes."""
STAGES = 5


class NativeSession(Session):
    """See `sessions.Session`.

    Args:
        model: to run.
        threads: None takes all cores this process may use.
        precision: of the products; `bf16` rounds their factors to 8 bits of mantissa.
        isa: instruction set, such as `avx2`; None takes the best that this processor has.

    Raises:
        OtherGraphError: the model holds another graph than the one the library computes.
        ModelError: a weight is no finite number.
        SessionError: the library is not there, or this processor lacks precision or instruction set.
    """

    def __init__(
        self, model: ModelFile, threads: int | None = None, precision: str = FP32, isa: str | None = None
    ) -> None:
        found = [one for one in kernels() if one.precision == precision and isa in (None, one.isa)]
        if not found:
            raise SessionError(_lacking(precision, isa))
        threads = threads or available_cores()
        self.model, self.card, self.model_sha256 = model.path, model.card, model.sha256
        self.notes, self.smaller_tile = list[str](), model.smaller_tile
        self.kernels: Kernels = found[0]
        self.device = f"native {__version__} ({cpu_words(threads)}, {', '.join(self.kernels)})"
        self._weights, self._threads, self._library = read_weights(model), threads, load()
        self._networks, self._opening = dict[int, ctypes.c_void_p](), threading.Lock()  # by the side of their tiles
        self._free = weakref.finalize(self, _close_all, self._library, self._networks)
        self._network(model.card.tile)

    def describe(self) -> dict[str, Any]:
        return {"isa": self.kernels.isa, "products": self.kernels.precision}

    def identity(self) -> dict[str, Any]:
        """Without the threads, for sums are made in the same order; with the build, for another may round otherwise."""
        return {**super().identity(), "device": f"native {__version__} build {build()} ({', '.join(self.kernels)})"}

    @property
    def memory(self) -> int:
        """Bytes that weights, maps and scratch take."""
        return sum(int(self._library.schanger_memory(network)) for network in self._networks.values())

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.check_tiles(before, after)
        tile = before.shape[-1]
        probability = np.empty((len(before), 1, tile, tile), np.float32)
        dates = [np.ascontiguousarray(date) for date in (before, after)]
        addresses = [date.ctypes.data for date in dates]
        if not self._free.alive:
            raise SessionError("the session is closed.")
        if self._library.schanger_run(self._network(tile), *addresses, len(before), probability.ctypes.data):
            raise SessionError("the native engine failed.")
        check_probability(probability, probability.shape)
        return probability

    def _network(self, tile: int) -> ctypes.c_void_p:
        """What runs tiles of this side."""
        with self._opening:
            if tile not in self._networks:
                widths, values = self._weights
                self._networks[tile] = open_network(self.kernels, widths, tile, self._threads, values)
            return self._networks[tile]

    def close(self) -> None:
        self._free()


def _close_all(library: ctypes.CDLL, networks: dict[int, ctypes.c_void_p]) -> None:
    for network in networks.values():
        library.schanger_close(network)


def _lacking(precision: str, isa: str | None) -> str:
    if precision == BF16 and isa is None:
        return "this CPU has no bfloat16 (AVX-512 BF16): use --device cpu:native."
    return f"this CPU does not run the native engine's kernels for {isa} in {precision}."


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


# The register's entry.


def _findings() -> Findings:
    """The kernels this processor runs; of a library that is not there or does not load, why."""
    try:
        found = kernels()
    except SessionError as error:
        return Findings(missing={"native engine": str(error)})
    return Findings({"native engine": ", ".join(" ".join(one) for one in found)})


ENGINE = Engine(
    "the native engine",
    {
        "cpu:native": lambda model, options: NativeSession(model, options.threads),
        "cpu:native:bf16": lambda model, options: NativeSession(model, options.threads, BF16),
    },
    help="cpu:native[:bf16]",
    auto=Auto.IF_FASTER,
    parity=PARITY,
    installed=lambda: library_path() is not None,
    findings=_findings,
)
