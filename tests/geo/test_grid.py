"""Grids and windows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio.windows
from affine import Affine
from rasterio.crs import CRS

from schanger_edge.geo.grid import Grid, Window


def grid(epsg: int | None, transform: Affine, width: int = 100, height: int = 80) -> Grid:
    return Grid(CRS.from_epsg(epsg) if epsg else None, transform, width, height)


def test_window_arithmetic() -> None:
    a, b = Window(2, 3, 10, 20), Window(8, 0, 10, 10)
    assert a.intersection(b) == Window(8, 3, 4, 7)
    assert a.intersection(Window(12, 3, 5, 5)) is None
    assert Window(8, 3, 4, 7).slices_in(a) == (slice(0, 7), slice(6, 10))
    assert (a.col_end, a.row_end) == (12, 23)


def test_gsd_of_a_projected_grid() -> None:
    assert grid(32631, Affine(0.5, 0, 0, 0, -0.5, 0)).gsd == 0.5
    assert grid(32631, Affine(0.4, 0, 0, 0, -0.9, 0)).gsd == pytest.approx(0.6)
    rotated = Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    assert grid(32631, rotated).gsd == pytest.approx(0.5)


def test_gsd_in_feet_is_converted() -> None:
    assert grid(2263, Affine(1, 0, 980_000, 0, -1, 200_000)).gsd == pytest.approx(0.3048, rel=1e-5)


@pytest.mark.parametrize("epsg", [4326, 3857, 3395])
def test_gsd_follows_latitude(epsg: int) -> None:
    """At 60 degrees north a degree of longitude, and a Mercator metre, are half as long."""
    if epsg == 4326:
        degrees = 1 / 111_320
        value, expected = grid(4326, Affine(degrees, 0, 10, 0, -degrees, 60)).gsd, math.sqrt(0.5)
    else:
        y = 6378137 * math.log(math.tan(math.pi / 4 + math.radians(60) / 2))
        value, expected = grid(epsg, Affine(1, 0, 1e6, 0, -1, y)).gsd, 0.5
    assert value == pytest.approx(expected, rel=0.01)


def test_plain_grid_has_no_gsd() -> None:
    plain = grid(None, Affine.identity())
    assert plain.gsd is None
    assert not plain.georeferenced


def test_gsd_that_cannot_be_known_is_none() -> None:
    assert grid(4326, Affine.identity(), 400, 400).gsd is None  # latitudes up to 400 degrees
    local = Grid(CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'), Affine(0.02, 0, 0, 0, -0.02, 0), 50, 50)
    assert local.gsd in (None, pytest.approx(0.02))


def test_scaling() -> None:
    g = grid(32631, Affine(0.5, 0, 1000, 0, -0.5, 2000))
    coarse = g.scaled(3)
    assert (coarse.width, coarse.height) == (34, 27)
    assert coarse.transform.a == 1.5
    assert coarse.scaled(1 / 3).transform.almost_equals(g.transform)
    assert g.scaled(1e9).width == 1


def test_points_go_to_the_ground_and_back() -> None:
    g = grid(32631, Affine.translation(500_000, 4_650_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.4))
    cols, rows = np.array([0.0, 12.5, 100.0]), np.array([80.0, 3.25, 0.0])
    x, y = g.xy(cols, rows)
    assert (x[0], y[0]) == g.transform @ (0, 80)
    assert np.allclose(g.pixel(x, y), (cols, rows), atol=1e-6)
    lon, lat = g.lonlat(0, 0)
    assert (lon, lat) == pytest.approx((3.0, 42.0), abs=0.01)
    x, y = g.xy(*np.array([(0, 0), (100, 0), (0, 80), (100, 80)]).T)
    assert g.bounds == (x.min(), y.min(), x.max(), y.max())


def test_points_without_a_place_on_earth() -> None:
    assert grid(None, Affine.identity()).lonlat(1, 2) is None
    assert Grid(CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'), Affine.identity(), 5, 5).lonlat(1, 2) is None
    assert (
        np.isnan(grid(4326, Affine(1, 0, 0, 0, -1, 95)).lonlat(np.zeros(2), np.array([0, 10]))).tolist()
        == [[True, False]] * 2
    )


def test_rows_of_a_window() -> None:
    assert list(Window(3, 10, 7, 25).rows(10)) == [Window(3, 10, 7, 10), Window(3, 20, 7, 10), Window(3, 30, 7, 5)]
    assert Window(3, 10, 7, 25).rasterio == rasterio.windows.Window(3, 10, 7, 25)
