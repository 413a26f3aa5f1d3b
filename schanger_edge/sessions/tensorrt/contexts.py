"""TensorRT's execution contexts by batch size, and CUDA graphs of the inference in them.

A graph depends on what its context holds for the shapes it was captured at; set to other shapes, the context has to be
captured anew. So a batch size that comes again gets a context of its own, and keeps its graphs whatever comes between.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from schanger_edge.errors import SessionError
from schanger_edge.model.card import INPUT_NAMES, OUTPUT_NAME
from schanger_edge.sessions.tensorrt.cuda import Cuda
from schanger_edge.sessions.tensorrt.flavour import last_complaint

MOST_CONTEXTS = 4  # each holds memory for the largest batch
PROFILE_SHARED_SINCE = (10, 0)  # before, a shape profile was the one context's that came first

Addresses = tuple[int, ...]


@dataclasses.dataclass(eq=False)
class Sized:
    """A context set to one batch size.

    Attributes:
        context: TensorRT's.
        finished: event after the latest launch of a graph.
        batch: pairs of tiles; 0 before the first.
        warm: it has run at that size, so that it can be captured.
        graphs: by the addresses they work on.
    """

    context: Any
    finished: Any
    batch: int = 0
    warm: bool = False
    graphs: dict[Addresses, Any] = dataclasses.field(default_factory=dict)


class Loaded(NamedTuple):
    """An engine of TensorRT's, the name of its plan, T, and where TensorRT complains (see `flavour.error_log`)."""

    engine: Any
    plan: str
    tile: int
    log: Any


class Contexts:
    """Runs batches in the order they come.

    Args:
        loaded: the engine.
        first: a context of it.
        cuda: the device.
        notes: gets a sentence where graphs cannot be made.
        graphs: make CUDA graphs.
        most: contexts there may be.
    """

    def __init__(self, loaded: Loaded, first: Any, cuda: Cuda, notes: list[str], *, graphs: bool, most: int) -> None:
        self._engine, self._plan, self._tile, self._log = loaded
        self._cuda, self._notes, self._graphs, self._most = cuda, notes, graphs, most
        self._contexts = [Sized(first, cuda.event())]  # the latest used last
        self._seen: set[int] = set()

    def infer(self, addresses: Addresses, batch: int, stream: Any) -> None:
        """Give a stream the inference of one batch.

        Args:
            addresses: of before, after and probability on the device.
            batch: pairs of tiles.
            stream: the same for all batches.

        Raises:
            SessionError: TensorRT refuses the batch, or fails.
        """
        again = batch in self._seen
        self._seen.add(batch)
        sized = self._set_to(batch, again)
        graph = self._graph(sized, addresses, stream) if sized.warm else None
        if graph is not None:
            self._cuda.launch(graph, stream)
            self._cuda.record(sized.finished, stream)
            return
        if not self._execute(sized, addresses, stream):
            raise SessionError(
                f"TensorRT failed on {self._plan}: {last_complaint(self._log)}; try again, or rebuild the plan."
            )
        sized.warm = True  # TensorRT has made ready what cannot be captured
        if again:
            self._graph(sized, addresses, stream)

    def close(self) -> None:
        """Give graphs and events back; nothing may be under way."""
        for sized in self._contexts:
            self._cuda.release(*sized.graphs.values(), sized.finished)

    def _set_to(self, batch: int, again: bool) -> Sized:
        """The context for a batch size; the first time it takes the place of the size that was longest unused."""
        found = next((sized for sized in self._contexts if sized.batch == batch), None)
        if found is None:
            found = (self._another() if again else None) or self._contexts[0]
            self._change(found, batch)
        self._contexts.remove(found)
        self._contexts.append(found)
        return found

    def _another(self) -> Sized | None:
        """One more context, if it is allowed and there is room."""
        if len(self._contexts) >= self._most:
            return None
        context = self._engine.create_execution_context()
        if context is None:
            self._most = len(self._contexts)
            return None
        self._contexts.append(Sized(context, self._cuda.event()))
        return self._contexts[-1]

    def _change(self, sized: Sized, batch: int) -> None:
        """Another batch size."""
        if sized.graphs:
            self._cuda.synchronize(sized.finished)
        self._cuda.release(*sized.graphs.values())
        sized.graphs.clear()
        sized.batch, sized.warm = 0, False
        for name in INPUT_NAMES:
            if not sized.context.set_input_shape(name, (batch, 3, self._tile, self._tile)):
                raise SessionError(
                    f"TensorRT rejects a batch of {batch} for {self._plan}: {last_complaint(self._log)}."
                )
        sized.batch = batch

    def _graph(self, sized: Sized, addresses: Addresses, stream: Any) -> Any:
        """The graph for these addresses, captured where it is not there; None where there can be none."""
        if self._graphs and addresses not in sized.graphs:
            graph = self._cuda.capture(stream, lambda: self._execute(sized, addresses, stream))
            self._graphs = graph is not None
            if self._graphs:
                sized.graphs[addresses] = graph
            else:
                self._notes.append(
                    "the inference cannot be captured as a CUDA graph here: each batch is launched anew."
                )
        return sized.graphs.get(addresses)

    def _execute(self, sized: Sized, addresses: Addresses, stream: Any) -> bool:
        for name, address in zip((*INPUT_NAMES, OUTPUT_NAME), addresses, strict=True):
            sized.context.set_tensor_address(name, address)
        return bool(sized.context.execute_async_v3(self._cuda.stream_number(stream)))
