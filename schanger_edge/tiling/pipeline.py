"""Stages that overlap in time: each in its own thread, at most so far ahead, errors carried to the one who waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
_END = object()


class Prefetch(Generic[T]):
    """Runs an iterable in a thread of its own, at most `depth` items ahead; to be gone through once.

    Attributes:
        busy: seconds the iterable has worked, without waiting for its consumer.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items, self._depth = iter(items), depth
        self._pool, self._ahead = ThreadPoolExecutor(1, "reader"), deque[Future[object]]()
        self.busy = 0.0

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._ahead:
            one.cancel()
        if isinstance(self._items, Generator):
            self._pool.submit(self._items.close)  # in its own thread, to which GDAL's environment belongs
        self._pool.shutdown()

    def __iter__(self) -> Iterator[T]:
        self._ahead.extend(self._pool.submit(self._next) for _ in range(self._depth + 1))
        while (item := self._ahead.popleft().result()) is not _END:
            self._ahead.append(self._pool.submit(self._next))
            yield item  # type: ignore[misc]

    def _next(self) -> object:
        began = time.perf_counter()
        try:
            return next(self._items, _END)
        finally:
            self.busy += time.perf_counter() - began


class Background(Generic[T]):
    """Hands items to a function in a thread of its own, at most `depth` items waiting.

    Attributes:
        busy: seconds the function has worked.
    """

    def __init__(self, function: Callable[[T], None], depth: int) -> None:
        self._function, self._depth, self._stopped = function, depth, False
        self._pool, self._given = ThreadPoolExecutor(1, "writer"), deque[Future[None]]()
        self.busy = 0.0

    def __enter__(self) -> Background[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until everything is done and raise what went wrong; after an error drop what waits."""
        try:
            while kind is None and self._given:
                self._given.popleft().result()
        finally:
            self._stopped = True
            self._pool.shutdown()

    def put(self, item: T) -> None:
        """Hand over one item.

        Raises:
            Exception: what the function raised on an earlier item.
        """
        while self._given and (len(self._given) > self._depth or self._given[0].done()):
            self._given.popleft().result()
        self._given.append(self._pool.submit(self._work, item))

    def _work(self, item: T) -> None:
        if self._stopped:
            return
        began = time.perf_counter()
        try:
            self._function(item)
        except BaseException:
            self._stopped = True
            raise
        finally:
            self.busy += time.perf_counter() - began
