"""The thumbnail equals every n-th pixel of the scene, whatever the tiles."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from schanger_edge.grid import Grid
from schanger_edge.products.thumbnail import Thumbnail
from schanger_edge.tiling import TilePlan


@pytest.mark.parametrize(("height", "width"), [(300, 400), (1024, 1024), (1500, 1100), (2100, 700), (5, 3000), (1, 1)])
@pytest.mark.parametrize(("tile", "halo"), [(256, 32), (64, 7)])
def test_every_nth_pixel(height: int, width: int, tile: int, halo: int) -> None:
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 255, (2, 3, height, width), np.uint8)
    thumbnail = Thumbnail(Grid(None, Affine.identity(), width, height))
    for strip in TilePlan(width, height, tile, halo).strips():
        for one in strip:
            w = one.window
            at = np.s_[:, w.row_off : w.row_end, w.col_off : w.col_end]
            thumbnail.add(one.owned, w, before[at], after[at])
    step = -(-max(height, width) // 1024)
    assert max(thumbnail.height, thumbnail.width) <= 1024
    assert (thumbnail.before == before[:, ::step, ::step]).all()
    assert (thumbnail.after == after[:, ::step, ::step]).all()
