"""Connected areas of a change map (4-connected): found and measured strip by strip, in memory that the areas set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.areas import Floats, Ints, RunArea
from schanger_edge.geo.grid import Window

_STRIP_PIXELS = 1 << 20


class Measures(NamedTuple):
    """Columns of numbers about n sets of pixels, each (n,).

    Attributes:
        first: row * width + column of the first pixel, rows from the top.
        pixels: how many.
        area: m2; pixels where the scene has no CRS.
        total: sum of the stored probability values.
        peak: greatest stored probability value.
    """

    first: Ints
    pixels: Ints
    area: Floats
    total: Ints
    peak: Ints


@dataclasses.dataclass(frozen=True)
class Components:
    """The connected areas of a change map, ascending by first pixel.

    Attributes:
        measures: what is known of each of the n areas.
        of_label: the area, 0..n-1, of every label, in the order in which `strips` gives labels.
        nodata: True where the map has values beside 0 and 1.
    """

    measures: Measures
    of_label: Ints
    nodata: bool


@dataclasses.dataclass(frozen=True)
class Strip:
    """Rows of a change map with its own labels 1..count, (h, width) int32; 0 where there is no change.

    `nodata` is True where the rows hold values beside 0 and 1.
    """

    window: Window
    labels: NDArray[np.int32]
    count: int
    nodata: bool


def strips(change: Any) -> Iterator[Strip]:
    """Label an open change map in strips from the top; the same labels each time for the same file."""
    rows = max(1, min(256, _STRIP_PIXELS // change.width))
    for window in Window(0, 0, change.width, change.height).rows(rows):
        values = change.read(1, window=window.rasterio)
        is_change, nodata = (values == 1).view(np.uint8), bool(values.max() > 1)
        if is_change.any():
            count, labels = cv2.connectedComponents(is_change, connectivity=4, ltype=cv2.CV_32S)
            yield Strip(window, labels, count - 1, nodata)
        else:
            yield Strip(window, np.zeros(is_change.shape, np.int32), 0, nodata)


def find_components(change: Any, probability: Any, run_area: RunArea | None) -> Components:
    """Find and measure the connected areas of change == 1 in two open uint8 rasters of one size."""
    none = np.empty(0, np.int64)
    parts = [Measures(none, none, np.empty(0), none, none)]
    seams: list[tuple[Ints, Ints]] = []
    labels_before, above, nodata = 0, np.zeros(change.width, np.int64), False
    for strip in strips(change):
        top = _global(strip.labels[0], labels_before)
        seams.append(_touching(above, top))
        above = _global(strip.labels[-1], labels_before)
        if strip.count:
            values = probability.read(1, window=strip.window.rasterio)
            parts.append(_merge(*_runs(strip, values, run_area)))
        labels_before += strip.count
        nodata |= strip.nodata
    of_label = _roots(labels_before, seams)
    measures = _merge(of_label, Measures._make(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = np.argsort(measures.first)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return Components(Measures._make(column[order] for column in measures), rank[of_label], nodata)


def _runs(strip: Strip, values: NDArray[np.uint8], run_area: RunArea | None) -> tuple[Ints, Measures]:
    """Label (from 0) and measures of each run of change along a row."""
    height, width = strip.labels.shape
    stride = width + 1  # a column of no change ends every run at the end of its row
    flat = np.zeros(1 + height * stride, bool)
    np.greater(strip.labels, 0, out=flat[1:].reshape(height, stride)[:, :width])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    padded = np.zeros((height, stride), np.uint8)
    padded[:, :width] = values
    peak = np.maximum.reduceat(padded.reshape(-1), edges)[::2].astype(np.int64)
    sums = np.cumsum(padded.reshape(-1), dtype=np.int64)
    start, length = edges[::2], edges[1::2] - edges[::2]
    total = sums[edges[1::2] - 1] - sums[start] + padded.reshape(-1)[start]
    row, col = np.divmod(start, stride)
    label = strip.labels[row, col].astype(np.int64) - 1
    row += strip.window.row_off
    area = length.astype(np.float64) if run_area is None else run_area(row, col, length)
    return label, Measures(row * width + col, length, area, total, peak)


def _merge(key: Ints, measures: Measures) -> Measures:
    """One set of pixels for each key, keys ascending."""
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    if not starts.size:
        return measures
    first, pixels, area, total, peak = (column[order] for column in measures)
    return Measures(
        np.minimum.reduceat(first, starts),
        np.add.reduceat(pixels, starts),
        np.add.reduceat(area, starts),
        np.add.reduceat(total, starts),
        np.maximum.reduceat(peak, starts),
    )


def _global(labels: NDArray[np.int32], labels_before: int) -> Ints:
    """A strip's labels as 1-based labels of the whole map; 0 stays."""
    return np.where(labels > 0, labels.astype(np.int64) + labels_before, 0)


def _touching(above: Ints, below: Ints) -> tuple[Ints, Ints]:
    """Pairs of labels (0-based) that touch across the seam between two rows, repetitions in a row left out."""
    both = np.flatnonzero((above > 0) & (below > 0))
    upper, lower = above[both] - 1, below[both] - 1
    new = np.ones(both.size, bool)
    new[1:] = (upper[1:] != upper[:-1]) | (lower[1:] != lower[:-1])
    return upper[new], lower[new]


def _roots(count: int, seams: list[tuple[Ints, Ints]]) -> Ints:
    """The area, 0..n-1, of each of `count` labels joined by pairs: hook every root to a lower one until all agree."""
    parent = np.arange(count)
    if seams:
        left, right = (np.concatenate(side) for side in zip(*seams, strict=True))
        while left.size:
            left, right = parent[left], parent[right]
            apart = left != right
            left, right = left[apart], right[apart]
            parent[np.maximum(left, right)] = np.minimum(left, right)
            while True:
                grandparent = parent[parent]
                if np.array_equal(grandparent, parent):
                    break
                parent = grandparent
    numbers: Ints = np.cumsum(parent == np.arange(count)) - 1
    return numbers[parent]
