"""The largest changes of a run as a report shows them: where, how large, how sure, and an outline of few points."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.files import reading
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products.polygons import LAYER

MOST = 2000
"""So many changes are shown; a map of noise has millions."""
POINTS = 60_000
"""All outlines together have at most so many points, about 0.5 MB in a page."""
_LEAST_TOLERANCE = 0.75  # pixels: takes the steps out of slanting sides, and no more
_FINE = 256  # an outline may be off by this part of its length

Ints = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Place:
    """One change.

    Attributes:
        id: its number in changes.gpkg; 1 is the largest.
        area: square metres; None without a CRS.
        pixels: how many.
        mean: mean probability, 0-1.
        peak: greatest probability, 0-1.
        box: scene pixels around it.
        inside: (column, row) of a point inside it.
        position: (latitude, longitude) of that point, WGS 84 degrees; None where it is not known.
        steps: degrees of latitude and longitude along a column there, and along a row; None without a position.
        rings: outlines, each (n, 2) of (column, row) at pixel corners, the last point not repeated; holes follow.
    """

    id: int
    area: float | None
    pixels: int
    mean: float
    peak: float
    box: Window
    inside: tuple[float, float]
    position: tuple[float, float] | None
    steps: tuple[float, float, float, float] | None
    rings: tuple[Ints, ...]


def read_places(polygons: Path, grid: Grid) -> list[Place]:
    """The largest changes of changes.gpkg, at most `MOST`, largest first.

    Args:
        polygons: changes.gpkg, as `write_polygons` wrote it.
        grid: the grid it was made on.

    Raises:
        ProductError: it could not be read.
    """
    import pyogrio.errors
    import pyogrio.raw
    import shapely

    with reading(polygons):
        try:
            _, _, wkb, fields = pyogrio.raw.read(polygons, layer=LAYER, max_features=MOST)
        except pyogrio.errors.DataSourceError as error:
            raise OSError(str(error)) from error
    shapes = shapely.from_wkb(wkb)
    if not len(shapes):
        return []
    outlines = _Outlines(shapes, grid)
    inside = shapely.get_coordinates(shapely.point_on_surface(shapes))
    cols, rows = grid.pixel(*inside.T)
    positions, steps = positions_and_steps(grid, cols, rows)
    return [
        Place(
            int(number),
            None if np.isnan(area) else float(area),
            int(pixels),
            float(mean),
            float(peak),
            outlines.box(index),
            (float(cols[index]), float(rows[index])),
            positions[index],
            steps[index],
            tuple(outlines.simplified[index]),
        )
        for index, (number, area, pixels, mean, peak) in enumerate(zip(*fields, strict=True))
    ]


class _Outlines:
    """The rings of polygons in scene pixels, simplified until all have at most `POINTS` points."""

    def __init__(self, shapes: NDArray[np.object_], grid: Grid) -> None:
        import shapely

        rings, self._shape_of_ring = shapely.get_rings(shapes, return_index=True)
        xy, ring_of_point = shapely.get_coordinates(rings, return_index=True)
        cols, rows = grid.pixel(*xy.T)
        self._points = np.rint(np.column_stack([cols, rows])).astype(np.int64)
        self._starts = np.searchsorted(ring_of_point, np.arange(len(rings)))
        self._low = np.minimum.reduceat(self._points, self._starts)
        self._high = np.maximum.reduceat(self._points, self._starts)
        self._outer = np.searchsorted(self._shape_of_ring, np.arange(len(shapes)))
        lengths = (self._high - self._low)[self._outer].max(axis=1)
        tolerances = np.maximum(_LEAST_TOLERANCE, lengths / _FINE)
        self.simplified = self._simplify(tolerances)
        while sum(len(ring) for rings in self.simplified for ring in rings) > POINTS:
            tolerances *= 1.5
            self.simplified = self._simplify(tolerances)

    def box(self, index: int) -> Window:
        (left, top), (right, bottom) = self._low[self._outer[index]], self._high[self._outer[index]]
        return Window(int(left), int(top), int(right - left), int(bottom - top))

    def _simplify(self, tolerances: NDArray[np.float64]) -> list[list[Ints]]:
        """The outer ring of each shape, and of its holes those that its tolerance leaves visible."""
        tolerance = tolerances[self._shape_of_ring]
        kept = (self._high - self._low).max(axis=1) > 3 * tolerance
        kept[self._outer] = True
        ends = np.append(self._starts[1:], len(self._points))
        rings: list[list[Ints]] = [[] for _ in self._outer]
        for ring in np.flatnonzero(kept):
            points = _thinned(self._points[self._starts[ring] : ends[ring] - 1], tolerance[ring])
            few = cv2.approxPolyDP(points.astype(np.int32)[:, None], float(tolerance[ring]), True)[:, 0]
            if len(few) < 3:
                (left, top), (right, bottom) = self._low[ring], self._high[ring]
                few = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
            rings[self._shape_of_ring[ring]].append(few.astype(np.int64))
        return rings


def _thinned(points: Ints, tolerance: float) -> Ints:
    """Without steps shorter than half the tolerance: simplifying a ragged outline takes the square of its points."""
    if len(points) < 10_000:
        return points
    cell = np.floor(points / max(1.0, tolerance / 2))
    moved = np.any(cell[1:] != cell[:-1], axis=1)
    thin: Ints = points[np.concatenate([[True], moved])]
    return thin


def north_of(grid: Grid) -> float | None:
    """Degrees clockwise from up to north in the middle of a picture of the grid; None where it is not known."""
    (steps,) = positions_and_steps(grid, np.array([grid.width / 2]), np.array([grid.height / 2]))[1]
    if steps is None:
        return None
    lat_col, lon_col, lat_row, lon_row = steps
    # Along the meridian the longitude stays: so many columns and rows, up to a positive factor.
    way = np.sign(lat_col * lon_row - lat_row * lon_col)
    return round(float(np.degrees(np.arctan2(lon_row * way, lon_col * way))), 1)


def positions_and_steps(
    grid: Grid, cols: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[list[tuple[float, float] | None], list[tuple[float, float, float, float] | None]]:
    """`Place.position` and `Place.steps` of points in pixels; None where they have no known place on Earth."""
    found = [grid.lonlat(cols + col, rows + row) for col, row in ((0, 0), (1, 0), (0, 1))]
    here, right, below = (np.full((2, len(cols)), np.nan) if one is None else np.array(one)[::-1] for one in found)
    steps = np.concatenate([right - here, below - here])
    steps = (steps + 180) % 360 - 180  # across the antimeridian
    known = np.isfinite(here).all(0) & np.isfinite(steps).all(0)
    positions = [(float(lat), float(lon)) if there else None for lat, lon, there in zip(*here, known, strict=True)]
    table = zip(steps.T.tolist(), known, strict=True)
    return positions, [(step[0], step[1], step[2], step[3]) if there else None for step, there in table]
