"""Pairs on one grid: exact where pixels coincide, reprojected where not, clear where impossible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import Ground, Tiff
from rasterio.enums import ColorInterp, Resampling
from rasterio.env import getenv
from rasterio.shutil import copy
from rasterio.warp import calculate_default_transform, reproject

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene import open_pair
from schanger_edge.scene import pair as pair_module

ORIGIN = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)


def shifted(cols: float, rows: float) -> Affine:
    return ORIGIN @ Affine.translation(cols, rows)


def test_same_grid_is_read_bit_exact(make_tiff: Tiff, ground: Ground) -> None:
    a, b = ground(90, 110, 1), ground(90, 110, 2)
    with open_pair(make_tiff("a.tif", a), make_tiff("b.tif", b)) as pair:
        tile = pair.read(Window(13, 7, 50, 40))
        info = pair.info()
    assert (tile.before == a[:, 7:47, 13:63]).all()
    assert (tile.after == b[:, 7:47, 13:63]).all()
    assert tile.valid.all()
    assert info["before"].resampling == info["after"].resampling == "none"
    assert pair.overlap == 1


def test_a_pair_that_fits_into_the_cache_is_kept_whole(
    make_tiff: Tiff, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make_tiff(name, ground(2000, 64, seed)) for seed, name in enumerate(("a.tif", "b.tif"))]
    monkeypatch.setattr(pair_module, "MIN_CACHE", 0)
    caches = []
    with open_pair(*paths) as pair:
        for most in (pair_module.WHOLE_CACHE, 0):
            monkeypatch.setattr(pair_module, "WHOLE_CACHE", most)
            with pair.environment(16):
                caches.append(getenv()["GDAL_CACHEMAX"])
    assert caches[1] < 2 * 3 * 2000 * 64 < caches[0]


@pytest.mark.parametrize(("cols", "rows"), [(20, 10), (-20, -10), (15, -30)])
def test_whole_pixel_offset_is_not_resampled(make_tiff: Tiff, ground: Ground, cols: int, rows: int) -> None:
    a, b = ground(90, 110, 1), ground(80, 100, 2)
    after = make_tiff("b.tif", b, transform=shifted(cols, rows))
    with open_pair(make_tiff("a.tif", a, transform=ORIGIN), after) as pair:
        tile = pair.read(pair.grid.window)
    whole = np.zeros((3, 300, 300), np.uint8)
    whole[:, 100 + rows : 180 + rows, 100 + cols : 200 + cols] = b
    expected = whole[:, 100:190, 100:210]
    assert (tile.after == expected).all()
    assert (tile.valid == (expected != 0).any(0)).all()
    assert (tile.before == a).all()


def test_windows_agree_with_the_whole_when_reprojected(make_tiff: Tiff, ground: Ground) -> None:
    a, b = ground(120, 130, 1), ground(150, 160, 2)
    after = make_tiff("b.tif", b, transform=shifted(-10.3, -12.6) @ Affine.scale(0.9))
    with open_pair(make_tiff("a.tif", a, transform=ORIGIN), after) as pair:
        whole = pair.read(pair.grid.window)
        part = pair.read(Window(31, 17, 64, 64))
    assert (part.valid == whole.valid[17:81, 31:95]).all()
    difference = np.abs(part.after.astype(int) - whole.after[:, 17:81, 31:95])
    assert difference.max() <= 1  # GDAL approximates the transform a little differently per window


def test_subpixel_shift_follows_bilinear_interpolation(make_tiff: Tiff) -> None:
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (3, 60, 1)) + 20
    after = make_tiff("b.tif", ramp, transform=shifted(0.5, 0))
    with open_pair(make_tiff("a.tif", ramp, transform=ORIGIN), after) as pair:
        tile = pair.read(Window(10, 10, 40, 40))
    assert (tile.before.astype(int) - tile.after == 1).all()  # half a pixel of a ramp of 2 per pixel


def test_turned_grids_are_interpolated_not_blurred(make_tiff: Tiff, ground: Ground) -> None:
    """Four neighbours decide about each pixel, whatever window is read: GDAL would take more for a window's box."""
    a, b = ground(200, 220, 1), ground(300, 300, 2)
    turned = ORIGIN @ Affine.translation(-70, -20) @ Affine.rotation(-30, (100, 100))
    after = make_tiff("b.tif", b, transform=turned)
    with open_pair(make_tiff("a.tif", a, transform=ORIGIN), after) as pair:
        whole = pair.read(Window(60, 60, 100, 90))
        part = pair.read(Window(80, 70, 40, 30))
    cols, rows = np.meshgrid(np.arange(60, 160) + 0.5, np.arange(60, 150) + 0.5)
    to_after = ~turned @ ORIGIN
    x = to_after.a * cols + to_after.b * rows + to_after.c - 0.5
    y = to_after.d * cols + to_after.e * rows + to_after.f - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    assert whole.valid.all()
    assert min(left.min(), top.min()) >= 0
    u, v = x - left, y - top
    upper = b[:, top, left] * (1 - u) + b[:, top, left + 1] * u
    lower = b[:, top + 1, left] * (1 - u) + b[:, top + 1, left + 1] * u
    assert np.abs(whole.after - (upper * (1 - v) + lower * v)).max() < 6  # the reprojection is allowed 0.02 pixels
    assert (part.after == whole.after[:, 10:40, 20:60]).mean() > 0.99


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32632", "EPSG:3857"])
@pytest.mark.parametrize("grid", ["before", "after"])
def test_two_reference_systems(make_tiff: Tiff, ground: Ground, tmp_path: Path, crs: str, grid: str) -> None:
    image = cv2.GaussianBlur(ground(200, 220, 3).transpose(1, 2, 0), (0, 0), 2).transpose(2, 0, 1)
    before = make_tiff("a.tif", image, transform=ORIGIN)
    other = tmp_path / "b.tif"
    with rasterio.open(before) as source:
        transform, width, height = calculate_default_transform(source.crs, crs, 220, 200, *source.bounds)
        profile = {**source.profile, "crs": crs, "transform": transform, "width": width, "height": height}
        with rasterio.open(other, "w", **{**profile, "nodata": 0}) as target:
            warped = np.zeros((3, height, width), np.uint8)
            reproject(image, warped, source.transform, src_crs=source.crs, dst_transform=transform, dst_crs=crs,
                      resampling=Resampling.cubic, dst_nodata=0)  # fmt: skip
            target.write(warped)
    with open_pair(before, other, grid=grid) as pair:  # type: ignore[arg-type]
        tile = pair.read(pair.grid.window)
        assert pair.grid.crs == ("EPSG:32631" if grid == "before" else crs)
    assert tile.valid.mean() > 0.85  # two UTM zones are turned against each other
    inner = cv2.erode(tile.valid.astype(np.uint8), np.ones((5, 5))) > 0
    difference = np.abs(tile.before.astype(int) - tile.after)[:, inner]
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 10


