"""Stages that overlap in time: threads joined by bounded queues, errors carried to the one who waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
_END = object()
POLL_SECONDS = 0.1


class Prefetch(Generic[T]):
    """Runs an iterable in a thread of its own, at most `depth` items ahead.

    Attributes:
        busy: seconds the iterable has worked, without waiting for its consumer.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items, self._queue, self._stop = items, queue.Queue[object](depth), threading.Event()
        self._thread = threading.Thread(target=self._work, name="reader", daemon=True)
        self._error: BaseException | None = None
        self.busy = 0.0

    def __enter__(self) -> Prefetch[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while (item := self._queue.get()) is not _END:
            yield item  # type: ignore[misc]
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        began = time.perf_counter()
        items = iter(self._items)
        try:
            for item in items:
                self.busy += time.perf_counter() - began
                if not _put(self._queue, item, self._stop):
                    return
                began = time.perf_counter()
        except BaseException as error:  # carried to the consumer, which raises it
            self._error = error
        finally:
            if isinstance(items, Generator):
                items.close()  # here, not in the thread that drops it: GDAL's environment belongs to this one
        self.busy += time.perf_counter() - began
        _put(self._queue, _END, self._stop)


class Background(Generic[T]):
    """Hands items to a function in a thread of its own, at most `depth` items waiting.

    Attributes:
        busy: seconds the function has worked.
    """

    def __init__(self, function: Callable[[T], None], depth: int) -> None:
        self._function, self._queue, self._stop = function, queue.Queue[object](depth), threading.Event()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._error: BaseException | None = None
        self.busy = 0.0

    def __enter__(self) -> Background[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until everything is done and raise what went wrong; after an error drop what waits."""
        if kind is None:
            _put(self._queue, _END, self._stop)
        else:
            self._stop.set()
        try:
            self._thread.join()
        except BaseException:  # Ctrl-C while it waits
            self._stop.set()
            self._thread.join()
            raise
        if kind is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Hand over one item.

        Raises:
            Exception: what the function raised on an earlier item.
        """
        if not _put(self._queue, item, self._stop) and self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if item is _END:
                return
            began = time.perf_counter()
            try:
                self._function(item)  # type: ignore[arg-type]
            except BaseException as error:  # carried to the producer, which raises it
                self._error = error
                self._stop.set()
            self.busy += time.perf_counter() - began


def _put(target: queue.Queue[object], item: object, stop: threading.Event) -> bool:
    """Put unless stopped; False where stopped."""
    while not stop.is_set():
        try:
            target.put(item, timeout=POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
