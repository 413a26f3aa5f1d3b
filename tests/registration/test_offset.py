"""The offset of two files: its sign, its precision, its limits, and None where the scene does not tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyogrio.raw
import pytest
import shapely
from affine import Affine
from helpers import Tiff, terrain

from schanger_edge.geo.grid import Window
from schanger_edge.registration.offset import Registration, estimate_offset
from schanger_edge.scene import Pair, PairTile, open_pair

ORIGIN = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)
SIDE = 400


def estimated(before: Path, after: Path, **options: object) -> Registration:
    with open_pair(before, after, **options) as pair:  # type: ignore[arg-type]
        return estimate_offset(pair)


def unlike(tile: PairTile) -> float:
    """Mean difference of the dates away from what has no data."""
    inner = cv2.erode(tile.valid.astype(np.uint8), np.ones((9, 9))) > 0
    return float(np.abs(tile.before.astype(int) - tile.after)[:, inner].mean())


@pytest.mark.parametrize("offset", [(0, 0), (0.3, -0.4), (1.5, 2.25), (7.7, -3.2), (25, 10), (-60, 33)])
def test_sign_and_precision(make_tiff: Tiff, offset: tuple[float, float]) -> None:
    """A thing at pixel p of the after image is at p + offset in the before image."""
    before = make_tiff("a.tif", terrain(SIDE, SIDE))
    after = make_tiff("b.tif", terrain(SIDE, SIDE, at=offset))
    found = estimated(before, after)
    assert found.offset == pytest.approx(offset, abs=0.05)
    assert found.largest == pytest.approx(np.hypot(*offset), abs=0.06)
    assert found.agreeing == len(found.matched) >= 0.75 * found.tried > 0


@pytest.mark.parametrize("grid", ["before", "after"])
def test_a_false_georeference_is_the_same_offset(make_tiff: Tiff, grid: str) -> None:
    """The file says it lies 2.5 columns to the right and 1.25 rows down from where it does."""
    image = terrain(SIDE, SIDE)
    before = make_tiff("a.tif", image, transform=ORIGIN)
    after = make_tiff("b.tif", image, transform=ORIGIN @ Affine.translation(2.5, 1.25))
    assert estimated(before, after, grid=grid).offset == pytest.approx((-2.5, -1.25), abs=0.05)


def test_the_offset_counts_in_pixels_of_the_common_grid(make_tiff: Tiff) -> None:
    before = make_tiff("a.tif", terrain(600, 600))
    after = make_tiff("b.tif", terrain(600, 600, at=(4, -2)))
    assert estimated(before, after, gsd=1.0).offset == pytest.approx((2, -1), abs=0.05)


def test_beyond_the_reach_it_is_not_known(make_tiff: Tiff) -> None:
    found = estimated(make_tiff("a.tif", terrain(SIDE, SIDE)), make_tiff("b.tif", terrain(SIDE, SIDE, at=(300, 0))))
    assert found.offset is None
    assert found.offset_at(10, 10) == (0, 0)
    assert found.largest == 0


def test_pixels_without_data_have_no_say(make_tiff: Tiff) -> None:
    """Both files have the same frame without data, which does not move while the ground does."""
    before, after = terrain(SIDE, SIDE), terrain(SIDE, SIDE, at=(2.2, -1.7))
    frame = np.ones((SIDE, SIDE), np.bool_)
    frame[45:-45, 45:-45] = False
    before[:, frame] = after[:, frame] = 0
    found = estimated(make_tiff("a.tif", before, nodata=0), make_tiff("b.tif", after, nodata=0))
    assert found.offset == pytest.approx((2.2, -1.7), abs=0.05)


def clipped(folder: Path, left: float, top: float, right: float, bottom: float) -> Path:
    """An area of interest: a box in the scene's pixels."""
    box = shapely.box(*(ORIGIN @ (left, top)), *(ORIGIN @ (right, bottom)))
    path = folder / "aoi.gpkg"
    pyogrio.raw.write(path, shapely.to_wkb(np.array([box])), [], [], geometry_type="Polygon", crs="EPSG:32631")
    return path


