"""The thumbnail equals the scene's means over squares, whatever the tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products import thumbnail as thumbnail_module
from schanger_edge.products.thumbnail import Thumbnail
from schanger_edge.tiling.plan import TilePlan

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def gather(before: np.ndarray, after: np.ndarray, valid: np.ndarray, tile: int, halo: int) -> Thumbnail:
    height, width = valid.shape
    thumbnail = Thumbnail(Grid(None, Affine.identity(), width, height))
    for strip in TilePlan(width, height, tile, halo).strips():
        for one in strip:
            w = one.window
            at = np.s_[..., w.row_off : w.row_end, w.col_off : w.col_end]
            thumbnail.add(w, before[at], after[at], valid[at])
    return thumbnail


def scene(height: int, width: int) -> Arrays:
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 255, (2, 3, height, width), np.uint8)
    return before, after, rng.random((height, width)) > 0.4


@pytest.mark.parametrize(("height", "width"), [(300, 400), (128, 128), (5, 300), (130, 70), (1, 1)])
@pytest.mark.parametrize(("tile", "halo"), [(256, 32), (64, 7)])
def test_means_of_squares(monkeypatch: pytest.MonkeyPatch, height: int, width: int, tile: int, halo: int) -> None:
    monkeypatch.setattr(thumbnail_module, "SIDE", 128)
    before, after, valid = scene(height, width)
    thumbnail = gather(before, after, valid, tile, halo)
    step = thumbnail.step
    assert step == -(-max(height, width) // 128)
    assert (thumbnail.height, thumbnail.width) == (-(-height // step), -(-width // step))
    rows, cols = height // step, width // step  # whole squares
    for got, image in ((thumbnail.before, before), (thumbnail.after, after)):
        squares = image[:, : rows * step, : cols * step].reshape(3, rows, step, cols, step)
        assert abs(got[:, :rows, :cols] - squares.mean(axis=(2, 4))).max() <= 0.51
    shares = valid[: rows * step, : cols * step].reshape(rows, step, cols, step).mean(axis=(1, 3))
    assert (thumbnail.valid[:rows, :cols] == (shares >= 0.5)).all()


def test_squares_that_no_tile_sees_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without halo, and squares that don't fit tiles: every pixel is there, and has its neighbourhood's colour."""
    monkeypatch.setattr(thumbnail_module, "SIDE", 20)
    image = np.zeros((3, 290, 290), np.uint8)
    image[:] = np.linspace(10, 250, 290).astype(np.uint8)
    thumbnail = gather(image, image[:, :, ::-1], np.ones((290, 290), bool), 64, 0)
    columns = np.clip(np.arange(20) * 15 + 7, 0, 289)
    assert abs(thumbnail.before.astype(int) - image[0, 0, columns]).max() <= 8
    assert thumbnail.valid.all()


def test_reduced() -> None:
    thumbnail = gather(*scene(300, 200), 64, 7)
    before, after = thumbnail.reduced(300)
    assert before is thumbnail.before
    before, after = thumbnail.reduced(75)
    assert before.shape == after.shape == (3, 75, 50)
    squares = thumbnail.after.reshape(3, 75, 4, 50, 4).mean(axis=(2, 4))
    assert abs(after - squares).max() <= 0.51


def test_windows_are_kept(tmp_path: Path) -> None:
    grid, window = Grid(None, Affine.identity(), 6000, 4000), Window(301, 500, 1700, 333)
    before, after, valid = scene(4000, 6000)
    whole, part = Thumbnail(grid), Thumbnail(grid)
    whole.add(grid.window, before, after, valid)
    whole.save(tmp_path / "x.npy", window)
    part.load(tmp_path / "x.npy", window)
    inside = np.s_[..., 167:278, 101:667]
    for one, other in ((whole.before, part.before), (whole.after, part.after), (whole.valid, part.valid)):
        assert (other[inside] == one[inside]).all()
        assert other.any()
        other[inside] = 0
        assert not other.any()
