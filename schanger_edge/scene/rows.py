"""A pair read from top to bottom, column by column: every row once, though strips of tiles overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from schanger_edge.geo.grid import Window
from schanger_edge.scene.pair import READ_ROWS, Pair
from schanger_edge.scene.tile import PairTile

READ_PIXELS = 3 << 20  # that are read at once, where this leaves `LEAST_ROWS`
LEAST_ROWS = 64


class RowReader:
    """Reads windows of one width whose rows overlap, keeping what the next one needs.

    Args:
        pair: the pair.
        on_read: called with each part that was read, once for every pixel of a column, before its arrays are used.
    """

    def __init__(self, pair: Pair, on_read: Callable[[Window, PairTile], None] | None = None) -> None:
        self._pair, self._on_read = pair, on_read
        self._window = Window(0, 0, 0, 0)  # what is held
        self._held: PairTile | None = None

    def read(self, window: Window) -> PairTile:
        """Pixels of a window; the arrays are shared with neighbours, so they are not to be written to.

        A window of the same columns that lies lower than the one before costs only its new rows.

        Raises:
            SceneError: a file is damaged.
        """
        same = (window.col_off, window.width) == (self._window.col_off, self._window.width)
        if not same or not self._window.row_off <= window.row_off <= self._window.row_end:
            self._window, self._held = Window(window.col_off, window.row_off, window.width, 0), None
        end, rows = self._window.row_end, _rows_at_once(window.width)
        parts = [] if self._held is None else [_rows(self._held, window.row_off - self._window.row_off, None)]
        while end < window.row_end:
            # at multiples, so that blocks of the usual sizes are met whole
            stop = min((end // rows + 1) * rows, self._pair.grid.height)
            part = Window(window.col_off, end, window.width, stop - end)
            pixels = self._pair.read(part)
            if self._on_read:
                self._on_read(part, pixels)
            parts.append(pixels)
            end = stop
        held = parts[0] if len(parts) == 1 else _joined(parts)
        self._window = Window(window.col_off, window.row_off, window.width, end - window.row_off)
        self._held = held
        return _rows(held, 0, window.height)


def _rows_at_once(columns: int) -> int:
    """`READ_ROWS`, fewer where rows are as wide as a scene in strips: raw values take several times the bytes held."""
    rows = READ_ROWS
    while rows > LEAST_ROWS and rows * columns > READ_PIXELS:
        rows //= 2
    return rows


def _rows(pixels: PairTile, first: int, end: int | None) -> PairTile:
    part = slice(first, end)
    return PairTile(pixels.before[:, part], pixels.after[:, part], pixels.valid[part])


def _joined(parts: list[PairTile]) -> PairTile:
    return PairTile(
        np.concatenate([part.before for part in parts], 1),
        np.concatenate([part.after for part in parts], 1),
        np.concatenate([part.valid for part in parts]),
    )
