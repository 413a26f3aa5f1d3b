"""A small picture of both dates, gathered from the tiles as they pass, so that nothing is read twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Grid, Window

SIDE = 2048
THUMBNAIL = "thumbnail.npy"
"""Of a section, in its folder."""

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

    def add(self, window: Window, before: Image, after: Image, valid: NDArray[np.bool_]) -> None:
        """Take a window of both dates: (3, h, w) and where both have data (h, w).

        Squares belong to the window in which they begin; one that goes on beyond it is judged by what the window has.
        """
        step = self.step
        rows, cols = self._part(window)
        if rows.start == rows.stop or cols.start == cols.stop:
            return
        part = (slice(-window.row_off % step, None), slice(-window.col_off % step, None))
        for target, source in ((self.before, before), (self.after, after)):
            for channel in range(3):
                target[channel, rows, cols] = _means(source[channel][part], step)
        self.valid[rows, cols] = _means(valid[part].view(np.uint8) * np.uint8(255), step) >= 128

    def save(self, path: Path, window: Window) -> None:
        """Write what lies in a window of the scene, as .npy."""
        rows, cols = self._part(window)
        np.save(path, np.concatenate([plane[:, rows, cols] for plane in self._planes()]))

    def load(self, path: Path, window: Window) -> None:
        """Take what `save` wrote of the same window."""
        rows, cols = self._part(window)
        stored = np.load(path)
        for plane in self._planes():
            plane[:, rows, cols], stored = stored[: len(plane)], stored[len(plane) :]

    def reduced(self, side: int) -> tuple[Image, Image]:
        """Both dates again, no longer than `side` pixels: (3, h, w)."""
        if max(self.width, self.height) <= side:
            return self.before, self.after
        before, after = (np.stack([fit(channel, side) for channel in date]) for date in (self.before, self.after))
        return before, after

    def _planes(self) -> tuple[Image, Image, Image]:
        return self.before, self.after, self.valid[None].view(np.uint8)

    def _part(self, window: Window) -> tuple[slice, slice]:
        """Rows and columns of this picture whose squares begin in a window of the scene."""
        step = self.step
        return (
            slice(-(-window.row_off // step), -(-window.row_end // step)),
            slice(-(-window.col_off // step), -(-window.col_end // step)),
        )


def fit(picture: Image, side: int, interpolation: int = cv2.INTER_AREA) -> Image:
    """(h, w) or (h, w, 3), shrunk to at most `side` along the longer side."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)


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
