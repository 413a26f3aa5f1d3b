"""Stages that overlap: order, errors, and an early end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from schanger_edge.tiling.pipeline import Background, Prefetch


def no_threads_left() -> bool:
    return not [t for t in threading.enumerate() if t.name.startswith(("reader", "writer"))]


def test_prefetch_keeps_the_order_and_stays_bounded() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    with Prefetch(items(), 3) as reader:
        for expected, item in enumerate(reader):
            assert item == expected
            assert len(made) <= expected + 6
    assert len(made) == 50
    assert no_threads_left()


def test_prefetch_raises_in_the_consumer_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    got = []
    with pytest.raises(ValueError, match="torn"), Prefetch(items(), 2) as reader:
        for item in reader:
            got.append(item)
    assert got == [1]
    assert no_threads_left()


def test_prefetch_stops_when_its_consumer_does() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with pytest.raises(KeyboardInterrupt), Prefetch(endless(), 2) as reader:
        for _ in reader:
            raise KeyboardInterrupt
    assert closed.is_set()
    assert no_threads_left()


def test_background_does_everything_in_order() -> None:
    done: list[int] = []
    with Background(done.append, 2) as writer:
        for i in range(100):
            writer.put(i)
    assert done == list(range(100))
    assert no_threads_left()


@pytest.mark.parametrize("bad", [0, 5, 9])
def test_background_raises_in_the_producer(bad: int) -> None:
    def work(i: int) -> None:
        if i == bad:
            raise OSError("full")

    with pytest.raises(OSError, match="full"), Background(work, 1) as writer:
        for i in range(10):
            writer.put(i)
    assert no_threads_left()


def test_background_drops_what_waits_after_an_error_elsewhere() -> None:
    done: list[int] = []
    with pytest.raises(KeyError), Background(done.append, 50) as writer:
        writer.put(1)
        raise KeyError
    assert len(done) <= 1
    assert no_threads_left()
