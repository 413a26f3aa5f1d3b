"""Dates of one place are laid on each other, whatever their longitudes count from, and said where PROJ is not sure."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from helpers import Ground, Tiff
from rasterio.crs import CRS
from rasterio.warp import Resampling, calculate_default_transform, reproject

from schanger_edge.geo.crs import operation
from schanger_edge.scene import open_pair

STEP = 5e-6


def lonlat(west: float, north: float = 1.2) -> Affine:
    return Affine(STEP, 0, west, 0, -STEP, north)


@pytest.mark.parametrize("west", [180 - 30 * STEP, -180 - 30 * STEP, 183.5, -176.5])
@pytest.mark.parametrize("grid", ["before", "after"])
def test_longitudes_across_the_antimeridian(make_tiff: Tiff, ground: Ground, west: float, grid: str) -> None:
    image = ground(64, 64)
    utm = "EPSG:32660" if abs(west) < 181 and west != -176.5 else "EPSG:32701"
    place = lonlat(west)
    bounds = (west, 1.2 - 64 * STEP, west + 64 * STEP, 1.2)
    transform, width, height = calculate_default_transform("EPSG:4326", utm, 64, 64, *bounds)
    other = np.zeros((3, height, width), np.uint8)
    ends = {"src_transform": place, "src_crs": "EPSG:4326", "dst_transform": transform, "dst_crs": utm}
    reproject(image, other, **ends, resampling=Resampling.bilinear)
    before = make_tiff("a.tif", other, crs=utm, transform=transform, nodata=0)
    after = make_tiff("b.tif", image, crs="EPSG:4326", transform=place)
    with open_pair(before, after, grid=grid) as pair:  # type: ignore[arg-type]
        tile = pair.read(pair.grid.window)
    assert pair.overlap > 0.9
    assert tile.valid.mean() > 0.9
    assert np.abs(tile.before.astype(int) - tile.after)[:, tile.valid].mean() < 15


@pytest.mark.parametrize("shift", [0, 7])
def test_longitudes_from_0_to_360(make_tiff: Tiff, ground: Ground, shift: int) -> None:
    image = ground(60, 60)
    before = make_tiff("a.tif", image, crs="EPSG:4326", transform=lonlat(-176.5))
    after = make_tiff("b.tif", image, crs="EPSG:4326", transform=lonlat(183.5 - shift * STEP))
    with open_pair(before, after) as pair:
        tile = pair.read(pair.grid.window)
        assert pair.info()["after"].resampling == "none"
    assert (tile.after[:, :, : 60 - shift] == image[:, :, shift:]).all()


def test_datums_that_proj_knows_no_operation_between(make_tiff: Tiff, ground: Ground) -> None:
    here = Affine(0.5, 0, 500_000, 0, -0.5, 5_905_130)
    before = make_tiff("a.tif", ground(60, 60), crs="EPSG:7855", transform=here)
    # the outline of the only operation lies in the Australian Capital Territory
    after = make_tiff("b.tif", ground(900, 900), crs="EPSG:20255", transform=Affine.translation(-250, 100) @ here)
    with open_pair(before, after) as pair:
        assert pair.operation is not None
        assert pair.operation.ballpark
        assert "PROJ knows no operation between the two datums" in pair.warnings[0]


def test_an_operation_worse_than_a_pixel(make_tiff: Tiff, ground: Ground) -> None:
    place = Affine(0.5, 0, 500_000, 0, -0.5, 4_600_000)
    before = make_tiff("a.tif", ground(60, 60), crs="EPSG:26910", transform=place)
    after = make_tiff("b.tif", ground(60, 60), crs="EPSG:32610", transform=place)
    with open_pair(before, after) as pair:
        assert pair.operation is not None
        assert (pair.operation.accuracy or 0) > 0.5
        assert "more than a pixel" in pair.warnings[0]
    with open_pair(before, before) as pair:
        assert pair.operation is None
        assert not pair.warnings


def test_a_conversion_within_one_datum_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """PROJ 9.8 says of it that its accuracy is unknown."""
    found = SimpleNamespace(description="UTM zone 31N", accuracy=-1.0)
    group = SimpleNamespace(transformers=[found], best_available=True)
    monkeypatch.setattr("pyproj.transformer.TransformerGroup", lambda *_, **__: group)
    same, other = (operation(CRS.from_epsg(code), CRS.from_epsg(32631), None) for code in (4326, 4230))
    assert same is not None
    assert other is not None
    assert (same.accuracy, other.accuracy) == (0.0, None)
