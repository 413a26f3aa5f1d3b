"""A small picture of both dates, gathered from the tiles as they pass, so that nothing is read twice."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.grid import Grid, Window

SIDE = 2048

Image = NDArray[np.uint8]


class Thumbnail:
    """A pair shrunk by a whole number: each pixel is the mean of the square of scene pixels under it.

    Attributes:
        step: scene pixels along the side of that square.
        width: columns, at most 2048.
        height: rows, at most 2048.
        before: uint8 RGB (3, height, width); 0 where no tile came.
        after: the same of the second date.
        valid: (height, width), True where half of the square or more has data in both dates.
    """

    def __init__(self, grid: Grid) -> None:
        self.step = -(-max(grid.width, grid.height) // SIDE)
        self.width, self.height = -(-grid.width // self.step), -(-grid.height // self.step)
        self.before = np.zeros((3, self.height, self.width), np.uint8)
        self.after = np.zeros_like(self.before)
        self.valid = np.zeros((self.height, self.width), np.bool_)

    def add(self, owned: Window, window: Window, before: Image, after: Image, valid: NDArray[np.bool_]) -> None:
        """Take the squares whose first pixel a tile owns: the arrays hold `window`, (3, h, w) and (h, w).

        A square that goes on beyond the window is judged by what the window has of it.
        """
        step = self.step
        rows = slice(-(-owned.row_off // step), -(-owned.row_end // step))
        cols = slice(-(-owned.col_off // step), -(-owned.col_end // step))
        if rows.start == rows.stop or cols.start == cols.stop:
            return
        part = (
            slice(rows.start * step - window.row_off, rows.stop * step - window.row_off),
            slice(cols.start * step - window.col_off, cols.stop * step - window.col_off),
        )
        for target, source in ((self.before, before), (self.after, after)):
            for channel in range(3):
                target[channel, rows, cols] = _means(source[channel][part], step)
        self.valid[rows, cols] = _means(valid[part].view(np.uint8) * np.uint8(255), step) >= 128

    def reduced(self, side: int) -> tuple[Image, Image]:
        """Both dates again, no longer than `side` pixels: (3, h, w)."""
        scale = side / max(self.width, self.height)
        if scale >= 1:
            return self.before, self.after
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        before, after = (
            np.stack([cv2.resize(channel, size, interpolation=cv2.INTER_AREA) for channel in date])
            for date in (self.before, self.after)
        )
        return before.astype(np.uint8), after.astype(np.uint8)


def _means(plane: Image, step: int) -> Image:
    """Means of the squares of (h, w); where the last ones are cut, the edge stands for what is missing."""
    if step == 1:
        return plane
    height, width = plane.shape
    bottom, right = -height % step, -width % step
    if bottom or right:
        plane = cv2.copyMakeBorder(plane, 0, bottom, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    size = (plane.shape[1] // step, plane.shape[0] // step)
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
