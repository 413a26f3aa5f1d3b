"""Histogram matching: the after image's levels become those that have the same rank in the before image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from helpers import Ground, Tiff

from schanger_edge.geo.grid import Window
from schanger_edge.scene import open_pair

ORIGIN = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)


def darker(image: np.ndarray) -> np.ndarray:
    """Each channel by a curve of its own that keeps the order of levels."""
    curves = np.stack([np.arange(256) * 0.6 + 20, 255 * (np.arange(256) / 255) ** 1.5, np.arange(256) * 0.5])
    return np.stack([np.rint(curve[channel]) for curve, channel in zip(curves, image, strict=True)]).astype(np.uint8)


def table_of(before: Path, after: Path) -> np.ndarray:
    with open_pair(before, after, match=True) as pair:
        matching = pair._after.matching
    assert matching is not None
    return matching.table


@pytest.mark.parametrize("grid", ["before", "after"])
def test_a_change_of_light_is_taken_back(make_tiff: Tiff, ground: Ground, grid: str) -> None:
    """Whoever owns the grid, it is the after image that changes."""
    image = ground(150, 170)
    before, after = make_tiff("a.tif", image), make_tiff("b.tif", darker(image))
    with open_pair(before, after, grid=grid, match=True) as pair:  # type: ignore[arg-type]
        tile = pair.read(pair.grid.window)
        info, means = pair.info(), pair.statistics()
        first = tile.after.copy()
        assert (pair.read(pair.grid.window).after == first).all()
    assert (tile.before == image).all()
    assert np.abs(tile.after.astype(int) - image).max() <= 3  # levels that fell together cannot be told apart
    np.testing.assert_allclose(means["after"][0], means["before"][0], atol=0.005)
    assert info["before"].match is None
    assert info["after"].match is not None
    assert info["after"].match["pixels"] == 144 * 64 * 64
    with open_pair(before, after) as pair:
        assert (pair.read(pair.grid.window).after == darker(image)).all()
        assert pair.info()["after"].match is None


def test_equal_dates_stay_equal(make_tiff: Tiff, ground: Ground) -> None:
    image = ground(120, 130)
    path = make_tiff("a.tif", image)
    with open_pair(path, path, match=True) as pair:
        assert (pair.read(Window(9, 8, 70, 60)).after == image[:, 8:68, 9:79]).all()


def test_the_lookup_never_falls(make_tiff: Tiff, ground: Ground) -> None:
    table = table_of(make_tiff("a.tif", ground(90, 90, 1)), make_tiff("b.tif", 255 - ground(90, 90, 2)))
    assert table.shape == (3, 256)
    assert table.dtype == np.uint8
    assert (np.diff(table.astype(int), axis=1) >= 0).all()


def test_only_what_both_show_counts(make_tiff: Tiff, ground: Ground) -> None:
    """Neither pixels beyond the other image nor those without data in one of them."""
    image = np.maximum(ground(120, 240), 1)
    a, b = image.copy(), darker(image).clip(1)
    a[:, :, :80], b[:, :, 200:] = 0, 0
    b[:, :, 60:80] = 255  # beside no data of the other date
    before = make_tiff("a.tif", a, nodata=0, transform=ORIGIN)
    after = make_tiff("b.tif", b[:, :, 40:], nodata=0, transform=ORIGIN @ Affine.translation(40, 0))
    with open_pair(before, after, match=True) as pair:
        tile = pair.read(pair.grid.window)
    assert (tile.valid == (np.arange(240) >= 80) & (np.arange(240) < 200)).all()
    assert np.abs(tile.after.astype(int) - image)[:, tile.valid].max() <= 3


def test_scale_and_offset_do_not_matter(make_tiff: Tiff, ground: Ground) -> None:
    """Ranks are compared, after each date's own stretch."""
    import rasterio

    image = ground(100, 100)
    before, after = make_tiff("a.tif", image), make_tiff("b.tif", (image * 30.0 + 1000).astype(np.uint16))
    plain = table_of(before, after)
    with rasterio.open(after, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4,) * 3, (-0.1,) * 3
    assert (table_of(before, after) == plain).all()
    with open_pair(before, after, match=True) as pair:
        tile = pair.read(pair.grid.window)
    assert np.abs(tile.after.astype(int) - tile.before).mean() < 1


def test_a_small_overlap_is_found(make_tiff: Tiff, ground: Ground) -> None:
    """Between the windows of the lattice."""
    image = ground(1500, 1500)
    before = make_tiff("a.tif", image, transform=ORIGIN)
    patch = darker(image[:, 70:110, 72:112])
    after = make_tiff("b.tif", patch, transform=ORIGIN @ Affine.translation(72, 70))
    with open_pair(before, after, match=True) as pair:
        tile = pair.read(Window(72, 70, 40, 40))
        match = pair.info()["after"].match
    assert match is not None
    assert 0 < match["pixels"] <= 1600
    assert np.abs(tile.after.astype(int) - image[:, 70:110, 72:112]).mean() < 3


def test_without_common_pixels_nothing_is_matched(make_tiff: Tiff, ground: Ground) -> None:
    image = ground(40, 40)
    a, b = image.copy(), image.copy()
    a[:, :, :20], b[:, :, 20:] = 0, 0
    with open_pair(make_tiff("a.tif", a, nodata=0), make_tiff("b.tif", b, nodata=0), match=True) as pair:
        assert not pair.read(pair.grid.window).valid.any()
        assert pair.info()["after"].match is None
