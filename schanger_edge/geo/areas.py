"""Ground area of runs of pixels, on the ellipsoid in every CRS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.geo.crs import geodetic, horizontal_crs, is_cylindrical
from schanger_edge.geo.grid import Grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RunArea = Callable[[Ints, Ints, Ints], Floats]
"""(row, first column, pixels) of runs along a row, each (n,), to their areas in m2, (n,)."""
Plane = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""(column, row) of pixel corners, each (n,), to metres in a plane that keeps areas, each (n,)."""
NODE_METRES = 20_000  # between the nodes from which the scale of areas is interpolated: wrong by 1e-6 at most
MOST_NODES = 256  # along one axis


def run_area(grid: Grid) -> RunArea | None:
    """How to measure runs of pixels of the grid in square metres; None where the grid has no CRS."""
    if grid.crs is None:
        return None
    crs = horizontal_crs(grid.crs)
    if crs.is_geographic or is_cylindrical(crs):
        return _between_corners(_equal_area(grid, crs))
    pixel = abs(grid.transform.determinant) * crs.axis_info[0].unit_conversion_factor ** 2
    plane = _local_plane(grid, crs)
    if plane is None:
        return lambda row, col, length: length * pixel
    stretch = _areal_scale(grid, plane, pixel)
    return lambda row, col, length: length * pixel * stretch(np.asarray(col + length / 2), np.asarray(row + 0.5))


def pixel_area(grid: Grid) -> float | None:
    """Square metres on the ground of the pixel at the centre; None where the grid has no CRS."""
    measure = run_area(grid)
    if measure is None:
        return None
    area = float(measure(np.array([grid.height // 2]), np.array([grid.width // 2]), np.array([1]))[0])
    return area if math.isfinite(area) and area > 0 else None


def ground_plane(grid: Grid) -> Plane | None:
    """A plane in which the ground under the grid has its true areas; None where the grid has no CRS."""
    if grid.crs is None:
        return None
    crs = horizontal_crs(grid.crs)
    if crs.is_geographic or is_cylindrical(crs):
        return _equal_area(grid, crs)
    plane = _local_plane(grid, crs)
    if plane is not None:
        return plane
    t, metres = grid.transform, crs.axis_info[0].unit_conversion_factor
    from_corner = Grid(grid.crs, Affine.scale(metres) @ Affine(t.a, t.b, 0, t.d, t.e, 0), grid.width, grid.height)
    return from_corner.xy


def _local_plane(grid: Grid, crs: Any) -> Plane | None:
    """Lambert's azimuthal equal-area plane about the grid's centre; None where the CRS has no known place on Earth."""
    from pyproj import Proj
    from pyproj.exceptions import ProjError

    try:
        to_degrees, geod = geodetic(crs), crs.get_geod()
        if to_degrees is None or geod is None:
            return None
        lon, lat = to_degrees(*grid.xy(grid.width / 2, grid.height / 2))
        flat = Proj(proj="laea", lat_0=float(lat), lon_0=float(lon), a=geod.a, b=geod.b)
    except ProjError:  # also where the centre lies beside the Earth
        return None

    def plane(col: Floats, row: Floats) -> tuple[Floats, Floats]:
        x, y = flat(*to_degrees(*grid.xy(col, row)))
        return x, y

    return plane


def _areal_scale(grid: Grid, plane: Plane, pixel: float) -> Callable[[NDArray[Any], NDArray[Any]], Floats]:
    """Ground area over planar area at (column, row): exact at nodes `NODE_METRES` apart, bilinear between them.

    A map may have millions of runs, and projecting each costs a hundred times the arithmetic.
    """
    side = math.sqrt(pixel)
    nodes = [
        np.linspace(0, size, min(max(math.ceil(size * side / NODE_METRES), 1), MOST_NODES) + 1)
        for size in (grid.width, grid.height)
    ]
    half = max(0.5, 50 / side)
    col, row = (axis.ravel() for axis in np.meshgrid(*nodes))
    with np.errstate(invalid="ignore"):  # of nodes beside the Earth
        ground = _area(*(plane(col + dc * half, row + dr * half) for dc, dr in _CORNERS))
        scale = ground / (pixel * (2 * half) ** 2)
    scale = np.where(np.isfinite(scale), scale, 1.0).reshape(nodes[1].size, nodes[0].size)

    def at(cols: NDArray[Any], rows: NDArray[Any]) -> Floats:
        places = []
        for values, axis in ((cols, nodes[0]), (rows, nodes[1])):
            position = np.clip(values / axis[-1], 0, 1) * (axis.size - 1)
            first = np.minimum(position.astype(np.int64), axis.size - 2)
            places.append((first, position - first))
        (c, u), (r, v) = places
        upper = scale[r, c] * (1 - u) + scale[r, c + 1] * u
        lower = scale[r + 1, c] * (1 - u) + scale[r + 1, c + 1] * u
        result: Floats = upper * (1 - v) + lower * v
        return result

    return at


_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))
_Point = tuple[Floats, Floats]


def _area(a: _Point, b: _Point, c: _Point, d: _Point) -> Floats:
    """Of quadrilaterals, from their diagonals."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = a, b, c, d
    twice: Floats = np.abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0))
    return twice / 2


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
    to_degrees = geodetic(crs)
    x, y = grid.xy(grid.width / 2, grid.height / 2)
    step = 1000.0
    lon, _ = to_degrees([x, x + step], [y, y])
    return ((lon[1] - lon[0] + 180) % 360 - 180) / step, lambda ys: to_degrees(np.full_like(ys, x), ys)[1]


def _between_corners(plane: Plane) -> RunArea:
    def area(row: Ints, col: Ints, length: Ints) -> Floats:
        cols = (col, col + length, col + length, col)
        rows = (row, row, row + 1, row + 1)
        return _area(*(plane(c.astype(np.float64), r.astype(np.float64)) for c, r in zip(cols, rows, strict=True)))

    return area
