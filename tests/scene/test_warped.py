"""The scale of a reprojection: one for the scene, or none where it varies."""

from __future__ import annotations

import pytest
from affine import Affine
from rasterio.crs import CRS

from schanger_edge.grid import Grid
from schanger_edge.scene.warped import _scale

DEGREES, POLAR, PACIFIC = (CRS.from_epsg(code) for code in (4326, 3413, 3832))


def test_the_scale_of_a_plain_zoom() -> None:
    source = Grid(None, Affine.scale(0.5), 100, 100)
    assert _scale(source, Grid(None, Affine.identity(), 50, 50)) == {"XSCALE": 0.5, "YSCALE": 0.5}


def test_no_scale_at_a_pole() -> None:
    source = Grid(DEGREES, Affine(0.01, 0, -180, 0, -0.01, 90), 36000, 3000)
    assert _scale(source, Grid(POLAR, Affine(1000, 0, -500_000, 0, -1000, 500_000), 1000, 1000)) == {}


def test_the_antimeridian_does_not_count_as_a_step() -> None:
    source = Grid(DEGREES, Affine(0.01, 0, 170, 0, -0.01, 10), 2000, 2000)
    target = Grid(PACIFIC, Affine(1113.2, 0, 3_339_000.5 - 500 * 1113.2, 0, -1113.2, 500_000), 1000, 900)
    scale = _scale(source, target)
    assert scale["XSCALE"] == pytest.approx(1, rel=0.01)
    assert scale["YSCALE"] == pytest.approx(1, rel=0.02)
