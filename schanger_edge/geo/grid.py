"""Grids and windows: frozen values with pure arithmetic, no files.

A grid is CRS + transform + size. A window is a rectangle in the pixels of a grid.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from affine import Affine
from rasterio import windows
from rasterio.crs import CRS

from schanger_edge.geo.crs import beyond_the_antimeridian, geodetic, horizontal_crs, is_cylindrical, lonlat

NOMINAL = 0.01
"""Share by which a projection may stretch lengths, as UTM does, where a pixel is still called by its stated size."""


@dataclasses.dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels: offsets and size, columns before rows as in GDAL."""

    col_off: int
    row_off: int
    width: int
    height: int

    @property
    def col_end(self) -> int:
        """First column right of the window."""
        return self.col_off + self.width

    @property
    def row_end(self) -> int:
        """First row below the window."""
        return self.row_off + self.height

    def intersection(self, other: Window) -> Window | None:
        """The common rectangle, or None where there is none."""
        col_off, row_off = max(self.col_off, other.col_off), max(self.row_off, other.row_off)
        width, height = min(self.col_end, other.col_end) - col_off, min(self.row_end, other.row_end) - row_off
        return Window(col_off, row_off, width, height) if width > 0 and height > 0 else None

    @property
    def rasterio(self) -> windows.Window:
        """The same for `window=` of rasterio's functions."""
        return windows.Window(self.col_off, self.row_off, self.width, self.height)

    def rows(self, height: int) -> Iterator[Window]:
        """Its full-width parts from top to bottom, each of `height` rows but for the last."""
        for row_off in range(self.row_off, self.row_end, height):
            yield Window(self.col_off, row_off, self.width, min(height, self.row_end - row_off))

    def squares(self, side: int) -> Iterator[Window]:
        """Its parts of `side` x `side` pixels, cut at its right and bottom, row by row."""
        for row in self.rows(side):
            for col_off in range(self.col_off, self.col_end, side):
                yield Window(col_off, row.row_off, min(side, self.col_end - col_off), row.height)

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """(rows, columns) of this window in an array that holds `outer`."""
        row, col = self.row_off - outer.row_off, self.col_off - outer.col_off
        return slice(row, row + self.height), slice(col, col + self.width)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie on the ground.

    Attributes:
        crs: coordinate reference system; None for plain images.
        transform: affine from (column, row) of a pixel's upper left corner to coordinates (x, y).
        width: columns.
        height: rows.
    """

    crs: CRS | None
    transform: Affine
    width: int
    height: int

    @property
    def georeferenced(self) -> bool:
        """True where the grid says where on the ground it lies."""
        return self.crs is not None or self.transform != Affine.identity()

    @property
    def window(self) -> Window:
        """The whole grid as a window."""
        return Window(0, 0, self.width, self.height)

    @property
    def corners(self) -> tuple[tuple[int, int], ...]:
        """(column, row) of its four corners."""
        return (0, 0), (self.width, 0), (0, self.height), (self.width, self.height)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in the CRS."""
        xs, ys = zip(*(self.xy(*corner) for corner in self.corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def xy(self, col: Any, row: Any) -> tuple[Any, Any]:
        """Coordinates in the CRS of points in pixels, numbers or arrays; a pixel's upper left corner is whole."""
        x, y = self.transform @ (col, row)
        return x, y

    def pixel(self, x: Any, y: Any) -> tuple[Any, Any]:
        """(column, row) of points in coordinates of the CRS: the inverse of `xy`."""
        col, row = ~self.transform @ (x, y)
        return col, row

    def lonlat(self, col: Any, row: Any) -> tuple[Any, Any] | None:
        """Degrees east and north (WGS 84) of points in pixels; see `crs.lonlat` where there are none."""
        return lonlat(self.crs, *self.xy(col, row))

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Length of a pixel's sides along columns and rows, in units of the CRS."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def gsd(self) -> float | None:
        """Metres per pixel on the ground at the centre (geometric mean of both sides); None where it is not known.

        In projections that keep lengths to within `NOMINAL` it is the pixel's size as the file states it.
        """
        if self.crs is None:
            return None
        return _ground_sample_distance(self)

    @property
    def ground_sides(self) -> tuple[float, float] | None:
        """Metres on the ground along a pixel's row and column at the centre; None where they are not known."""
        return None if self.crs is None else _ground_sides(self)

    def scaled(self, factor: float) -> Grid:
        """The same ground with pixels `factor` times as long; the size is rounded up to whole pixels."""
        width, height = math.ceil(self.width / factor - 1e-6), math.ceil(self.height / factor - 1e-6)
        return Grid(self.crs, self.transform @ Affine.scale(factor), max(width, 1), max(height, 1))


def toward(source: Grid, target: Grid) -> Grid:
    """The source's grid with longitudes as points of the target come out there: a turn more or less, or from 180.

    Grids that are not in longitude and latitude stay as they are, as do those between -180 and 180 degrees.
    """
    if source.crs is None or target.crs is None or not source.crs.is_geographic:
        return source
    turn = 2 * math.pi / horizontal_crs(source.crs).axis_info[0].unit_conversion_factor
    if source.crs == target.crs:
        (own, _), (other, _) = (grid.xy(grid.width / 2, grid.height / 2) for grid in (source, target))
        turns = round((other - own) / turn) if math.isfinite(other - own) else 0
        return source if not turns else _moved(source, source.crs, turns * turn)
    left, _, right, _ = source.bounds
    if (-turn / 2 <= left and right <= turn / 2) or right - left > turn:
        return source
    crs = beyond_the_antimeridian(source.crs)
    if crs is None:
        return source
    return _moved(source, crs, -turn / 2 + turn * round((turn / 2 - (left + right) / 2) / turn))


def _moved(grid: Grid, crs: CRS, by: float) -> Grid:
    return dataclasses.replace(grid, crs=crs, transform=Affine.translation(by, 0) @ grid.transform)


@functools.lru_cache(maxsize=16)
def _ground_sample_distance(grid: Grid) -> float | None:
    """See `Grid.gsd`; None also where the CRS has no known place on Earth or no metres."""
    from pyproj import Geod
    from pyproj.exceptions import ProjError

    crs = horizontal_crs(grid.crs)
    try:
        planar: float | None = None
        if not crs.is_geographic and not is_cylindrical(crs):
            planar = math.sqrt(math.prod(grid.pixel_size)) * crs.axis_info[0].unit_conversion_factor
        to_degrees = geodetic(crs)
        if to_degrees is None:
            return planar
        cols, rows = zip(*((grid.width / 2 + dc, grid.height / 2 + dr) for dc, dr in _SQUARE), strict=True)
        lon, lat = to_degrees(*grid.xy(np.array(cols), np.array(rows)))
        geod = crs.get_geod() or Geod(ellps="WGS84")
        gsd = math.sqrt(abs(geod.polygon_area_perimeter(lon, lat)[0]))
    except (ProjError, ValueError):
        return None
    if planar is not None and not abs(gsd - planar) > NOMINAL * planar:
        return planar
    return gsd if math.isfinite(gsd) and gsd > 0 else None


@functools.lru_cache(maxsize=16)
def _ground_sides(grid: Grid) -> tuple[float, float] | None:
    """See `Grid.ground_sides`."""
    from pyproj.exceptions import ProjError

    crs = horizontal_crs(grid.crs)
    try:
        to_degrees = geodetic(crs)
        if to_degrees is None:
            return None
        col, row = grid.width / 2, grid.height / 2
        lon, lat = to_degrees(*grid.xy(np.array([col, col + 1, col]), np.array([row, row, row + 1])))
        _, _, sides = crs.get_geod().inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    except (ProjError, ValueError, AttributeError):  # of a place off the Earth, or without an ellipsoid
        return None
    return (float(sides[0]), float(sides[1])) if np.isfinite(sides).all() and sides.min() > 0 else None


_SQUARE = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