def test_points_that_cannot_be_projected_do_not_reject_a_pair(make_tiff: Tiff, ground: Ground) -> None:
    """The corners of a square about the Earth's disc lie beside it."""
    disc = "+proj=ortho +lat_0=42 +lon_0=3 +datum=WGS84"
    before = make_tiff("a.tif", ground(70, 70), crs=disc, transform=Affine(2e5, 0, -7e6, 0, -2e5, 7e6))
    after = make_tiff("b.tif", ground(40, 40, 2), crs="EPSG:4326", transform=Affine(0.5, 0, -7, 0, -0.5, 52))
    with open_pair(before, after) as pair:
        assert 0 < pair.overlap < 0.1
        assert pair.read(pair.grid.window).valid.any()


def test_grid_after_swaps_who_is_resampled(make_tiff: Tiff, ground: Ground) -> None:
    after = make_tiff("b.tif", ground(60, 70, 2), transform=shifted(3.4, 0))
    with open_pair(make_tiff("a.tif", ground(50, 50), transform=ORIGIN), after, grid="after") as pair:
        info = pair.info()
        assert (pair.grid.width, pair.grid.height) == (70, 60)
    assert (info["before"].resampling, info["after"].resampling) == ("bilinear", "none")


def test_gsd_resamples_both_dates(make_tiff: Tiff, ground: Ground) -> None:
    path = make_tiff("a.tif", ground(100, 101))
    with open_pair(path, path, gsd=1.0) as pair:
        assert (pair.grid.width, pair.grid.height) == (51, 50)
        assert pair.grid.gsd == pytest.approx(1.0)
        tile = pair.read(pair.grid.window)
    assert tile.before.shape == (3, 50, 51)
    assert (tile.before == tile.after).all()


