"""How far the two dates of a pair lie apart: matched in windows all over the area looked at, then put together.

An offset is (columns, rows) in pixels of the common grid by which the after image must be moved to lie on the before
image: positive columns to the right, positive rows down. A thing at pixel p of the after image is at p + offset in
the before image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Grid, Window
from schanger_edge.registration.consensus import Consensus, LocalOffset, Offset, agree
from schanger_edge.registration.correlation import Spectrum, cross_spectrum, peak
from schanger_edge.scene.pair import Pair

SMALLEST, LARGEST = 64, 192  # pixels along a window: less has too few edges to match, more hides local offsets
LATTICE = 8  # windows along each axis at most: 64 suffice for a scene of any size, in about a second
LEAST = LARGEST * (LATTICE + 1) // 2  # pixels along a side that holds so many: what a smaller area is widened to
RADIUS = 16  # pixels searched around the coarse offset: what relief adds at most in images worth comparing
COARSE_SIDE, COARSE_LATTICE, REDUCTION = 512, 4, 2  # windows of the coarse search, read at half the detail
COARSE_RADIUS = 128  # pixels: a quarter of a coarse window, so that over half of it is in common
DISTINCT = 4.5  # standard deviations; windows of unrelated images reach 4.4 in one of a hundred (measured)
COARSE_DISTINCT = 6.0  # the same of all windows together, in a search of more places


@dataclasses.dataclass(frozen=True)
class Registration:
    """What is known of the offset between the dates.

    Attributes:
        grid: the common grid.
        area: window of it in which the offset was looked for.
        consensus: the common motion; None where it is not known.
        matched: windows that match distinctly; in the order of `consensus.agrees`.
        tried: windows with enough data in both dates.
    """

    grid: Grid
    area: Window
    consensus: Consensus | None
    matched: tuple[LocalOffset, ...]
    tried: int

    @property
    def offset(self) -> Offset | None:
        """At the centre of the area; None where it is not known."""
        area = self.area
        centre = area.col_off + area.width / 2, area.row_off + area.height / 2
        return None if self.consensus is None else self.offset_at(*centre)

    def offset_at(self, col: float, row: float) -> Offset:
        """The common motion at a place of the before image; (0, 0) where it is not known."""
        if self.consensus is None:
            return 0.0, 0.0
        source = ~self.consensus.motion @ (col, row)
        return float(col - source[0]), float(row - source[1])

    @property
    def largest(self) -> float:
        """Pixels by which the common motion moves the area's corner that it moves farthest; 0 where it is not known."""
        area = self.area
        corners = [(col, row) for col in (area.col_off, area.col_end) for row in (area.row_off, area.row_end)]
        return max(math.hypot(*self.offset_at(*corner)) for corner in corners)

    @property
    def agreeing(self) -> int:
        """Windows that agree with the common motion."""
        return 0 if self.consensus is None else sum(self.consensus.agrees)

    def astray(self, limit: float) -> list[tuple[float, LocalOffset]]:
        """Matched windows more than `limit` pixels from the common motion, with that distance, the worst first."""
        found = [(self._distance(window), window) for window in self.matched]
        return sorted((item for item in found if item[0] > limit), key=lambda item: -item[0])

    def _distance(self, window: LocalOffset) -> float:
        common = self.offset_at(window.col, window.row)
        return math.dist(window.offset, common)


def estimate_offset(pair: Pair) -> Registration:
    """Estimate the offset between the dates as the pair shows them now.

    A coarse search finds offsets of up to `COARSE_RADIUS` pixels, then windows all over the scene, or about the area
    of interest, are matched to a fraction of a pixel. Reads some 7 megapixels of each date, as many again where the
    coarse offset misleads; of a small area of interest less than one. What is held is one window.

    Raises:
        SceneError: a file is damaged.
    """
    area = _widened(pair.area, pair.grid)
    best = Registration(pair.grid, area, None, (), 0)
    with pair.environment(COARSE_SIDE):
        for start in dict.fromkeys((_coarse_offset(pair, area), (0, 0))):
            tried, matched = _match(pair, area, start)
            consensus = agree(matched, (area.width, area.height), RADIUS)
            result = Registration(pair.grid, area, consensus, tuple(matched), tried)
            if consensus is not None:
                return result
            if len(result.matched) >= len(best.matched):
                best = result
    return best


