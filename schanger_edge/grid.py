"""Grids and windows: frozen values with pure arithmetic, no files.

A grid is CRS + transform + size. A window is a rectangle in the pixels of a grid.
"""

from __future__ import annotations

import dataclasses
import functools
import math

from affine import Affine
from rasterio.crs import CRS


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
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the four corners, also for rotated grids."""
        corners = [self.transform @ (col, row) for col in (0, self.width) for row in (0, self.height)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Length of a pixel's sides along columns and rows, in units of the CRS."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def gsd(self) -> float | None:
        """Metres per pixel on the ground at the centre (geometric mean of both sides); None without a CRS."""
        if self.crs is None:
            return None
        return _ground_sample_distance(self)

    def scaled(self, factor: float) -> Grid:
        """The same ground with pixels `factor` times as long; the size is rounded up to whole pixels."""
        width, height = math.ceil(self.width / factor - 1e-6), math.ceil(self.height / factor - 1e-6)
        return Grid(self.crs, self.transform @ Affine.scale(factor), max(width, 1), max(height, 1))


@functools.lru_cache(maxsize=16)
def _ground_sample_distance(grid: Grid) -> float:
    from pyproj import Geod, Transformer

    transform, crs = grid.transform, grid.crs
    assert crs is not None
    if crs.is_projected and not _is_web_mercator(crs):
        side_x, side_y = grid.pixel_size
        return math.sqrt(side_x * side_y) * float(crs.linear_units_factor[1])
    to_geographic = Transformer.from_crs(crs.to_wkt(), "EPSG:4326", always_xy=True)
    col, row = grid.width / 2, grid.height / 2
    corners = [transform @ (col + dc, row + dr) for dc, dr in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))]
    xs, ys = zip(*corners, strict=True)
    lon, lat = to_geographic.transform(xs, ys)
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
    return math.sqrt(abs(area))


def _is_web_mercator(crs: CRS) -> bool:
    return bool(crs.to_epsg() == 3857)
