"""Grids and windows: frozen values with pure arithmetic, no files.

A grid is CRS + transform + size. A window is a rectangle in the pixels of a grid.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

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
    def pixel_size(self) -> tuple[float, float]:
        """Length of a pixel's sides along columns and rows, in units of the CRS."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def gsd(self) -> float | None:
        """Metres per pixel on the ground at the centre (geometric mean of both sides); None where it is not known."""
        if self.crs is None:
            return None
        return _ground_sample_distance(self)

    def scaled(self, factor: float) -> Grid:
        """The same ground with pixels `factor` times as long; the size is rounded up to whole pixels."""
        width, height = math.ceil(self.width / factor - 1e-6), math.ceil(self.height / factor - 1e-6)
        return Grid(self.crs, self.transform @ Affine.scale(factor), max(width, 1), max(height, 1))


@functools.lru_cache(maxsize=16)
def _ground_sample_distance(grid: Grid) -> float | None:
    """See `Grid.gsd`; None also where the CRS has no known place on Earth or no metres."""
    from pyproj import Geod, Transformer
    from pyproj.exceptions import ProjError

    crs = horizontal_crs(grid)
    try:
        if not crs.is_geographic and not is_cylindrical(crs):
            gsd = math.sqrt(math.prod(grid.pixel_size)) * crs.axis_info[0].unit_conversion_factor
        else:
            to_geographic = Transformer.from_crs(crs, crs.geodetic_crs or crs, always_xy=True)
            col, row = grid.width / 2, grid.height / 2
            corners = [grid.transform @ (col + dc, row + dr) for dc, dr in _SQUARE]
            xs, ys = zip(*corners, strict=True)
            lon, lat = to_geographic.transform(xs, ys)
            geod = crs.get_geod() or Geod(ellps="WGS84")
            gsd = math.sqrt(abs(geod.polygon_area_perimeter(lon, lat)[0]))
    except (ProjError, ValueError):
        return None
    return gsd if math.isfinite(gsd) and gsd > 0 else None


_SQUARE = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
_CYLINDRICAL = ("mercator", "equidistant cylindrical", "plate carr")
_NOT_NORMAL = ("transverse", "oblique")


def is_cylindrical(crs: Any) -> bool:
    """True for normal cylindrical projections (of a pyproj CRS).

    They stretch the ground by 1 / cos(latitude): planar lengths and areas are badly wrong in them.
    """
    method = "" if crs.coordinate_operation is None else crs.coordinate_operation.method_name.lower()
    return any(word in method for word in _CYLINDRICAL) and not any(word in method for word in _NOT_NORMAL)


def horizontal_crs(grid: Grid) -> Any:
    """The grid's CRS for pyproj, without heights or a datum shift tied to it."""
    import pyproj

    assert grid.crs is not None
    epsg = grid.crs.to_epsg()  # the code says more than the text: WKT 1 hides that Web Mercator is spherical
    crs: Any = pyproj.CRS.from_epsg(epsg) if epsg else pyproj.CRS.from_wkt(grid.crs.to_wkt())
    while crs.is_bound or crs.is_compound:
        crs = crs.source_crs if crs.is_bound else crs.sub_crs_list[0]
    return crs
