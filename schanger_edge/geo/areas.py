"""Ground area of runs of pixels: planar where the projection keeps areas well enough, on the ellipsoid where not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Grid, horizontal_crs, is_cylindrical

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
    crs = horizontal_crs(grid)
    if crs.is_geographic or is_cylindrical(crs):
        return _between_corners(_on_ellipsoid(grid, crs))
    t = grid.transform
    pixel = abs(t.a * t.e - t.b * t.d) * crs.axis_info[0].unit_conversion_factor ** 2
    return lambda row, col, length: length * pixel


def ground_plane(grid: Grid) -> Plane | None:
    """A plane in which the ground under the grid has its true areas; None where the grid has no CRS."""
    if grid.crs is None:
        return None
    crs = horizontal_crs(grid)
    if crs.is_geographic or is_cylindrical(crs):
        return _on_ellipsoid(grid, crs)
    t, metres = grid.transform, crs.axis_info[0].unit_conversion_factor
    return lambda col, row: ((t.a * col + t.b * row) * metres, (t.d * col + t.e * row) * metres)


def _on_ellipsoid(grid: Grid, crs: Any) -> Plane:
    if crs.is_geographic:
        to_degrees = math.degrees(crs.axis_info[0].unit_conversion_factor)
        return _equal_area(grid, crs, to_degrees, lambda y: y * to_degrees)
    return _cylindrical(grid, crs)


def _cylindrical(grid: Grid, crs: Any) -> Plane:
    """Longitude is linear in x and latitude depends on y alone, so the antimeridian needs no care."""
    from pyproj import Transformer

    to_geodetic = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    x, y = grid.transform @ (grid.width / 2, grid.height / 2)
    step = 1000.0
    lon, _ = to_geodetic.transform([x, x + step], [y, y])
    degrees_per_x = ((lon[1] - lon[0] + 180) % 360 - 180) / step
    return _equal_area(grid, crs, degrees_per_x, lambda ys: to_geodetic.transform(np.full_like(ys, x), ys)[1])


def _equal_area(grid: Grid, crs: Any, degrees_per_x: float, latitude: Callable[[Floats], Floats]) -> Plane:
    """Lambert's cylindrical equal-area plane, exact for shapes whose sides follow parallels and meridians.

    Geodesics between far corners would cut across the parallels that pixel sides follow.
    Source of the authalic formula: Snyder, Map Projections: A Working Manual, USGS 1395, equations 10-15 and 3-12.
    """
    geod = crs.get_geod()
    a, es = geod.a, geod.es
    t, e = grid.transform, math.sqrt(geod.es)

    def plane(col: Floats, row: Floats) -> tuple[Floats, Floats]:
        sine = np.sin(np.radians(np.clip(latitude(t.d * col + t.e * row + t.f), -90, 90)))
        logarithm = np.arctanh(e * sine) / e if es else sine
        x = a * np.radians(degrees_per_x) * (t.a * col + t.b * row)
        return x, a * (1 - es) / 2 * (sine / (1 - es * sine**2) + logarithm)

    return plane


def _between_corners(plane: Plane) -> RunArea:
    def area(row: Ints, col: Ints, length: Ints) -> Floats:
        cols = (col, col + length, col + length, col)
        rows = (row, row, row + 1, row + 1)
        corners = [plane(c.astype(np.float64), r.astype(np.float64)) for c, r in zip(cols, rows, strict=True)]
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
        twice: Floats = np.abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0))  # from the diagonals
        return twice / 2

    return area
