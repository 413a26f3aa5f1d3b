"""The thumbnail equals every n-th pixel of the scene, whatever the tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from schanger_edge.grid import Grid, Window
from schanger_edge.products.thumbnail import Thumbnail
from schanger_edge.tiling import TilePlan


@pytest.mark.parametrize(("height", "width"), [(300, 400), (1024, 1024), (1500, 1100), (2100, 700), (5, 3000), (1, 1)])
@pytest.mark.parametrize(("tile", "halo"), [(256, 32), (64, 7)])
def test_every_nth_pixel(height: int, width: int, tile: int, halo: int) -> None:
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 255, (2, 3, height, width), np.uint8)
    thumbnail = Thumbnail(Grid(None, Affine.identity(), width, height))
    for section in TilePlan(width, height, tile, halo).sections(1, 700):
        w = section.window
        at = np.s_[:, w.row_off : w.row_end, w.col_off : w.col_end]
        thumbnail.add(w, before[at], after[at])
    step = -(-max(height, width) // 1024)
    assert max(thumbnail.height, thumbnail.width) <= 1024
    assert (thumbnail.before == before[:, ::step, ::step]).all()
    assert (thumbnail.after == after[:, ::step, ::step]).all()


def test_windows_are_kept(tmp_path: Path) -> None:
    grid, window = Grid(None, Affine.identity(), 3000, 2000), Window(301, 500, 1700, 333)
    before, after = np.random.default_rng(0).integers(0, 255, (2, 3, 2000, 3000), np.uint8)
    whole, part = Thumbnail(grid), Thumbnail(grid)
    whole.add(grid.window, before, after)
    whole.save(tmp_path / "x.npy", window)
    part.load(tmp_path / "x.npy", window)
    assert part.before.any()
    for one, other in ((whole.before, part.before), (whole.after, part.after)):
        assert ((other == one) | (other == 0)).all()
        assert (other[:, 167:277, 101:667] == one[:, 167:277, 101:667]).all()
