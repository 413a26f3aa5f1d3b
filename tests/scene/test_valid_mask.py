"""Masks of usable pixels: any grid and CRS, nearest pixel, one date at a time, moved with their image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from affine import Affine
from helpers import Ground, MakePair, Tiff
from rasterio.warp import Resampling, calculate_default_transform, reproject

from schanger_edge.errors import SceneError
from schanger_edge.scene import open_pair

ORIGIN = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)
SIDE = 96
CLOUD = np.zeros((SIDE, SIDE), bool)
CLOUD[24:48, 32:64] = True


@pytest.fixture
def pair(make_pair: MakePair) -> tuple[Path, Path]:
    return make_pair(SIDE, SIDE)


def usable(cloud: np.ndarray = CLOUD, value: int = 1) -> np.ndarray:
    return np.where(cloud, 0, value).astype(np.uint8)[None]


def validity(pair: Any, **options: Any) -> np.ndarray:
    with open_pair(*pair, **options) as opened:
        return opened.read(opened.grid.window).valid


@pytest.mark.parametrize("date", ["before", "after"])
@pytest.mark.parametrize("value", [1, 255])
def test_nonzero_is_usable(pair: Any, make_tiff: Tiff, date: str, value: int) -> None:
    mask = make_tiff("m.tif", usable(value=value))
    with open_pair(*pair, **{f"valid_masks_{date}": [mask]}) as opened:  # type: ignore[arg-type]
        whole = opened.grid.window
        assert np.array_equal(opened.read(whole).valid, ~CLOUD)
        assert np.array_equal(opened.read_date(date, whole)[1], ~CLOUD)  # type: ignore[arg-type]
        other = "after" if date == "before" else "before"
        assert opened.read_date(other, whole)[1].all()  # type: ignore[arg-type]
        info = opened.info()
        assert (info[date].valid_masks, info[other].valid_masks) == ((str(mask),), ())
        assert str(mask) in opened.identity()[date]["files"]


def test_several_must_all_agree(pair: Any, make_tiff: Tiff) -> None:
    clouds, shadows = make_tiff("c.tif", usable()), make_tiff("s.tif", usable(CLOUD.T))
    assert np.array_equal(validity(pair, valid_masks_after=[clouds, shadows]), ~(CLOUD | CLOUD.T))


def test_coarser_pixels_by_the_nearest(pair: Any, make_tiff: Tiff) -> None:
    mask = make_tiff("m.tif", usable(CLOUD[::8, ::8]), transform=ORIGIN @ Affine.scale(8))
    assert np.array_equal(validity(pair, valid_masks_before=mask), ~CLOUD)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_another_reference_system(pair: Any, make_tiff: Tiff, crs: str) -> None:
    bounds = (500_000, 4_650_000 - SIDE / 2, 500_000 + SIDE / 2, 4_650_000)
    transform, width, height = calculate_default_transform("EPSG:32631", crs, SIDE * 4, SIDE * 4, *bounds)
    warped = np.zeros((1, height, width), np.uint8)
    reproject(
        usable(), warped, src_transform=ORIGIN, src_crs="EPSG:32631", dst_transform=transform, dst_crs=crs,
        resampling=Resampling.nearest,
    )  # fmt: skip
    valid = validity(pair, valid_masks_after=[make_tiff("m.tif", warped, transform=transform, crs=crs)])
    edge = cv2.morphologyEx(CLOUD.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    edge[:2], edge[-2:], edge[:, :2], edge[:, -2:] = True, True, True, True
    assert np.array_equal(valid[~edge], ~CLOUD[~edge])


def test_where_it_has_no_data_or_does_not_reach(pair: Any, make_tiff: Tiff) -> None:
    small = usable(np.zeros((60, 60), bool))
    small[:, :10] = 77
    mask = make_tiff("m.tif", small, nodata=77, transform=ORIGIN @ Affine.translation(20, 30))
    expected = np.zeros((SIDE, SIDE), bool)
    expected[40:90, 20:80] = True
    assert np.array_equal(validity(pair, valid_masks_before=[mask]), expected)


def test_nan_is_not_usable(pair: Any, make_tiff: Tiff) -> None:
    mask = make_tiff("m.tif", np.where(CLOUD, np.nan, 0.5).astype(np.float32)[None])
    assert np.array_equal(validity(pair, valid_masks_before=[mask]), ~CLOUD)


def test_the_first_band_counts(pair: Any, make_tiff: Tiff) -> None:
    """As in UDM2 files, whose band 1 is the clear pixels."""
    bands = np.concatenate([usable(), *[usable(CLOUD.T)] * 7])
    mask = make_tiff("udm2.tif", bands, nodata=0)
    assert np.array_equal(validity(pair, valid_masks_after=[mask]), ~CLOUD)


def test_it_moves_with_its_image(pair: Any, make_tiff: Tiff) -> None:
    mask = make_tiff("m.tif", usable())
    with open_pair(*pair, valid_masks_after=[mask]) as opened:
        opened.align(Affine.translation(6, -4))
        valid = opened.read(opened.grid.window).valid
    moved = np.zeros((SIDE, SIDE), bool)
    moved[:-4, 6:] = ~CLOUD[4:, :-6]
    assert np.array_equal(valid, moved)


def test_images_on_another_grid(make_tiff: Tiff, ground: Ground) -> None:
    """The mask is laid on the pair's grid, not on its image's."""
    before = make_tiff("a.tif", ground(48, 48, 1), transform=ORIGIN @ Affine.scale(2))
    after = make_tiff("b.tif", ground(SIDE, SIDE, 2))
    mask = make_tiff("m.tif", usable())
    assert np.array_equal(validity((before, after), valid_masks_after=[mask]), ~CLOUD[::2, ::2])


def test_plain_images(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "m.png")]
    for path, image in zip(paths, (ground(SIDE, SIDE, 1), ground(SIDE, SIDE, 2), usable(value=255)), strict=True):
        cv2.imwrite(str(path), image.transpose(1, 2, 0))
    assert np.array_equal(validity(paths[:2], valid_masks_before=[paths[2]]), ~CLOUD)
    georeferenced = make_tiff("a.tif", ground(SIDE, SIDE, 1))
    assert np.array_equal(validity([georeferenced] * 2, valid_masks_before=[paths[2]]), ~CLOUD)
    with pytest.raises(SceneError, match=r"only one of the valid mask .* has a CRS"):
        validity(paths[:2], valid_masks_before=[georeferenced])
    cv2.imwrite(str(paths[2]), usable()[0, :40])
    with pytest.raises(SceneError, match=r"m\.png has no georeference, and its size differs"):
        validity(paths[:2], valid_masks_before=[paths[2]])


@pytest.mark.parametrize("large", [1_000, 64_000_000])
def test_clouds_have_no_say_in_the_stretch(
    make_tiff: Tiff, ground: Ground, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr("schanger_edge.scene.values.LARGE", large)
    raw = ground(SIDE, SIDE).astype(np.uint16)
    expected = np.percentile(raw[:, ~CLOUD], (1, 99), axis=1)
    raw[:, CLOUD] = 60_000
    path, mask = make_tiff("a.tif", raw), make_tiff("m.tif", usable())
    with open_pair(path, path, valid_masks_before=[mask]) as opened:
        info = opened.info()
    assert info["before"].stretch is not None
    assert info["after"].stretch is not None
    np.testing.assert_allclose((info["before"].stretch.low, info["before"].stretch.high), expected, atol=3)
    assert info["after"].stretch.high[0] == 60_000


def test_one_sentence(pair: Any, make_tiff: Tiff, tmp_path: Path) -> None:
    (tmp_path / "areas.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    nothing = make_tiff("m.tif", usable(np.ones((SIDE, SIDE), bool)))
    floating = make_tiff("f.tif", np.ones((3, SIDE, SIDE), np.float32))
    cases: list[tuple[Any, str, str]] = [
        (pair, str(tmp_path / "none.tif"), "does not exist"),
        (pair, str(tmp_path / "areas.geojson"), "cannot be opened as an image"),
        ([floating] * 2, str(nothing), "has no valid pixel: check its valid mask"),
    ]
    for images, mask, sentence in cases:
        with pytest.raises(SceneError, match=sentence) as caught:
            open_pair(*images, valid_masks_after=[mask])
        assert "\n" not in str(caught.value)
