"""A small picture of both dates, gathered from the tiles as they pass, so that nothing is read twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schanger_edge.grid import Grid, Window

SIDE = 1024
THUMBNAIL = "thumbnail.npy"
"""Of a section, in its folder."""


class Thumbnail:
    """Every n-th pixel of a pair.

    Attributes:
        width: columns, at most 1024.
        height: rows, at most 1024.
        before: uint8 RGB (3, height, width); 0 where no tile came.
        after: the same of the second date.
    """

    def __init__(self, grid: Grid) -> None:
        self._step = -(-max(grid.width, grid.height) // SIDE)
        self.width, self.height = -(-grid.width // self._step), -(-grid.height // self._step)
        self.before = np.zeros((3, self.height, self.width), np.uint8)
        self.after = np.zeros_like(self.before)

    def add(self, owned: Window, window: Window, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> None:
        """Take what a tile owns: both dates hold `window`, (3, h, w)."""
        step = self._step
        row, col = -(-owned.row_off // step), -(-owned.col_off // step)
        rows = slice(row * step - window.row_off, owned.row_end - window.row_off, step)
        cols = slice(col * step - window.col_off, owned.col_end - window.col_off, step)
        for target, source in ((self.before, before), (self.after, after)):
            part = source[:, rows, cols]
            target[:, row : row + part.shape[1], col : col + part.shape[2]] = part

    def save(self, path: Path, first: int, end: int) -> None:
        """Write what lies in scene rows `first` to `end` (exclusive), as .npy."""
        rows = self._rows(first, end)
        np.save(path, np.stack((self.before[:, rows], self.after[:, rows])))

    def load(self, path: Path, first: int, end: int) -> None:
        """Take what `save` wrote of the same rows.

        Raises:
            ValueError: the file is damaged or of another scene.
        """
        rows = self._rows(first, end)
        self.before[:, rows], self.after[:, rows] = np.load(path)

    def _rows(self, first: int, end: int) -> slice:
        return slice(-(-first // self._step), -(-end // self._step))
