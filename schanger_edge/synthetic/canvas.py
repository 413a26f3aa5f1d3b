"""A rectangle of pixels over the ground, and polygons drawn on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from schanger_edge.synthetic.noise import Doubles

_BITS = 4


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Pixels of `gsd` metres: (col, row) is the first one; `shift` in pixels moves the picture right and down."""

    col: int
    row: int
    width: int
    height: int
    gsd: float
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def xs(self) -> Doubles:
        """Ground x of the pixels' middles, metres."""
        return np.asarray((np.arange(self.col, self.col + self.width) + 0.5 - self.shift[0]) * self.gsd, np.float64)

    @property
    def ys(self) -> Doubles:
        """Ground y of the pixels' middles, metres, downwards."""
        return np.asarray((np.arange(self.row, self.row + self.height) + 0.5 - self.shift[1]) * self.gsd, np.float64)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in metres."""
        left, top = (self.col - self.shift[0]) * self.gsd, (self.row - self.shift[1]) * self.gsd
        return left, top, left + self.width * self.gsd, top + self.height * self.gsd

    def pixels(self, points: Doubles) -> Doubles:
        """Ground positions as (column, row) on this canvas; whole numbers are pixels' middles."""
        origin = (self.col + 0.5 - self.shift[0], self.row + 0.5 - self.shift[1])
        return np.asarray(points / self.gsd - origin, np.float64)

    def grown(self, left: int, top: int, right: int, bottom: int) -> Canvas:
        """This canvas with more pixels on each side."""
        width, height = self.width + left + right, self.height + top + bottom
        return dataclasses.replace(self, col=self.col - left, row=self.row - top, width=width, height=height)

    def draw(
        self, image: Any, polygons: Sequence[Doubles], colour: Callable[[int], Sequence[float]], finer: int = 1
    ) -> None:
        """Fill polygons in order on an image with `finer` times as many pixels along each side.

        `colour` gives the colour of the polygon with an index; it is asked only for those that touch the image.
        """
        if not polygons:
            return
        ends = np.cumsum([len(polygon) for polygon in polygons])
        starts = np.concatenate([[0], ends[:-1]])
        pixels = (self.pixels(np.concatenate(polygons)) + 0.5) * finer - 0.5
        low, high = np.minimum.reduceat(pixels, starts), np.maximum.reduceat(pixels, starts)
        size = (self.width * finer, self.height * finer)
        visible = ((high > -1) & (low < size)).all(axis=1)
        # Far corners would overflow the fixed-point numbers of cv2.
        limit = float(1 << 24)
        fixed = np.clip(np.rint(pixels * (1 << _BITS)), -limit, limit).astype(np.int32)
        for index in np.flatnonzero(visible).tolist():
            part = fixed[starts[index] : ends[index]]
            cv2.fillPoly(image, [part], colour(index), lineType=cv2.LINE_8, shift=_BITS)
