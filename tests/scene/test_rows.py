"""RowReader: what it gives equals the pair's own windows, and every row of a column is read once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schanger_edge.grid import Window
from schanger_edge.scene import PairTile, RowReader, open_pair


@pytest.mark.parametrize("height", [40, 256, 700, 1111])
def test_strips_equal_windows(make_tiff: Callable[..., Path], ground: Callable[..., Any], height: int) -> None:
    a, b = ground(height, 300, 1), ground(height, 300, 2)
    a[:, : height // 3, :100] = 0
    arrived: list[Window] = []

    def on_read(window: Window, pixels: PairTile) -> None:
        assert pixels.valid.shape == (window.height, window.width)
        arrived.append(window)

    with open_pair(make_tiff("a.tif", a, nodata=0), make_tiff("b.tif", b)) as pair:
        rows = RowReader(pair, on_read)
        for col, width in ((0, 200), (150, 150), (0, 200)):
            arrived.clear()
            for top in [*range(0, max(height - 64, 1), 50), max(height - 64, 0)]:
                window = Window(col, top, width, min(64, height - top))
                got, expected = rows.read(window), pair.read(window)
                for name in ("before", "after", "valid"):
                    np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
            assert {(w.col_off, w.width) for w in arrived} == {(col, width)}
            assert [w.row_off for w in arrived] == [0, *(w.row_end for w in arrived)][:-1]
            assert arrived[-1].row_end == height


def test_rows_may_be_left_out(make_tiff: Callable[..., Path], ground: Callable[..., Any]) -> None:
    path = make_tiff("a.tif", ground(2000, 40))
    with open_pair(path, path) as pair:
        read: list[Window] = []
        rows = RowReader(pair, lambda window, pixels: read.append(window))
        for top in (0, 1300, 1310):
            window = Window(0, top, 40, 64)
            np.testing.assert_array_equal(rows.read(window).before, pair.read(window).before)
        assert [(w.row_off, w.row_end) for w in read] == [(0, 256), (1300, 1536)]
