"""The outline of a grid on the globe as GeoJSON (RFC 7946)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Grid

_POINTS = 32  # along each side, for sides bend


class Footprint(NamedTuple):
    """GeoJSON geometry in WGS 84, and [west, south, east, north]: west > east where it crosses the antimeridian."""

    geometry: dict[str, Any]
    bbox: list[float]


def footprint(grid: Grid) -> Footprint | None:
    """Where a grid lies; cut in two at the antimeridian. None without a CRS, or where it leads off the Earth."""
    import shapely
    import shapely.affinity
    import shapely.geometry

    ring = _ring(grid)
    if ring is None:
        return None
    area = shapely.make_valid(shapely.Polygon(ring))  # a side may come back over itself, as at a pole
    turned = []
    for turn in (0, 360):
        part = shapely.intersection(area, shapely.box(turn - 180, -90, turn + 180, 90))
        turned.append(shapely.affinity.translate(part, -turn))
    parts = [
        shapely.geometry.polygon.orient(part)
        for part in shapely.get_parts(shapely.union_all(turned))  # the whole world may begin at any meridian
        if part.geom_type == "Polygon"
    ]
    if not parts:
        return None
    west, south = (float(limit) for limit in ring.min(0))
    east, north = (float(limit) for limit in ring.max(0))
    if east - west >= 360:
        west, east = -180.0, 180.0
    elif east > 180:
        east -= 360
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return Footprint(shapely.geometry.mapping(shape), [west, south, east, north])


def _ring(grid: Grid) -> NDArray[np.float64] | None:
    """(n, 2) longitude, from -180 up and without a jump at the antimeridian, and latitude around the grid."""
    steps = np.arange(_POINTS) / _POINTS
    cols = np.concatenate([steps, np.ones(_POINTS), 1 - steps, np.zeros(_POINTS)]) * grid.width
    rows = np.concatenate([np.zeros(_POINTS), steps, np.ones(_POINTS), 1 - steps]) * grid.height
    lonlat = grid.lonlat(cols, rows)
    if lonlat is None or np.isnan(lonlat).any():
        return None
    lon, lat = lonlat
    lon = np.unwrap(np.append(lon, lon[0]), period=360)
    ring = np.column_stack((lon, np.append(lat, lat[0])))
    if abs(lon[-1] - lon[0]) > 180:  # once around a pole, which lies inside
        pole = 90.0 if lat.mean() > 0 else -90.0
        ring = np.concatenate([ring, [(lon[-1], pole), (lon[0], pole)]])
    ring[:, 0] -= 360 * np.floor((ring[:, 0].min() + 180) / 360)
    return ring
