"""Which windows of a large scene are sampled for its statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from schanger_edge.geo.grid import Window

LATTICE, LATTICE_SIDE = 12, 64  # windows along each axis, and their side in pixels
SEARCH_SIDE = 512  # of the windows that are gone through where the lattice meets nearly no data
LEAST, ENOUGH = 1_000, 20_000  # valid pixels: fewer on the lattice, and more are searched for


def sample(whole: Window, take: Callable[[Window], int]) -> None:
    """Take windows spread over a scene; if they hold almost no valid pixel, all windows until there are enough.

    Args:
        whole: the scene.
        take: called with each window; returns how many valid pixels it holds.
    """
    found = sum(take(window) for window in lattice(whole))
    if found >= LEAST:
        return
    for window in whole.squares(SEARCH_SIDE):
        found += take(window)
        if found >= ENOUGH:
            return


def lattice(whole: Window) -> Iterator[Window]:
    """Small windows spread evenly over a scene, row by row."""
    side_x, side_y = min(LATTICE_SIDE, whole.width), min(LATTICE_SIDE, whole.height)
    for row in _spread(whole.height - side_y):
        for col in _spread(whole.width - side_x):
            yield Window(col, row, side_x, side_y)


def _spread(last: int) -> list[int]:
    return [int(first) for first in np.unique(np.linspace(0, last, LATTICE).astype(int))]
