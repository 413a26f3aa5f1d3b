"""TensorRT's execution context, and CUDA graphs of the inference in it.

There is one, for it holds the engine's scratch memory for the largest batch, up to gigabytes. Set to another batch size
it loses its graphs, so a size is captured when it comes twice in a row: a remainder costs no capture.
"""

from __future__ import annotations

from typing import Any

from schanger_edge.errors import SessionError
from schanger_edge.model.card import INPUT_NAMES, OUTPUT_NAME
from schanger_edge.sessions.tensorrt.cuda import Cuda
from schanger_edge.sessions.tensorrt.flavour import last_complaint

Addresses = tuple[int, ...]


class Context:
    """Runs batches in the order they come, as CUDA graphs if asked for; a note says where these cannot be made.

    Args:
        context: TensorRT's.
        plan: its name.
        tile: T.
        log: where TensorRT complains, see `flavour.error_log`.
        cuda: the device.
        notes: of the session.
        graphs: whether they are asked for.
    """

    def __init__(
        self, context: Any, plan: str, tile: int, log: Any, cuda: Cuda, notes: list[str], *, graphs: bool
    ) -> None:
        self._context, self._plan, self._tile, self._log = context, plan, tile, log
        self._cuda, self._notes, self._capturing = cuda, notes, graphs
        self._finished = cuda.event()  # after the latest launch of a graph
        self._batch = 0
        self._graphs: dict[Addresses, Any] = {}

    def infer(self, addresses: Addresses, batch: int, stream: Any) -> None:
        """Give a stream, the same for all batches, the inference of one batch of pairs of tiles.

        The addresses are those of before, after and probability on the device. SessionError where TensorRT refuses the
        batch, or fails.
        """
        if batch == self._batch:  # it has run, and TensorRT has made ready what cannot be captured
            graph = self._graph(addresses, stream)
            if graph is not None:
                self._cuda.launch(graph, stream)
                self._cuda.record(self._finished, stream)
                return
        else:
            self._change(batch)
        if not self._execute(addresses, stream):
            raise SessionError(
                f"TensorRT failed on {self._plan}: {last_complaint(self._log)}; try again, or rebuild the plan."
            )
        self._batch = batch

    def close(self) -> None:
        """Give graphs and event back; nothing may be under way."""
        self._cuda.release(*self._graphs.values(), self._finished)

    def _change(self, batch: int) -> None:
        """Another batch size."""
        if self._graphs:
            self._cuda.synchronize(self._finished)
        self._cuda.release(*self._graphs.values())
        self._graphs.clear()
        self._batch = 0
        for name in INPUT_NAMES:
            if not self._context.set_input_shape(name, (batch, 3, self._tile, self._tile)):
                raise SessionError(
                    f"TensorRT rejects a batch of {batch} for {self._plan}: {last_complaint(self._log)}."
                )

    def _graph(self, addresses: Addresses, stream: Any) -> Any:
        """The graph for these addresses, captured where it is not there; None where there can be none."""
        if self._capturing and addresses not in self._graphs:
            graph = self._cuda.capture(stream, lambda: self._execute(addresses, stream))
            self._capturing = graph is not None
            if self._capturing:
                self._graphs[addresses] = graph
            else:
                self._notes.append(
                    "the inference cannot be captured as a CUDA graph here: each batch is launched anew."
                )
        return self._graphs.get(addresses)

    def _execute(self, addresses: Addresses, stream: Any) -> bool:
        for name, address in zip((*INPUT_NAMES, OUTPUT_NAME), addresses, strict=True):
            self._context.set_tensor_address(name, address)
        return bool(self._context.execute_async_v3(self._cuda.stream_number(stream)))
