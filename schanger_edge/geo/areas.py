"""Ground area of runs of pixels: planar where the projection keeps areas well enough, on the ellipsoid where not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.geo.crs import horizontal_crs, is_cylindrical, transformer
from schanger_edge.geo.grid import Grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RunArea = Callable[[Ints, Ints, Ints], Floats]
"""(row, first column, pixels) of runs along a row, each (n,), to their areas in m2, (n,)."""
Plane = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""(column, row) of pixel corners, each (n,), to metres in a plane that keeps areas, each (n,)."""


def run_area(grid: Grid) -> RunArea | None:
    """How to measure runs of pixels of the grid in square metres; None where the grid has no CRS."""
    if grid.crs is None:
        return None
    crs = horizontal_crs(grid.crs)
    if crs.is_geographic or is_cylindrical(crs):
        return _between_corners(_equal_area(grid, crs))
    pixel = abs(grid.transform.determinant) * crs.axis_info[0].unit_conversion_factor ** 2
    return lambda row, col, length: length * pixel


def ground_plane(grid: Grid) -> Plane | None:
    """A plane in which the ground under the grid has its true areas; None where the grid has no CRS."""
    if grid.crs is None:
        return None
    crs = horizontal_crs(grid.crs)
    if crs.is_geographic or is_cylindrical(crs):
        return _equal_area(grid, crs)
    t, metres = grid.transform, crs.axis_info[0].unit_conversion_factor
    from_corner = Grid(grid.crs, Affine.scale(metres) @ Affine(t.a, t.b, 0, t.d, t.e, 0), grid.width, grid.height)
    return from_corner.xy


def _equal_area(grid: Grid, crs: Any) -> Plane:
    """PROJ's cylindrical equal-area plane, exact for shapes whose sides follow parallels and meridians.

    Geodesics between far corners would cut across the parallels that pixel sides follow. In all CRSs that come here
    longitude is linear in x, which needs no care at the antimeridian, and latitude depends on y alone.
    """
    from pyproj import Proj

    geod = crs.get_geod()
    flat = Proj(proj="cea", a=geod.a, b=geod.b)
    degrees_per_x, latitude = _angular(crs) if crs.is_geographic else _cylindrical(grid, crs)
    t = grid.transform
    metres_per_x = geod.a * math.radians(degrees_per_x)

    def plane(col: Floats, row: Floats) -> tuple[Floats, Floats]:
        lat = np.clip(latitude(grid.xy(col, row)[1]), -90, 90)
        return metres_per_x * (t.a * col + t.b * row), flat(np.zeros_like(lat), lat)[1]

    return plane


def _angular(crs: Any) -> tuple[float, Callable[[Floats], Floats]]:
    """Degrees per unit of x, and how to get latitude in degrees from y."""
    degrees = math.degrees(crs.axis_info[0].unit_conversion_factor)
    return degrees, lambda y: y * degrees


def _cylindrical(grid: Grid, crs: Any) -> tuple[float, Callable[[Floats], Floats]]:
    """See `_angular`."""
    to_geodetic = transformer(crs, crs.geodetic_crs)
    x, y = grid.xy(grid.width / 2, grid.height / 2)
    step = 1000.0
    lon, _ = to_geodetic.transform([x, x + step], [y, y])
    return ((lon[1] - lon[0] + 180) % 360 - 180) / step, lambda ys: to_geodetic.transform(np.full_like(ys, x), ys)[1]


def _between_corners(plane: Plane) -> RunArea:
    def area(row: Ints, col: Ints, length: Ints) -> Floats:
        cols = (col, col + length, col + length, col)
        rows = (row, row, row + 1, row + 1)
        corners = [plane(c.astype(np.float64), r.astype(np.float64)) for c, r in zip(cols, rows, strict=True)]
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
        twice: Floats = np.abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0))  # from the diagonals
        return twice / 2

    return area