@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((1000, 200, 1010, 210), Window(855, 55, 300, 300)),  # too small, so widened about its middle
        ((1290, 490, 1310, 510), Window(1000, 200, 300, 300)),  # at the corner and beyond it
        ((820, 0, 1280, 500), Window(820, 0, 460, 500)),  # large enough
        ((600, 100, 1300, 120), Window(600, 0, 700, 300)),  # too low
    ],
)
def test_only_ground_about_the_area_of_interest_is_looked_at(
    make_tiff: Tiff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: Any, area: Window
) -> None:
    """The left part of the scene moves in another way than the rest, where the area of interest lies."""
    monkeypatch.setattr("schanger_edge.registration.offset.LEAST", 300)
    after = terrain(500, 1300, at=(3, 1))
    after[:, :, :580] = terrain(500, 1300, at=(-4, 2))[:, :, :580]
    paths = make_tiff("a.tif", terrain(500, 1300)), make_tiff("b.tif", after)
    seen: list[Window] = []
    read = Pair.read_date

    def spied(self: Pair, date: Any, window: Window) -> Any:
        seen.append(window)
        return read(self, date, window)

    monkeypatch.setattr(Pair, "read_date", spied)
    found = estimated(*paths, clip=clipped(tmp_path, *box))
    assert found.area == area
    assert found.offset == pytest.approx((3, 1), abs=0.05)
    assert found.largest == pytest.approx(np.hypot(3, 1), abs=0.06)
    near = Window(area.col_off - 4, area.row_off - 2, area.width + 8, area.height + 4)  # by the coarse offset
    assert seen
    assert all(window.intersection(near) == window for window in seen)


def test_a_common_motion_is_told_at_the_area_of_interest(make_tiff: Tiff, tmp_path: Path) -> None:
    """The after image is 0.4 % wider: the farther right, the larger the offset."""
    paths = make_tiff("a.tif", terrain(900, 2400)), make_tiff("b.tif", terrain(900, 2400, stretch=1.004))
    found = estimated(*paths, clip=clipped(tmp_path, 1500, 0, 2400, 900))
    assert found.consensus is not None
    assert found.consensus.kind == "affine"
    assert found.offset == pytest.approx((-1950 * 0.004, 0), abs=0.1)
    assert found.largest == pytest.approx(2400 * 0.004, abs=0.2)


def test_other_ground_has_no_offset(make_tiff: Tiff) -> None:
    for seed in (1, 2, 3):
        before = make_tiff("a.tif", terrain(SIDE, SIDE, seed=seed))
        found = estimated(before, make_tiff("b.tif", terrain(SIDE, SIDE, seed=seed + 10)))
        assert found.offset is None
        assert found.tried == 25


def test_a_scene_without_features_has_no_offset(make_tiff: Tiff) -> None:
    """Water: nothing but the noise of two sensors."""
    for level in (0, 4):
        rng = np.random.default_rng(0)
        dates = [np.clip(80 + rng.normal(0, level, (3, SIDE, SIDE)), 1, 254).astype(np.uint8) for _ in range(2)]
        found = estimated(make_tiff("a.tif", dates[0]), make_tiff("b.tif", dates[1]))
        assert found.offset is None


