"""Parity: a model file, run by a session, gives the probabilities it was made from.

The only module of the factory that opens sessions. It needs no torch, so that conversions can use it too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schanger_edge.sessions import open_session

BATCHES = (1, 3)
"""A batch of one, and one that is neither one nor even: constants baked in for the batch show there."""

Tiles = NDArray[np.uint8]
Reference = Callable[[Tiles, Tiles], NDArray[np.float32]]
"""Tiles of both dates, uint8 (N, 3, T, T) -> probability (N, 1, T, T); a session's `run` is one."""


def largest_difference(reference: Reference, model: Path, tiles: tuple[Tiles, Tiles]) -> float:
    """The largest absolute difference in probability between a reference and a model file.

    Args:
        reference: what the model must equal; called with one pair of tiles at a time.
        model: an .onnx file, opened on the CPU and run in batches of 1 and 3.
        tiles: both dates, twice (N, 3, T, T) uint8.

    Returns:
        A probability, 0-1; NaN where a value of either side is.

    Raises:
        ModelError: the model cannot be opened.
        SessionError: it fails, or returns values that are no probabilities.
    """
    before, after = tiles
    wanted = np.concatenate([reference(before[i : i + 1], after[i : i + 1]) for i in range(len(before))])
    largest = 0.0
    with open_session(model) as session:
        for batch in BATCHES:
            starts = range(0, len(before), batch)
            parts = [session.run(before[i : i + batch], after[i : i + batch]) for i in starts]
            largest = max(largest, float(np.abs(np.concatenate(parts) - wanted).max()), key=_nan_first)
    return largest


def image_like_tiles(count: int, tile: int, seed: int = 36) -> tuple[Tiles, Tiles]:
    """Pairs of tiles with what images have and noise lacks: smooth colour, sharp edges, a little noise.

    Roofs (rectangles) appear and vanish between the dates; light and colour differ as they do between seasons.

    Returns:
        before and after, each (count, 3, tile, tile) uint8; the same on every machine for one seed.
    """
    rng = np.random.default_rng(seed)
    pairs = [_pair(rng, tile) for _ in range(count)]
    before, after = (np.stack(date) for date in zip(*pairs, strict=True))
    return before, after


def _pair(rng: np.random.Generator, tile: int) -> tuple[Tiles, Tiles]:
    ground = _smooth(rng, tile) * 90 + rng.uniform(60, 140, (3, 1, 1))
    before, after = ground.copy(), ground * rng.uniform(0.7, 1.2) + rng.uniform(-20, 20, (3, 1, 1))
    for _ in range(12):
        row, col = rng.integers(0, tile - 4, 2)
        height, width = rng.integers(4, max(tile // 4, 5), 2)
        roof, fate = rng.uniform(30, 240, (3, 1, 1)), rng.integers(3)
        for date, present in ((before, fate != 0), (after, fate != 1)):  # appeared, vanished or unchanged
            if present:
                date[:, row : row + height, col : col + width] = roof
    noisy = (date + rng.normal(0, 4, date.shape) for date in (before, after))
    first, second = (np.clip(np.rint(date), 0, 255).astype(np.uint8) for date in noisy)
    return first, second


def _smooth(rng: np.random.Generator, tile: int) -> NDArray[np.float64]:
    """A sum of long waves, about -1 to 1, (3, tile, tile)."""
    position = np.arange(tile) / tile
    field = np.zeros((3, tile, tile))
    for _ in range(6):
        rows, cols = rng.uniform(-3, 3, 2)  # waves across the tile
        phase = rng.uniform(0, 2 * np.pi, (3, 1, 1))
        field += np.cos(2 * np.pi * (rows * position[:, None] + cols * position[None, :]) + phase)
    return field / 4


def _nan_first(value: float) -> float:
    return np.inf if np.isnan(value) else value