def test_nodata_needs_all_chosen_bands(make_tiff: Tiff, ground: Ground) -> None:
    a = ground(40, 40)
    a[0, :10] = 255
    a[:, 20:30, 20:30] = 255
    path = make_tiff("a.tif", a, nodata=255)
    with open_pair(path, path) as pair:
        valid = pair.read(pair.grid.window).valid
    assert not valid[20:30, 20:30].any()
    assert np.count_nonzero(~valid) == 100
    with open_pair(path, path, nodata=None) as pair:
        assert pair.read(pair.grid.window).valid.all()


def test_nodata_of_a_fourth_band_does_not_count(make_tiff: Tiff, ground: Ground) -> None:
    data = np.concatenate([ground(60, 60), np.full((1, 60, 60), 77, np.uint8)])
    data[:3, 20:30, 20:30] = 0
    before = make_tiff("a.tif", data, nodata=0, transform=ORIGIN)
    for transform in (ORIGIN, shifted(0.5, 0.5)):
        after = make_tiff("b.tif", data, nodata=0, transform=transform)
        with open_pair(before, after) as pair:
            tile = pair.read(pair.grid.window)
        assert not tile.valid[21:29, 21:29].any()
        assert tile.after[:, tile.valid].min() > 0  # nodata is not blended into its neighbours


@pytest.mark.parametrize("transform", [ORIGIN, shifted(0.5, 0.5)])
@pytest.mark.parametrize("kind", ["alpha", "mask"])
def test_alpha_and_mask_band(make_tiff: Tiff, ground: Ground, kind: str, transform: Affine) -> None:
    image, mask = ground(60, 60), np.full((60, 60), 255, np.uint8)
    mask[10:20, 30:50] = 0
    if kind == "alpha":
        rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        after = make_tiff("b.tif", np.concatenate([image, mask[None]]), alpha=True, colors=rgba, transform=transform)
    else:
        after = make_tiff("b.tif", image, mask=mask, transform=transform)
    with open_pair(make_tiff("a.tif", image, transform=ORIGIN), after) as pair:
        valid = pair.read(pair.grid.window).valid
    assert not valid[12:18, 32:48].any()
    assert valid[25:55, 5:55].all()


HALF = shifted(0.5, 0.5)


@pytest.mark.parametrize("transform", [ORIGIN, HALF])
def test_nan_beside_a_declared_value(make_tiff: Tiff, ground: Ground, transform: Affine) -> None:
    raw = ground(60, 60).astype(np.float32)
    raw[:, 5:15], raw[:, 30:40] = -9999, np.nan
    after = make_tiff("b.tif", raw, nodata=-9999, transform=transform)
    with open_pair(make_tiff("a.tif", ground(60, 60), transform=ORIGIN), after) as pair:
        valid = pair.read(pair.grid.window).valid
    assert not valid[6:14].any()
    assert not valid[31:39].any()
    assert valid[17:28, 2:58].all()
    assert valid[42:58, 2:58].all()


@pytest.mark.parametrize("transform", [ORIGIN, HALF])
def test_nan_and_the_declared_value_in_one_pixel(make_tiff: Tiff, ground: Ground, transform: Affine) -> None:
    raw = ground(60, 60).astype(np.float32)
    raw[0, 5:15], raw[1:, 5:15] = -9999, np.nan
    after = make_tiff("b.tif", raw, nodata=-9999, transform=transform)
    with open_pair(make_tiff("a.tif", ground(60, 60), transform=ORIGIN), after) as pair:
        valid = pair.read(pair.grid.window).valid
    assert not valid[6:14].any()
    assert valid[17:58, 2:58].all()


