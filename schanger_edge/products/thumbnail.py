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

    def add(self, window: Window, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> None:
        """Take a window of both dates, (3, h, w)."""
        step = self._step
        top, left = -window.row_off % step, -window.col_off % step
        rows, cols = self._part(window)
        self.before[:, rows, cols] = before[:, top::step, left::step]
        self.after[:, rows, cols] = after[:, top::step, left::step]

    def save(self, path: Path, window: Window) -> None:
        """Write what lies in a window of the scene, as .npy."""
        rows, cols = self._part(window)
        np.save(path, np.stack((self.before[:, rows, cols], self.after[:, rows, cols])))

    def load(self, path: Path, window: Window) -> None:
        """Take what `save` wrote of the same window."""
        rows, cols = self._part(window)
        self.before[:, rows, cols], self.after[:, rows, cols] = np.load(path)

    def _part(self, window: Window) -> tuple[slice, slice]:
        """Rows and columns of this picture that lie in a window of the scene."""
        step = self._step
        return (
            slice(-(-window.row_off // step), -(-window.row_end // step)),
            slice(-(-window.col_off // step), -(-window.col_end // step)),
        )
