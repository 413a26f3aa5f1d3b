"""Areas on the ellipsoid."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from schanger_edge.geo.areas import ground_plane, pixel_area, run_area
from schanger_edge.geo.crs import geodetic, horizontal_crs, transformer
from schanger_edge.geo.grid import Grid

ELLIPSOIDS = {4326: (6378137.0, 298.257223563), 4267: (6378206.4, 294.978698213898), 3395: (6378137.0, 298.257223563)}


def authalic_y(latitude: np.ndarray, a: float, f: float) -> np.ndarray:
    """Snyder, Map Projections: A Working Manual, USGS 1395, equations 10-15 and 3-12."""
    es = f * (2 - f)
    e, sine = math.sqrt(es), np.sin(np.radians(latitude))
    return a * (1 - es) / 2 * (sine / (1 - es * sine**2) + np.arctanh(e * sine) / e)


@pytest.mark.parametrize("epsg", [4326, 4267])
@pytest.mark.parametrize("top", [0.3, 47.0, -60.0, 89.99])
def test_runs_have_the_area_of_the_published_formula(epsg: int, top: float) -> None:
    degrees = 1e-5
    grid = Grid(CRS.from_epsg(epsg), Affine(degrees, 0, 179.9, 0, -degrees, top), 40_000, 1000)
    rng = np.random.default_rng(0)
    row, col, length = rng.integers(0, 900, 200), rng.integers(0, 20_000, 200), rng.integers(1, 9000, 200)
    a, inverse = ELLIPSOIDS[epsg]
    upper, lower = (authalic_y(top - degrees * edge, a, 1 / inverse) for edge in (row, row + 1))
    expected = a * np.radians(degrees * length) * (upper - lower)
    measure = run_area(grid)
    assert measure is not None
    assert measure(row, col, length) == pytest.approx(expected, rel=3e-8 if top < 80 else 1e-4)


def test_a_mercator_pixel_has_the_area_of_the_same_ground_in_degrees() -> None:
    mercator = Grid(CRS.from_epsg(3395), Affine(100, 0, 1e6, 0, -100, 6e6), 1000, 1000)
    measure = run_area(mercator)
    assert measure is not None
    (west, east), (north, south) = mercator.lonlat(np.array([10, 500]), np.array([20, 21]))  # type: ignore[misc]
    a, inverse = ELLIPSOIDS[3395]
    top, bottom = authalic_y(np.array([north, south]), a, 1 / inverse)
    expected = a * math.radians(east - west) * (top - bottom)
    assert measure(np.array([20]), np.array([10]), np.array([490])) == pytest.approx(expected, rel=3e-8)


PLACES = [(3413, -45, 60.5), (3031, -58, -63.3), (3978, -135, 60.7), (3034, 25, 40), (32631, 3, 50), (2263, -74, 40.7)]


@pytest.mark.parametrize(("epsg", "lon", "lat"), PLACES)
def test_areas_lie_on_the_ellipsoid_in_other_projections(epsg: int, lon: float, lat: float) -> None:
    crs = CRS.from_epsg(epsg)
    to_degrees = geodetic(horizontal_crs(crs))
    x, y = transformer("OGC:CRS84", crs).transform(lon, lat)
    grid = Grid(crs, Affine(2.0, 0, x, 0, -2.0, y), 60_000, 40_000)
    col, row, length = np.array([100, 30_000]), np.array([50, 39_000]), np.array([700, 12_000])
    measure, plane = run_area(grid), ground_plane(grid)
    assert measure is not None
    assert plane is not None
    edges = [np.linspace(first, first + count, 200) for first, count in zip(col, length, strict=True)]
    for edge, top, area in zip(edges, row, measure(row, col, length), strict=True):
        cols, rows = np.concatenate([edge, edge[::-1]]), np.repeat([top, top + 1], edge.size)
        true = abs(horizontal_crs(crs).get_geod().polygon_area_perimeter(*to_degrees(*grid.xy(cols, rows)))[0])
        assert area == pytest.approx(true, rel=1e-5)
        xs, ys = plane(cols, rows)
        assert abs(xs @ np.roll(ys, -1) - ys @ np.roll(xs, -1)) / 2 == pytest.approx(true, rel=1e-5)


def test_grads_are_no_degrees() -> None:
    degrees = Grid(CRS.from_epsg(4275), Affine(9e-6, 0, 2.4, 0, -9e-6, 45), 100, 100)
    grads = Grid(CRS.from_epsg(4807), Affine(1e-5, 0, 0, 0, -1e-5, 50), 100, 100)
    assert grads.gsd == pytest.approx(degrees.gsd, rel=1e-4)
    assert pixel_area(grads) == pytest.approx(pixel_area(degrees), rel=1e-4)
    assert grads.ground_sides == pytest.approx(degrees.ground_sides, rel=1e-4)