@pytest.mark.parametrize("transform", [ORIGIN, HALF])
@pytest.mark.parametrize("order", ["RGBA", "ARGB"])
@pytest.mark.parametrize("nodata", [None, 0])
def test_alpha_and_nodata_both_count(
    make_tiff: Tiff, ground: Ground, order: str, nodata: int | None, transform: Affine
) -> None:
    kinds = {"R": ColorInterp.red, "G": ColorInterp.green, "B": ColorInterp.blue, "A": ColorInterp.alpha}
    image, alpha = ground(60, 60), np.full((60, 60), 255, np.uint8)
    image[:, 5:15], alpha[30:40] = 0, 0
    planes = {"R": image[0], "G": image[1], "B": image[2], "A": alpha}
    data, colors = np.stack([planes[letter] for letter in order]), [kinds[letter] for letter in order]
    extra = {"photometric": "MINISBLACK", "ALPHA": "NO"}
    after = make_tiff("b.tif", data, nodata=nodata, transform=transform, colors=colors, **extra)
    with open_pair(make_tiff("a.tif", ground(60, 60), transform=ORIGIN), after) as pair:
        tile = pair.read(pair.grid.window)
    assert tile.valid[6:14].any() == (nodata is None)
    assert not tile.valid[31:39].any()
    assert tile.valid[17:28, 2:58].all()
    with open_pair(make_tiff("c.tif", ground(60, 60), transform=ORIGIN), after, nodata=None) as pair:
        assert pair.read(pair.grid.window).valid[2:58, 2:58].all()


def test_nodata_is_not_blended_into_what_an_alpha_band_shows(make_tiff: Tiff) -> None:
    data = np.full((4, 60, 60), 200, np.uint8)
    data[:3, :30], data[3] = 0, 255
    rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    after = make_tiff("b.tif", data, nodata=0, alpha=True, colors=rgba, transform=HALF)
    with open_pair(make_tiff("a.tif", data[:3] + 1, transform=ORIGIN), after) as pair:
        tile = pair.read(pair.grid.window)
    assert tile.valid[32:, 2:].all()
    assert (tile.after[:, tile.valid] == 200).all()


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("uint16", 0), ("int16", -9999), ("float32", -3.4e38)])
@pytest.mark.parametrize("kind", ["alpha", "mask"])
def test_hidden_values_are_not_blended_where_nodata_is_declared_too(
    make_tiff: Tiff, kind: str, dtype: str, nodata: float
) -> None:
    """Bright pixels that alpha or mask hide; half transparent ones are shown."""
    image, shown = np.full((3, 60, 60), 100, dtype), np.full((60, 60), 255, np.uint8)
    image[:, 20:30, 20:30], shown[20:30, 20:30] = 250, 0
    dataset: dict[str, Any] = {"nodata": nodata, "transform": shifted(0.4, 0.3)}
    image[:, 40:50, 40:50] = nodata
    if kind == "alpha":
        shown[5:9, 5:9] = 128
        colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        planes = np.concatenate([image, shown[None].astype(dtype)])
        after = make_tiff("b.tif", planes, alpha=True, colors=colors, **dataset)
    else:
        after = make_tiff("b.tif", image, mask=shown, **dataset)
    before = make_tiff("a.tif", np.full((3, 60, 60), 100, np.uint8), transform=ORIGIN)
    with open_pair(before, after, stretch="none") as pair:
        tile = pair.read(pair.grid.window)
    assert (tile.after[:, tile.valid] == 100).all()
    assert not tile.valid[22:29, 22:29].any()
    assert tile.valid[2:19, 2:58].all()
    assert not tile.valid[42:49, 42:49].any()


