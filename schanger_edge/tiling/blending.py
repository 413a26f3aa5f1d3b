"""Tiles that overlap are blended, section by section: pure arithmetic on arrays.

First the tiles of a strip pass into each other from left to right, then strips from top to bottom, each time linearly
over `2 * blend` pixels (see `tiling`). So a section needs no more of its neighbours than the edges that they leave.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schanger_edge.tiling.plan import Section, Tile


class Blender:
    """Takes the tiles of a section one after the other and gives the pixels that each of them settles.

    Args:
        section: whose tiles come, in the order of `Section.strips`.
        above: the edge `below` of the section above; None where there is none or none of its tiles was run.
        left: the edge `beside` of the section to the left; None likewise.
    """

    def __init__(self, section: Section, above: NDArray[np.float32] | None, left: NDArray[np.float32] | None) -> None:
        self._section, self._left, self._above = section, left, above
        self._wide = 2 * section.blend
        self._ramp = (np.arange(self._wide, dtype=np.float32) + np.float32(0.5)) / np.float32(max(self._wide, 1))
        self._below = np.zeros((self._wide, section.window.width), np.float32)
        self._beside = np.zeros((len(section.down), section.down[0][1], self._wide), np.float32)
        self._strip = self._column = 0
        self._run = False

    def add(self, tile: Tile, probability: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Probability (h, w) of the pixels that the tile owns.

        Args:
            tile: the next tile of the section.
            probability: (h, w) of its window; None where it was not run: then nothing in its reach is valid.
        """
        self._run = self._run or probability is not None
        if probability is None:
            probability = np.zeros((tile.window.height, tile.window.width), np.float32)
        rows, cols = tile.owned.slices_in(tile.window)
        own = probability[:, cols]
        if self._wide:
            own = self._across(own.copy(), probability[:, cols.stop : cols.stop + self._wide])
            return self._down(own, rows, tile.owned.slices_in(self._section.window)[1])
        return own[rows]

    def edges(self) -> dict[str, NDArray[np.float32]]:
        """What is left to the neighbours when all tiles have come; nothing where none was run, or nothing is blended.

        `below`: (2 * blend, w) of the lowest strip, the rows below those that it owns, w being the section's width.
        `beside`: (strips, T, 2 * blend) of the last tile of each strip, the columns to the right of those it owns.
        """
        return {"below": self._below, "beside": self._beside} if self._wide and self._run else {}

    def _across(self, own: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blend the first of the tile's owned columns (T, w) with the tile to the left; keep those after them."""
        if self._column == len(self._section.across):
            self._strip, self._column = self._strip + 1, 0
            self._above, self._below = self._below, np.zeros_like(self._below)
        before = self._beside if self._column else self._left
        if before is not None:
            own[:, : self._wide] = _pass(before[self._strip], own[:, : self._wide], self._ramp)
        self._beside[self._strip, :, : after.shape[1]] = after
        self._column += 1
        return own

    def _down(self, strip: NDArray[np.float32], rows: slice, at: slice) -> NDArray[np.float32]:
        """Its owned rows (h, w) of `strip`, the first ones blended with the strip above, whose columns are `at`."""
        own, after = strip[rows], strip[rows.stop : rows.stop + self._wide]
        if self._above is not None:
            own[: self._wide] = _pass(self._above[:, at], own[: self._wide], self._ramp[:, None])
        self._below[: len(after), at] = after
        return own


def _pass(first: NDArray[np.float32], second: NDArray[np.float32], ramp: NDArray[np.float32]) -> NDArray[np.float32]:
    """From one to the other along the ramp; where both are equal, exactly that."""
    mixed: NDArray[np.float32] = first + (second - first) * ramp
    return mixed
