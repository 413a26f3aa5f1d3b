"""How times are taken, in words, arithmetic and calls: warm-up until stable, rounds over all cases, medians."""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from schanger_edge.bench.energy import Meters
from schanger_edge.geo.grid import Window
from schanger_edge.host.conditions import clocks
from schanger_edge.sessions import Session
from schanger_edge.synthetic import SyntheticScene

ROUNDS = 5
REPETITIONS = 100
"""Timed calls of a case, over all rounds; the fewest that give a 99th percentile."""
BLOCK_SECONDS = 1.0
"""A block lasts at least so long, so that sensors of clocks and power see even a fast device at work."""
PAIR_RUNS = 3
WINDOW, SETTLED, WARM_CALLS, WARM_SECONDS = 3, 0.05, 20, 30.0
PERCENTILES = (50, 95, 99)
SCENE, SIDE = 36, 512

Tiles = tuple[NDArray[np.uint8], NDArray[np.uint8]]

METHOD = tuple(
    (Path(__file__).parent / "templates" / "method.txt")
    .read_text(encoding="utf-8")
    .format(window=WINDOW, settled=SETTLED, calls=WARM_CALLS, seconds=WARM_SECONDS, rounds=ROUNDS, block=BLOCK_SECONDS)
    .splitlines()
)
"""What stands in every result."""

_Case = TypeVar("_Case")


def order(cases: Sequence[_Case], number: int) -> list[_Case]:
    """The cases in the order of one round: each round starts at another case, every other one runs backwards."""
    start, step = number * len(cases) // ROUNDS, -1 if number % 2 else 1
    return [cases[(start + step * k) % len(cases)] for k in range(len(cases))]


def settled(times: Sequence[float]) -> bool:
    """Whether the latest calls take as long as those before them."""
    if len(times) < 2 * WINDOW:
        return False
    now, before = statistics.median(times[-WINDOW:]), statistics.median(times[-2 * WINDOW : -WINDOW])
    return abs(now - before) < SETTLED * before


def percentile(times: Sequence[float], percent: int) -> float | None:
    """By nearest rank; None where there are too few values for it."""
    if len(times) * (100 - percent) < 100 and percent > 50:
        return None
    return sorted(times)[max(0, math.ceil(len(times) * percent / 100) - 1)]


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Median, range and number of values; None of none."""
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}


def tiles_for(tile: int, batch_size: int) -> Tiles:
    """Both dates of one rendered tile, `batch_size` times: uint8 (N, 3, T, T)."""
    before, after = _rendered(tile)
    return np.stack([before] * batch_size), np.stack([after] * batch_size)


@functools.cache
def _rendered(tile: int) -> Tiles:
    """Uint8 RGB (3, T, T) of both dates."""
    scene, window = SyntheticScene(SCENE, max(SIDE, tile), max(SIDE, tile)), Window(0, 0, tile, tile)
    return scene.render("before", window), scene.render("after", window)


def warm_up(session: Session, tiles: Tiles) -> dict[str, Any]:
    """Call until it takes as long as before: how many calls, and whether it `settled`."""
    times: list[float] = []
    while not settled(times) and len(times) < WARM_CALLS and sum(times) < WARM_SECONDS:
        times.append(timed(lambda: session.run(*tiles)))
    return {"calls": len(times), "settled": settled(times)}


def block(session: Session, tiles: Tiles, calls: int, core: int, meters: Meters) -> dict[str, Any]:
    """One turn of a case.

    Args:
        session: warmed up.
        tiles: one batch.
        calls: at least so many are timed.
        core: side in pixels of a tile without its halo.
        meters: of the device it runs on.

    Returns:
        `latency_ms` of each call, `megapixels` of scene and the `seconds` in which they went through, with all slots
        in use, `joules` meanwhile, and the clocks at the end.
    """
    session.run(*tiles)
    latency: list[float] = []
    began, spent = time.perf_counter(), meters.start()
    while len(latency) < calls or time.perf_counter() - began < BLOCK_SECONDS:
        latency.append(1000 * timed(lambda: session.run(*tiles)))
    seconds, joules = time.perf_counter() - began, spent()
    if session.slots > 1:
        spent = meters.start()
        seconds, joules = _pipelined(session, tiles, len(latency)), spent()
    megapixels = len(latency) * len(tiles[0]) * core**2 / 1e6
    found = {"latency_ms": latency, "megapixels": megapixels, "seconds": seconds, "joules": joules}
    return found | clocks(nvml=meters.nvml)


def _pipelined(session: Session, tiles: Tiles, calls: int) -> float:
    """Seconds that so many batches take, with as many under way as the session allows."""
    waiting: deque[Callable[[], object]] = deque()
    began = time.perf_counter()
    for _ in range(calls):
        if len(waiting) == session.slots:
            waiting.popleft()()
        waiting.append(session.submit(*tiles))
    for wait in waiting:
        wait()
    return time.perf_counter() - began


def timed(call: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
