"""Outlines made plainer: small holes filled, corners dropped. What a polygon's pixels measure stays as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.areas import Plane, ground_plane
from schanger_edge.geo.grid import Grid
from schanger_edge.options import Options, option

LEAST_AREA = 10.0
"""Square metres: none of the 565 changes labelled in the 11 LEVIR-CD tiles at hand is smaller than 15, half are larger
than 270. What a model finds below is speckle: 64 of the 113 areas found in one real pair."""
Shapes = NDArray[np.object_]


@dataclasses.dataclass(frozen=True)
class Shaping(Options):
    """Which areas of change become polygons, and how their outlines are shaped.

    Attributes:
        min_area: smaller areas are no change: they get neither polygons nor a place in change.tif; m2 on the ground,
            or pixels where the grid has no CRS.
        simplify: an outline may leave its place by this many metres at the scene's centre (pixels where the grid has
            no metres); 0 keeps every corner.
        fill_holes: holes smaller than this are filled; m2 on the ground, or pixels where the grid has no CRS.
    """

    title = "What counts as change"

    min_area: float = option(
        LEAST_AREA,
        "Smallest area of change that counts, in square metres (in pixels without CRS); 0 counts every pixel.",
        unit="square metres",
        at_least=0,
    )
    simplify: float = option(
        0.0, "Simplify polygons: how far an outline may move, in metres.", unit="metres", at_least=0
    )
    fill_holes: float = option(
        0.0, "Fill holes in polygons smaller than this, in square metres.", unit="square metres", at_least=0
    )

    def kept(self, area: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether areas of this size, (n,), count as change, and become polygons."""
        return area >= self.min_area


def shaper(grid: Grid, shaping: Shaping) -> Callable[[Shapes], Shapes]:
    """What to do with polygons in (column, row), (n,) shapely; as many valid polygons come back, in the same order."""
    simplify, fill_holes = shaping.simplify, shaping.fill_holes
    plane = ground_plane(grid) if fill_holes else None

    def shape(polygons: Shapes) -> Shapes:
        if fill_holes:
            polygons = _filled(polygons, plane, fill_holes)
        return _simplified(polygons, simplify / (grid.gsd or 1.0)) if simplify else polygons

    return shape


def _filled(polygons: Shapes, plane: Plane | None, least: float) -> Shapes:
    import shapely

    rings, of_polygon = shapely.get_rings(polygons, return_index=True)
    on_ground = rings if plane is None else shapely.transform(rings, lambda xy: np.column_stack(plane(*xy.T)))
    is_hole = np.diff(of_polygon, prepend=-1) == 0  # the outer ring comes first
    keep = ~is_hole | (shapely.area(shapely.polygons(on_ground)) >= least)
    filled: Shapes = shapely.polygons(rings[keep], indices=of_polygon[keep])
    return filled


def _simplified(polygons: Shapes, tolerance: float) -> Shapes:
    """Each polygon for itself; one whose plainer outline would not be a valid polygon keeps its own."""
    import shapely

    plainer: Any = shapely.simplify(polygons, tolerance, preserve_topology=True)
    sound = shapely.is_valid(plainer) & (shapely.area(plainer) > 0)
    return np.where(sound, plainer, polygons)
