"""Histogram matching: the after image's levels replaced so that each channel is distributed as the before image's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window
from schanger_edge.scene.sampling import sample
from schanger_edge.scene.tile import PairTile

KNOTS = (0, 32, 64, 96, 128, 160, 192, 224, 255)
"""Levels whose mapping the summary lists."""


@dataclasses.dataclass(frozen=True)
class Matching:
    """One lookup for a whole scene.

    Attributes:
        table: (3, 256) uint8, the new value of each level per channel; monotonic.
        pixels: valid in both dates, from which it was taken.
    """

    table: NDArray[np.uint8]
    pixels: int

    @classmethod
    def sampled(cls, whole: Window, read: Callable[[Window], PairTile]) -> Matching | None:
        """From windows spread over a pair; None where no pixel has data in both dates."""
        before, after = np.zeros((3, 256), np.int64), np.zeros((3, 256), np.int64)

        def take(window: Window) -> int:
            tile = read(window)
            for counts, image in ((before, tile.before), (after, tile.after)):
                for channel in range(3):
                    counts[channel] += np.bincount(image[channel][tile.valid], minlength=256)
            return int(np.count_nonzero(tile.valid))

        sample(whole, take)
        pixels = int(before[0].sum())
        if not pixels:
            return None
        return cls(np.stack([_lookup(*counts) for counts in zip(before, after, strict=True)]), pixels)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(3, h, w) -> the same shape, in place."""
        for channel, table in zip(image, self.table, strict=True):
            np.take(table, channel, out=channel, mode="clip")  # any other mode buffers
        return image

    def summary(self) -> dict[str, Any]:
        """The mapping of some levels, per channel."""
        return {"pixels": self.pixels, "levels": KNOTS, "become": self.table[:, KNOTS].tolist()}


def _lookup(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(256,) from the counts of each level: a level goes where the before image has the same rank."""
    levels = np.flatnonzero(before)
    become = np.interp(_ranks(after), _ranks(before)[levels], levels)
    return np.rint(become).astype(np.uint8)


def _ranks(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of pixels below each level, those of the level itself counted half."""
    ranks: NDArray[np.float64] = (np.cumsum(counts) - counts / 2) / counts.sum()
    return ranks
