"""Calls of one session, timed: warm-up until stable, and blocks of calls."""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.bench.energy import Meters, used
from schanger_edge.bench.method import BLOCK_SECONDS, WARM_CALLS, WARM_SECONDS, settled
from schanger_edge.geo.grid import Window
from schanger_edge.host.conditions import clocks
from schanger_edge.host.nvml import Nvml
from schanger_edge.sessions import Session
from schanger_edge.synthetic import SyntheticScene

SCENE, SIDE = 36, 512

Tiles = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def tiles_for(tile: int, batch: int) -> Tiles:
    """Both dates of one rendered tile, `batch` times: uint8 (N, 3, T, T)."""
    before, after = _rendered(tile)
    return np.stack([before] * batch), np.stack([after] * batch)


@functools.cache
def _rendered(tile: int) -> Tiles:
    """Uint8 RGB (3, T, T) of both dates."""
    scene, window = SyntheticScene(SCENE, max(SIDE, tile), max(SIDE, tile)), Window(0, 0, tile, tile)
    return scene.render("before", window), scene.render("after", window)


def warm_up(session: Session, tiles: Tiles) -> dict[str, Any]:
    """Call until it takes as long as before: how many calls, and whether it `settled`."""
    times: list[float] = []
    while not settled(times) and len(times) < WARM_CALLS and sum(times) < WARM_SECONDS:
        times.append(_timed(lambda: session.run(*tiles)))
    return {"calls": len(times), "settled": settled(times)}


def block(session: Session, tiles: Tiles, calls: int, core: int, meters: Meters, nvml: Nvml | None) -> dict[str, Any]:
    """One turn of a case.

    Args:
        session: warmed up.
        tiles: one batch.
        calls: at least so many are timed.
        core: side in pixels of what a tile owns.
        meters: of energy.
        nvml: of the GPU the session runs on, if any.

    Returns:
        `latency_ms` of each call, `megapixels` of scene and the `seconds` in which they went through, with all slots
        in use, `joules` meanwhile, and the clocks at the end.
    """
    session.run(*tiles)
    latency: list[float] = []
    began, before = time.perf_counter(), meters.joules()
    while len(latency) < calls or time.perf_counter() - began < BLOCK_SECONDS:
        latency.append(1000 * _timed(lambda: session.run(*tiles)))
    seconds, joules = time.perf_counter() - began, used(before, meters.joules())
    if session.slots > 1:
        before = meters.joules()
        seconds = _pipelined(session, tiles, len(latency))
        joules = used(before, meters.joules())
    megapixels = len(latency) * len(tiles[0]) * core**2 / 1e6
    return {"latency_ms": latency, "megapixels": megapixels, "seconds": seconds, "joules": joules,
            **clocks(nvml=nvml)}  # fmt: skip


def _pipelined(session: Session, tiles: Tiles, calls: int) -> float:
    """Seconds of so many batches, as many under way as the session takes."""
    waiting: deque[Callable[[], object]] = deque()
    began = time.perf_counter()
    for _ in range(calls):
        if len(waiting) == session.slots:
            waiting.popleft()()
        waiting.append(session.submit(*tiles))
    while waiting:
        waiting.popleft()()
    return time.perf_counter() - began


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