def test_where_most_changed_the_rest_decides_or_nothing(make_tiff: Tiff) -> None:
    before, after = terrain(SIDE, SIDE), terrain(SIDE, SIDE, at=(3, 1))
    other = terrain(SIDE, SIDE, seed=7)
    path = make_tiff("a.tif", before)
    for kept, expected in ((SIDE // 2, (3, 1)), (SIDE // 6, (3, 1)), (SIDE // 20, None)):
        changed = after.copy()
        changed[:, :, kept:] = other[:, :, kept:]
        found = estimated(path, make_tiff("b.tif", changed)).offset
        assert found is None if expected is None else found == pytest.approx(expected, abs=0.1)


def test_local_offsets_are_told_apart_from_the_common_one(make_tiff: Tiff) -> None:
    """A corner of the scene leans over by six pixels, as a hill seen obliquely does."""
    before, after = terrain(600, 600), terrain(600, 600, at=(0.5, 0.5))
    after[:, 400:, 400:] = terrain(600, 600, at=(6.5, 0.5))[:, 400:, 400:]
    found = estimated(make_tiff("a.tif", before), make_tiff("b.tif", after))
    assert found.offset == pytest.approx((0.5, 0.5), abs=0.05)
    astray = found.astray(2.0)
    assert [(window.col > 400, window.row > 400) for _, window in astray] == [(True, True)] * len(astray)
    assert astray[0][0] == pytest.approx(6, abs=0.3)
    assert astray[0][1].offset == pytest.approx((6.5, 0.5), abs=0.3)
    assert found.astray(7.0) == []


def test_rotation_is_an_affine(make_tiff: Tiff) -> None:
    side = 700
    before = terrain(side, side)
    turned = Affine.rotation(0.6, (side / 2, side / 2))  # from after to before
    matrix = np.array([[turned.a, turned.b, turned.c], [turned.d, turned.e, turned.f]])
    inverse = cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC
    after = cv2.warpAffine(
        before.transpose(1, 2, 0), matrix, (side, side), flags=inverse, borderMode=cv2.BORDER_REFLECT
    )
    with open_pair(make_tiff("a.tif", before), make_tiff("b.tif", after.transpose(2, 0, 1))) as pair:
        found = estimate_offset(pair)
        assert found.consensus is not None
        assert found.consensus.kind == "affine"
        for corner in ((0, 0), (side, 0), (0, side), (side, side)):
            assert np.subtract(found.consensus.motion @ corner, turned @ corner) == pytest.approx((0, 0), abs=0.3)
        pair.align(found.consensus.motion)
        assert estimate_offset(pair).largest < 0.2


def test_small_scenes_are_not_guessed_at(make_tiff: Tiff) -> None:
    image = terrain(40, 500)
    found = estimated(make_tiff("a.tif", image), make_tiff("b.tif", image))
    assert (found.offset, found.tried) == (None, 0)


@pytest.mark.parametrize("grid", ["before", "after"])
def test_aligning_moves_the_image_without_the_grid(make_tiff: Tiff, grid: str) -> None:
    before = make_tiff("a.tif", terrain(SIDE, SIDE))
    after = make_tiff("b.tif", terrain(SIDE, SIDE, at=(2.5, -1.3)))
    with open_pair(before, after, grid=grid) as pair:  # type: ignore[arg-type]
        untouched = pair.read(pair.grid.window)
        found = estimate_offset(pair)
        assert found.consensus is not None
        pair.align(found.consensus.motion)
        assert estimate_offset(pair).largest < 0.05
        tile = pair.read(pair.grid.window)
        info = pair.info()
        owner, other = ("before", "after") if grid == "before" else ("after", "before")
        assert (getattr(tile, owner) == getattr(untouched, owner)).all()
        assert (info[owner].resampling, info[other].resampling) == ("none", "bilinear")
        assert unlike(tile) < 0.1 * unlike(untouched)
        assert not tile.valid.all()  # the moved image leaves a border without data
        pair.align(Affine.identity())
        again = pair.read(pair.grid.window)
    assert (again.before == untouched.before).all()
    assert (again.after == untouched.after).all()


def test_whole_pixels_are_moved_without_resampling(make_tiff: Tiff) -> None:
    image = terrain(SIDE, SIDE, at=(3, -2))
    with open_pair(make_tiff("a.tif", terrain(SIDE, SIDE)), make_tiff("b.tif", image)) as pair:
        assert pair.align(Affine.translation(3.04, -1.97)) == Affine.translation(3, -2)
        assert pair.info()["after"].resampling == "none"
        tile = pair.read(Window(0, 0, SIDE, SIDE))
        assert pair.overlap < 1
    assert (tile.after[:, : SIDE - 2, 3:] == image[:, 2:, : SIDE - 3]).all()
    assert (tile.after[:, tile.valid] == tile.before[:, tile.valid]).all()


def test_a_small_rotation_is_not_rounded_to_whole_pixels(make_tiff: Tiff) -> None:
    """Its numbers are near those of the identity, and at the far corner it moves by two pixels."""
    motion = Affine(1.004, 0.003, 0.05, -0.003, 1.004, 0.02)
    with open_pair(make_tiff("a.tif", terrain(SIDE, SIDE)), make_tiff("b.tif", terrain(SIDE, SIDE))) as pair:
        assert pair.align(motion) == motion
        assert pair.info()["after"].resampling == "bilinear"


def test_two_reference_systems_are_aligned(make_tiff: Tiff, tmp_path: Path) -> None:
    """The after image in degrees, its georeference false by a few pixels."""
    from rasterio.enums import Resampling
    from rasterio.warp import calculate_default_transform, reproject

    image = terrain(SIDE, SIDE)
    bounds = (500_000, 4_650_000 - SIDE / 2, 500_000 + SIDE / 2, 4_650_000)
    place, width, height = calculate_default_transform("EPSG:32631", "EPSG:4326", SIDE, SIDE, *bounds)
    warped = np.zeros((3, height, width), np.uint8)
    reproject(image, warped, src_transform=ORIGIN, src_crs="EPSG:32631", dst_transform=place, dst_crs="EPSG:4326",
              resampling=Resampling.cubic, dst_nodata=0)  # fmt: skip
    false = place @ Affine.translation(3.4, -2.6)
    before = make_tiff("a.tif", image)
    with open_pair(before, make_tiff("b.tif", warped, crs="EPSG:4326", transform=false, nodata=0)) as pair:
        found = estimate_offset(pair)
        assert found.consensus is not None
        assert found.largest > 2
        untouched = pair.read(pair.grid.window)
        pair.align(found.consensus.motion)
        assert estimate_offset(pair).largest < 0.1
        assert unlike(pair.read(pair.grid.window)) < 0.1 * unlike(untouched)


def test_plain_images_are_aligned(tmp_path: Path) -> None:
    for name, at in (("a.png", (0.0, 0.0)), ("b.png", (1.5, 2.25))):
        cv2.imwrite(str(tmp_path / name), terrain(SIDE, SIDE, at=at).transpose(1, 2, 0))
    with open_pair(tmp_path / "a.png", tmp_path / "b.png") as pair:
        found = estimate_offset(pair)
        assert found.offset == pytest.approx((1.5, 2.25), abs=0.05)
        assert found.consensus is not None
        pair.align(found.consensus.motion)
        assert estimate_offset(pair).largest < 0.05
