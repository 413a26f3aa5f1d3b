"""RowReader: what it gives equals the pair's own windows, and every row of a column is read once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from helpers import Ground, Tiff

from schanger_edge.geo.grid import Window
from schanger_edge.scene import PairTile, RowReader, open_pair
from schanger_edge.scene.rows import READ_PIXELS


@pytest.mark.parametrize("height", [40, 256, 700, 1111])
def test_strips_equal_windows(make_tiff: Tiff, ground: Ground, height: int) -> None:
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


@pytest.mark.parametrize(
    ("size", "at_once", "wanted", "expected"),
    [
        ((2000, 40), READ_PIXELS, [(0, 64), (1300, 1364), (1310, 1374)], [(0, 256), (1300, 1536)]),
        (
            (300, 300), 90 * 300, [(0, 100), (100, 200), (200, 300)],
            [(0, 64), (64, 128), (128, 192), (192, 256), (256, 300)],
        ),
    ],
    ids=["far apart", "wide"],
)  # fmt: skip
def test_rows_that_are_read_at_once(
    make_tiff: Tiff, ground: Ground, monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int], at_once: int, wanted: list[tuple[int, int]], expected: list[tuple[int, int]],
) -> None:  # fmt: skip
    """Rows that nobody wants are left out; of wide rows fewer are read."""
    monkeypatch.setattr("schanger_edge.scene.rows.READ_PIXELS", at_once)
    path = make_tiff("a.tif", ground(*size))
    with open_pair(path, path) as pair:
        read: list[tuple[int, int]] = []
        rows = RowReader(pair, lambda window, pixels: read.append((window.row_off, window.row_end)))
        for top, end in wanted:
            window = Window(0, top, size[1], end - top)
            np.testing.assert_array_equal(rows.read(window).before, pair.read(window).before)
    assert read == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts bytes as Linux does")
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "layout",
    [
        {"tiled": True, "blockxsize": 256, "blockysize": 256},
        {"tiled": True, "blockxsize": 512, "blockysize": 512},
        {"tiled": True, "blockxsize": 512, "blockysize": 512, "interleave": "band"},
        {"blockysize": 1},
        {"blockysize": 100},
    ],
)
def test_every_block_is_decoded_about_once(make_tiff: Tiff, layout: dict[str, Any], turned: bool) -> None:
    """GDAL keeps no compressed bytes, so each time it decodes a block it reads it from the file."""
    noise = np.random.default_rng(0).integers(1, 256, (3, 2000, 2100), np.uint8)
    layout = {"compress": "deflate", **layout}
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)
    before = make_tiff("a.tif", noise, transform=transform, **layout)
    after = make_tiff("b.tif", noise, transform=transform @ Affine.rotation(3.0 * turned), **layout)
    with open_pair(before, after, threads=2) as pair:
        assert pair.info()["after"].resampling == ("bilinear" if turned else "none")
        rows, already = RowReader(pair), _bytes_read()
        with pair.environment(2100):
            for top in (*range(0, 2000 - 256, 192), 2000 - 256):
                rows.read(Window(0, top, 2100, 256))
        taken = _bytes_read() - already
    assert taken < 1.1 * (before.stat().st_size + after.stat().st_size)


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])