def test_a_large_scene_with_little_data_is_found(make_tiff: Tiff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schanger_edge.scene.values.LARGE", 1000)
    raw = np.zeros((3, 900, 900), np.uint16)
    raw[:, 150:190, 152:192] = 700
    path = make_tiff("a.tif", raw, nodata=0)
    with open_pair(path, path) as pair:
        assert pair.read(pair.grid.window).valid.sum() == 1600


def test_a_band_without_a_number(make_tiff: Tiff, ground: Ground) -> None:
    raw = ground(40, 40).astype(np.float32)
    raw[0], raw[1] = np.nan, -3.4e38
    path = make_tiff("a.tif", raw)
    with open_pair(path, path) as pair:
        tile = pair.read(pair.grid.window)
    assert tile.valid.all()
    assert (tile.before[0] == 0).all()
    assert np.unique(tile.before[2]).size > 50


def test_band_subset_of_a_name_with_blanks(make_tiff: Tiff, ground: Ground, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = np.concatenate([ground(50, 50)] * 2)[:5]
    before, after = make_tiff("a.tif", data, transform=ORIGIN), make_tiff(" b & <c>.tif", data, transform=HALF)
    monkeypatch.chdir(tmp_path)
    for name in (after.name, f"file://{after}"):
        with open_pair(before, name) as pair:
            assert pair.read(pair.grid.window).valid[1:, 1:].all()


def test_a_resampled_vrt_connection_keeps_its_bands(make_tiff: Tiff, ground: Ground) -> None:
    image = ground(50, 50)
    before, turned = make_tiff("a.tif", image, transform=ORIGIN), make_tiff("b.tif", image[::-1], transform=HALF)
    straight = make_tiff("c.tif", image, transform=HALF)
    swapped, bands = f"vrt://{turned}?bands=3,2,1", (1, 2, 3)
    with open_pair(before, swapped, bands=bands) as one, open_pair(before, straight, bands=bands) as other:
        assert (one.read(one.grid.window).after == other.read(other.grid.window).after).all()


@pytest.mark.parametrize(
    "crs", ['LOCAL_CS["Arbitrary",UNIT["metre",1]]', "+proj=longlat +R=1737400 +no_defs", "+proj=eqc +R=1737400"]
)
def test_strange_reference_systems(make_tiff: Tiff, ground: Ground, crs: str) -> None:
    transform = Affine(0.01, 0, 10, 0, -0.01, 20)
    odd = make_tiff("a.tif", ground(30, 30), crs=crs, transform=transform)
    with open_pair(odd, odd) as pair:
        assert pair.grid.gsd is None or pair.grid.gsd > 0
        assert pair.read(pair.grid.window).valid.all()
    with pytest.raises(SceneError):
        open_pair(make_tiff("b.tif", ground(30, 30)), odd)


def test_bands_follow_colour_interpretation_or_the_user(make_tiff: Tiff, ground: Ground) -> None:
    image = ground(30, 30)
    bgr = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    path = make_tiff("a.tif", image, colors=bgr, photometric="MINISBLACK")
    with open_pair(path, path) as pair:
        assert (pair.read(pair.grid.window).before == image[::-1]).all()
    with open_pair(path, path, bands=(2, 2, 1)) as pair:
        assert (pair.read(pair.grid.window).before == image[[1, 1, 0]]).all()
    gray = make_tiff("g.tif", image[:1])
    with open_pair(gray, gray) as pair:
        assert (pair.read(pair.grid.window).before == image[[0, 0, 0]]).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("transform", [ORIGIN, shifted(0.4, 0)])
def test_other_types_are_stretched_once_per_scene(
    make_tiff: Tiff, ground: Ground, dtype: type, transform: Affine
) -> None:
    image = ground(80, 80)
    raw = (image * 40.0 + 300).astype(dtype)
    raw[:, :5] = 0
    path = make_tiff("a.tif", raw, nodata=0, transform=ORIGIN)
    other = make_tiff("b.tif", raw, nodata=0, transform=transform)
    with open_pair(path, other) as pair:
        tile, info = pair.read(pair.grid.window), pair.info()["before"]
        corner = pair.read(Window(40, 40, 20, 20))
    low, high = (np.percentile(raw[:, 5:].reshape(3, -1), p, axis=1) for p in (1, 99))
    assert info.stretch is not None
    np.testing.assert_allclose(info.stretch.low, low)
    np.testing.assert_allclose(info.stretch.high, high)
    expected = np.clip((raw - low[:, None, None]) / (high - low)[:, None, None], 0, 1) * 255
    assert np.abs(tile.before[:, 5:] - expected[:, 5:]).max() <= 1
    assert (corner.before == tile.before[:, 40:60, 40:60]).all()
    assert not tile.valid[:5].any()
    assert tile.valid[8:, 2:].all()


def test_nan_is_nodata_also_undeclared(make_tiff: Tiff, ground: Ground) -> None:
    raw = ground(50, 50).astype(np.float32) / 255
    raw[:, 10:20, 10:20] = np.nan
    before = make_tiff("a.tif", raw, transform=ORIGIN)
    after = make_tiff("b.tif", raw, transform=shifted(0.5, 0))
    with open_pair(before, after) as pair:
        tile = pair.read(pair.grid.window)
    assert not tile.valid[10:20, 11:19].any()
    assert tile.valid[25:, 2:].all()


def test_plain_images_of_equal_size(tmp_path: Path, ground: Ground) -> None:
    image = ground(40, 50)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), image[::-1].transpose(1, 2, 0))
    with open_pair(tmp_path / "a.png", tmp_path / "b.png") as pair:
        assert pair.grid.crs is None
        assert pair.grid.gsd is None
        assert (pair.read(pair.grid.window).before == image).all()


