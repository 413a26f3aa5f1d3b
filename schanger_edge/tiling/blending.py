"""Blending of overlapping tiles, section by section: pure arithmetic on arrays.

Tiles are blended linearly over `2 * blend` pixels (see `plan`), first along each strip from left to right, then from
strip to strip from top to bottom. So a section needs only the bottom edge of the section above and the right edge of
the one to the left. If the receptive field is within half the halo, tiled and single-pass outputs are identical.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schanger_edge.tiling.plan import Section, Tile


class Blender:
    """Takes the tiles of a section one by one and returns the pixels finalized by each.

    Args:
        section: its tiles come in the order of `Section.strips`.
        above: the edge `bottom` of the section above; None if there is no such section or none of its tiles was run.
        left: the edge `right` of the section to the left; None likewise.
    """

    def __init__(self, section: Section, above: NDArray[np.float32] | None, left: NDArray[np.float32] | None) -> None:
        self._section, self._left, self._above = section, left, above
        self._wide = 2 * section.blend
        self._ramp = (np.arange(self._wide, dtype=np.float32) + np.float32(0.5)) / np.float32(max(self._wide, 1))
        self._bottom = np.zeros((self._wide, section.window.width), np.float32)
        self._right = np.zeros((len(section.down), section.down[0][1], self._wide), np.float32)
        self._strip = self._column = 0
        self._run = False

    def add(self, tile: Tile, probability: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Probability (h, w) of the pixels that the tile owns.

        Args:
            tile: the next tile of the section.
            probability: (h, w) of its window; None if it was not run, since no pixel of its reach is valid.
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
        """What the neighbours need once all tiles have come; empty if no tile was run or nothing is blended.

        `bottom`: (2 * blend, w), the rows of the lowest strip that follow those it owns; w is the section's width.
        `right`: (strips, T, 2 * blend), the columns of each strip's last tile that follow those it owns.
        """
        return {"bottom": self._bottom, "right": self._right} if self._wide and self._run else {}

    def _across(self, own: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blend the first of the owned columns (T, w) with the tile to the left, and keep the columns after them."""
        if self._column == len(self._section.across):
            self._strip, self._column = self._strip + 1, 0
            self._above, self._bottom = self._bottom, np.zeros_like(self._bottom)
        before = self._right if self._column else self._left
        if before is not None:
            own[:, : self._wide] = _pass(before[self._strip], own[:, : self._wide], self._ramp)
        self._right[self._strip, :, : after.shape[1]] = after
        self._column += 1
        return own

    def _down(self, strip: NDArray[np.float32], rows: slice, at: slice) -> NDArray[np.float32]:
        """The owned rows (h, w) of `strip`, the first ones blended with the columns `at` of the strip above."""
        own, after = strip[rows], strip[rows.stop : rows.stop + self._wide]
        if self._above is not None:
            own[: self._wide] = _pass(self._above[:, at], own[: self._wide], self._ramp[:, None])
        self._bottom[: len(after), at] = after
        return own


def _pass(first: NDArray[np.float32], second: NDArray[np.float32], ramp: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate along the ramp; where both are equal the result is exactly the same value."""
    mixed: NDArray[np.float32] = first + (second - first) * ramp
    return mixed