def _widened(area: Window, grid: Grid) -> Window:
    """At least `LEAST` pixels along each side, as far as the grid has them."""
    col, width = _widened_side(area.col_off, area.width, grid.width)
    row, height = _widened_side(area.row_off, area.height, grid.height)
    return Window(col, row, width, height)


def _widened_side(start: int, length: int, whole: int) -> tuple[int, int]:
    wider = min(max(length, LEAST), whole)
    return min(max(start - (wider - length) // 2, 0), whole - wider), wider


def _match(pair: Pair, area: Window, start: tuple[int, int]) -> tuple[int, list[LocalOffset]]:
    """How many windows were tried, and those that match distinctly."""
    tried, matched = 0, []
    side = int(np.clip(min(area.width, area.height) // 3, SMALLEST, LARGEST))
    for window in _windows(area, side, LATTICE):
        spectrum = _read_spectrum(pair, window, start)
        if spectrum is None:
            continue
        tried += 1
        (cols, rows), distinctness = peak(spectrum, RADIUS)
        if distinctness >= DISTINCT:
            col, row = window.col_off + side / 2, window.row_off + side / 2
            matched.append(LocalOffset(col, row, (start[0] + cols, start[1] + rows), distinctness))
    return tried, matched


def _coarse_offset(pair: Pair, area: Window) -> tuple[int, int]:
    """To a few whole pixels, from the correlations of large windows added up; (0, 0) where nothing stands out."""
    side = min(COARSE_SIDE, area.width, area.height) // REDUCTION * REDUCTION
    if side < SMALLEST:
        return 0, 0
    total = np.zeros((side // REDUCTION,) * 2, np.complex128)
    for window in _windows(area, side, COARSE_LATTICE):
        spectrum = _read_spectrum(pair, window, (0, 0), REDUCTION)
        if spectrum is not None:
            total += spectrum
    (cols, rows), distinctness = peak(total, min(COARSE_RADIUS, side // 4) // REDUCTION)
    return (round(cols * REDUCTION), round(rows * REDUCTION)) if distinctness >= COARSE_DISTINCT else (0, 0)


def _windows(area: Window, side: int, most: int) -> Iterator[Window]:
    """Square windows spread evenly over the area, row by row, half overlapping where that takes no more than `most`.

    The taper makes half overlapping windows nearly independent and all ground count alike. None where the area
    is smaller than a window.
    """
    if min(area.width, area.height) < side:
        return
    across, down = (int(np.clip(round(2 * length / side) - 1, 1, most)) for length in (area.width, area.height))
    for row in np.linspace(0, area.height - side, down).astype(int):
        for col in np.linspace(0, area.width - side, across).astype(int):
            yield Window(area.col_off + int(col), area.row_off + int(row), side, side)


def _read_spectrum(pair: Pair, window: Window, start: tuple[int, int], reduction: int = 1) -> Spectrum | None:
    """Of the before image in a window, and of the after image in that window moved back by the start offset."""
    back = Window(window.col_off - start[0], window.row_off - start[1], window.width, window.height)
    before, before_valid = _reduced(*pair.read_date("before", window), reduction)
    after, after_valid = _reduced(*pair.read_date("after", back), reduction)
    return cross_spectrum(before, before_valid, after, after_valid)


def _reduced(
    image: NDArray[np.uint8], valid: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Averaged over squares; valid where all of a square is."""
    if factor == 1:
        return image, valid
    rows, cols = valid.shape[0] // factor, valid.shape[1] // factor
    small = [cv2.resize(channel, (cols, rows), interpolation=cv2.INTER_AREA) for channel in image]
    whole: NDArray[np.bool_] = np.logical_and.reduce(valid.reshape(rows, factor, cols, factor), axis=(1, 3))
    return np.stack(small), whole
