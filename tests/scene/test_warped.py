"""The scale of a reprojection: one for the scene, or none where it varies."""

from __future__ import annotations

import pytest
import rasterio
from affine import Affine
from helpers import Ground, Tiff
from rasterio.crs import CRS

from schanger_edge.geo.grid import Grid
from schanger_edge.scene.image import SceneImage
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


def test_threads_change_no_pixel(make_tiff: Tiff, ground: Ground) -> None:
    """Warped in one thread and in two, which GDAL takes only where it is told to share small blocks."""
    image = ground(600, 700, 1)
    image[:, 200:240, 300:380] = 0
    path = make_tiff("a.tif", image, nodata=0)
    with rasterio.open(path) as dataset:
        source = Grid(dataset.crs, dataset.transform, dataset.width, dataset.height)
    target = Grid(source.crs, source.transform @ Affine.rotation(7) @ Affine.translation(20.3, -11.8), 640, 560)
    reads = []
    for threads in (1, 2, 4):
        scene = SceneImage(str(path), threads=threads)
        scene.place_on(target)
        reads.append(scene.read(target.window))
        scene.close()
    assert 0.5 < reads[0][1].mean() < 1
    for values, valid in reads[1:]:
        assert (values == reads[0][0]).all()
        assert (valid == reads[0][1]).all()