def test_statistics_describe_what_the_network_sees(make_tiff: Tiff, ground: Ground) -> None:
    image = ground(60, 60)
    image[:, :20] = 0
    path = make_tiff("a.tif", image, nodata=0)
    with open_pair(path, path) as pair:
        mean, std = pair.statistics()["before"]
    np.testing.assert_allclose(mean, image[:, 20:].mean((1, 2)) / 255)
    np.testing.assert_allclose(std, image[:, 20:].std((1, 2)) / 255)


def test_large_scenes_are_sampled_without_reading_all(make_tiff: Tiff, ground: Ground, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("schanger_edge.scene.values.LARGE", 1000)
    image = ground(900, 1000)
    path = make_tiff("a.tif", image)
    with open_pair(path, path) as pair:
        mean, _ = pair.statistics()["after"]
    np.testing.assert_allclose(mean, image.mean((1, 2)) / 255, atol=0.02)


class TestRefusals:
    """One sentence each."""

    def check(self, *paths: Path, match: str, **options: object) -> None:
        with pytest.raises(SceneError, match=match) as caught:
            open_pair(*paths, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    def test_no_overlap(self, make_tiff: Tiff, ground: Ground) -> None:
        a = make_tiff("a.tif", ground(30, 30), transform=ORIGIN)
        b = make_tiff("b.tif", ground(30, 30), transform=shifted(500, 0))
        c = make_tiff("c.tif", ground(30, 30), transform=Affine(1e-5, 0, 20, 0, -1e-5, 30), crs="EPSG:4326")
        self.check(a, b, match="do not overlap")
        self.check(a, c, match="do not overlap")

    def test_georeference_on_one_side(self, make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
        a = make_tiff("a.tif", ground(30, 30))
        cv2.imwrite(str(tmp_path / "b.png"), ground(30, 30).transpose(1, 2, 0))
        self.check(a, tmp_path / "b.png", match=r"b\.png has no georeference")
        self.check(tmp_path / "b.png", a, match=r"b\.png has no georeference")
        bare = make_tiff("c.tif", ground(30, 30), crs=None, transform=ORIGIN)
        self.check(a, bare, match=r"c\.tif has no CRS")

    def test_plain_images_of_different_size(self, tmp_path: Path, ground: Ground) -> None:
        cv2.imwrite(str(tmp_path / "a.png"), ground(30, 30).transpose(1, 2, 0))
        cv2.imwrite(str(tmp_path / "b.png"), ground(30, 31).transpose(1, 2, 0))
        self.check(tmp_path / "a.png", tmp_path / "b.png", match="differ in size")

    def test_files(self, make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
        a = make_tiff("a.tif", ground(30, 30))
        text = tmp_path / "notes.txt"
        text.write_text("not an image")
        self.check(a, tmp_path / "none.tif", match="does not exist")
        self.check(text, a, match="cannot be opened as an image")
        self.check(tmp_path, a, match="is a folder")
        self.check(Path(""), a, match="is a folder")

    def test_options(self, make_tiff: Tiff, ground: Ground) -> None:
        a = make_tiff("a.tif", ground(30, 30))
        self.check(a, a, match="--bands", bands=(1, 2, 4))
        self.check(a, a, match="--bands", bands=(1, 2))
        self.check(a, a, match="--gsd", gsd=-1.0)
        self.check(a, a, match="--gsd", gsd=1e-12)
        self.check(a, a, match="--gsd", gsd=1e-300)
        self.check(a, a, match="nodata must be", nodata="black")
        self.check(a, a, match="grid must be", grid="middle")

    def test_palette_and_complex(self, make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
        path = tmp_path / "p.tif"
        profile = {"driver": "GTiff", "width": 9, "height": 9, "count": 2, "dtype": "uint8"}
        with rasterio.open(path, "w", photometric="PALETTE", **profile) as dataset:
            dataset.write_colormap(1, {0: (1, 2, 3, 255)})
        self.check(path, path, match="palette that cannot be used directly", bands=(1, 2, 2))
        complex_path = make_tiff("c.tif", ground(9, 9).astype(np.complex64))
        self.check(complex_path, complex_path, match="pixels of type")

    def test_container(self, tmp_path: Path, make_tiff: Tiff, ground: Ground) -> None:
        page, container = make_tiff("a.tif", ground(16, 16)), tmp_path / "two.gpkg"
        with rasterio.open(page) as source:
            for name in ("x", "y"):
                copy(source, container, driver="GPKG", RASTER_TABLE=name, APPEND_SUBDATASET="YES")
        self.check(container, page, match=r"container without bands.*two\.gpkg:X")

    def test_truncated_file_names_itself_on_reading(self, make_tiff: Tiff, ground: Ground) -> None:
        whole = make_tiff("a.tif", ground(300, 300), tiled=True, blockxsize=128, blockysize=128, compress="deflate")
        cut = whole.with_name("cut.tif")
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        other = make_tiff("o.tif", ground(300, 300), transform=shifted(0.5, 0.5))
        for path in (whole, other):
            with pytest.raises(SceneError, match=r"cut\.tif .*(damaged|cannot be)"), open_pair(path, cut) as pair:
                pair.read(pair.grid.window)

    def test_scene_without_a_valid_pixel(self, make_tiff: Tiff) -> None:
        empty = make_tiff("a.tif", np.zeros((3, 20, 20), np.uint16), nodata=0)
        self.check(empty, empty, match="no valid pixel")

    def test_png_without_its_end_is_refused(self, tmp_path: Path, ground: Ground) -> None:
        """GDAL would read noise from where the file was cut."""
        whole, cut = tmp_path / "a.png", tmp_path / "b.png"
        cv2.imwrite(str(whole), ground(60, 60, 1).transpose(1, 2, 0))
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(SceneError, match=r"b\.png is incomplete"), open_pair(whole, cut):
            pass
        cut.write_bytes(whole.read_bytes() + b"a note after the end")
        with open_pair(whole, cut) as pair:
            assert pair.grid.width == 60


def test_pixels_that_are_not_square_on_the_ground(make_tiff: Tiff, ground: Ground) -> None:
    for latitude, told in ((60, 1), (10, 0)):
        place = Affine(5e-6, 0, 10, 0, -5e-6, latitude)
        path = make_tiff("a.tif", ground(40, 40), crs="EPSG:4326", transform=place)
        with open_pair(path, path) as pair:
            assert ["not square on the ground" in warning for warning in pair.warnings] == [True] * told


@pytest.mark.parametrize("nested", [False, True])
def test_a_vrt_in_letters_that_rasterio_cannot_read(tmp_path: Path, nested: bool) -> None:
    """It would lose GDAL's error that the source is missing, and read zeros."""
    form = b'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand band="1"><SimpleSource><SourceFilename>%b' + (
        b"</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "a.vrt").write_bytes(form % b"\xff.tif")
    (tmp_path / "b.vrt").write_bytes(form % bytes(tmp_path / "a.vrt"))
    path = tmp_path / ("b.vrt" if nested else "a.vrt")
    with pytest.raises(SceneError, match=r"\.vrt holds letters that are no UTF-8"), open_pair(path, path):
        pass


def test_an_error_of_gdal_that_rasterio_cannot_read(tmp_path: Path) -> None:
    vrt = b'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand band="1" dataType="\xff"/></VRTDataset>'
    (tmp_path / "a.vrt").write_bytes(vrt)
    with pytest.raises(SceneError, match=r"a\.vrt cannot be opened as an image"), open_pair(*[tmp_path / "a.vrt"] * 2):
        pass
