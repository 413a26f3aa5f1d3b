"""Tiles drawn from pairs of any kind: whole ones, none twice, with change and without, the same for one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import Ground, Tiff

from schanger_edge.datasets.draw import draw_tiles
from schanger_edge.datasets.tile_pool import MOST_OPEN, TilePool, WholeTile, rendered_source, source_items, windows_of
from schanger_edge.errors import DatasetError, SchangerError

TILE = 32


def labels(tile: WholeTile) -> Any:
    assert tile.label is not None
    return tile.label


def no_change(tile: WholeTile) -> Any:
    return np.zeros(tile.before.shape[1:], bool)


@pytest.fixture
def tree(tmp_path: Path, ground: Ground) -> Path:
    """Three pairs of 96 x 96 pixels; the middle column of tiles of each is labelled as change."""
    for folder in ("A", "B", "label"):
        (tmp_path / "data" / "train" / folder).mkdir(parents=True)
    label = np.zeros((96, 96), np.uint8)
    label[:, 32:64] = 255
    for number in range(3):
        for folder, image in (("A", ground(96, 96, number)), ("B", ground(96, 96, 9 + number))):
            cv2.imwrite(str(tmp_path / "data" / "train" / folder / f"{number}.png"), image[::-1].transpose(1, 2, 0))
        cv2.imwrite(str(tmp_path / "data" / "train" / "label" / f"{number}.png"), label)
    return tmp_path / "data"


class TestDraw:
    def test_half_with_change_none_twice(self, tree: Path) -> None:
        first, second = draw_tiles([source_items(str(tree))], TILE, (8, 4), 1, labels)
        assert (len(first), first.changed) == (8, 4)
        assert (len(second), second.changed) == (4, 2)
        names = first.names() + second.names()
        assert len(set(names)) == 12

    def test_the_other_kind_fills_up(self, tree: Path) -> None:
        (everything,) = draw_tiles([source_items(str(tree))], TILE, (24,), 1, labels)
        assert (len(everything), everything.changed) == (24, 9)

    def test_each_set_gets_its_share_where_there_are_too_few(self, tree: Path) -> None:
        first, second = draw_tiles([source_items(str(tree))], TILE, (300, 100), 1, labels)
        assert len(first) + len(second) == 27
        assert 19 <= len(first) <= 21

    def test_one_seed_one_draw(self, tree: Path) -> None:
        source = [source_items(str(tree))]
        (a,), (b,), (c,) = (draw_tiles(source, TILE, (6,), seed, labels) for seed in (1, 1, 2))
        assert a.names() == b.names() != c.names()
        assert a.sha256() == b.sha256() != c.sha256()

    def test_tiles_are_read_again_and_are_what_their_place_says(self, tree: Path, ground: Ground) -> None:
        (tiles,) = draw_tiles([source_items(str(tree))], TILE, (5,), 3, labels)
        for place, tile, again in zip(tiles.places, tiles, tiles, strict=True):
            rows, cols = place.window.slices_in(type(place.window)(0, 0, 96, 96))
            assert (tile.before == ground(96, 96, place.item)[:, rows, cols]).all()
            assert (tile.after == again.after).all()
            assert labels(tile).all() == place.changed

    def test_sources_take_turns(self, tree: Path, make_tiff: Tiff, ground: Ground) -> None:
        large = make_tiff("a.tif", ground(512, 512, 1)), make_tiff("b.tif", ground(512, 512, 2))
        sources = [source_items(f"{large[0]},{large[1]}"), source_items(str(tree))]
        (tiles,) = draw_tiles(sources, TILE, (20,), 1, no_change)
        small = sum(str(tree) in name for name in tiles.names())
        assert small >= 8

    def test_the_model_tells_tiles_without_label_apart(self, make_tiff: Tiff, ground: Ground) -> None:
        a = ground(128, 128, 1)
        pair = f"{make_tiff('a.tif', a)},{make_tiff('b.tif', ground(128, 128, 2))}"

        def left_half(tile: WholeTile) -> Any:
            at = [(tile.before == a[:, r : r + 32, c : c + 32]).all() for r in (0, 32, 64, 96) for c in (0, 32)]
            return np.full((TILE, TILE), any(at))

        (tiles,) = draw_tiles([source_items(pair)], TILE, (8,), 1, left_half)
        assert tiles.changed == 4

    def test_tiles_with_nodata_are_left_out(self, make_tiff: Tiff, ground: Ground) -> None:
        a, b = ground(96, 96, 1), ground(96, 96, 2)
        a[:, :40, :40] = 0
        b[:, 90, 90] = 0
        pair = f"{make_tiff('a.tif', a, nodata=0)},{make_tiff('b.tif', b, nodata=0)}"
        (tiles,) = draw_tiles([source_items(pair)], TILE, (9,), 1, no_change)
        offsets = {(place.window.col_off, place.window.row_off) for place in tiles.places}
        assert offsets == {(64, 0), (64, 32), (0, 64), (32, 64)}

    def test_rendered_scenes(self) -> None:
        (tiles,) = draw_tiles([rendered_source()], 64, (2,), 1, labels)
        assert [tile.before.shape for tile in tiles] == [(3, 64, 64)] * 2


class TestRefused:
    def test_nothing_but_nodata(self, make_tiff: Tiff, ground: Ground) -> None:
        empty = np.zeros((3, 64, 64), np.uint8)
        pair = f"{make_tiff('a.tif', empty, nodata=0)},{make_tiff('b.tif', ground(64, 64), nodata=0)}"
        with pytest.raises(DatasetError, match="has complete data in both dates"):
            draw_tiles([source_items(pair)], TILE, (4,), 1, no_change)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{root},split=test", "test split"),
            ("{root},split=val", "does not exist"),
            ("{root},colour=red", "colour"),
            ("nothing.tif", "is neither a folder nor a list nor two images"),
            ("a.tif,b.tif,c.tif", "is neither a folder nor a list nor two images"),
            ("a.tif,b.tif,gsd=fine", "has gsd=fine: it must be metres per pixel"),
        ],
    )
    def test_sources_that_cannot_be_read(self, text: str, words: str, tree: Path) -> None:
        with pytest.raises(SchangerError, match=words):
            source_items(text.format(root=tree))

    def test_lists_with_a_test_split(self, tmp_path: Path) -> None:
        table = tmp_path / "pairs.csv"
        table.write_text("before,after,split\na.tif,b.tif,test\n")
        with pytest.raises(SchangerError, match="test split"):
            source_items(str(table))


def test_list_with_and_without_labels(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    label = np.zeros((1, 64, 64), np.uint8)
    label[:, :, 32:] = 1
    for name, data in (("a.tif", ground(64, 64, 1)), ("b.tif", ground(64, 64, 2)), ("l.tif", label)):
        make_tiff(name, data)
    table = tmp_path / "pairs.csv"
    table.write_text("before,after,label\na.tif,b.tif,l.tif\na.tif,b.tif,\n")
    items = source_items(str(table))
    with TilePool(items) as pool:
        windows = windows_of(pool.item(0), TILE)
        assert len(windows) == 4
        tile, bare = pool.item(0).read(windows[1]), pool.item(1).read(windows[1])
    assert tile is not None
    assert tile.label is not None
    assert tile.label.all()
    assert bare is not None
    assert bare.label is None


def test_gsd_resamples(make_tiff: Tiff, ground: Ground) -> None:
    pair = f"{make_tiff('a.tif', ground(64, 64, 1))},{make_tiff('b.tif', ground(64, 64, 2))},gsd=1"
    with TilePool(source_items(pair)) as pool:
        assert (pool.item(0).width, pool.item(0).height) == (32, 32)


def test_few_pairs_stay_open(make_tiff: Tiff, ground: Ground) -> None:
    pair = source_items(f"{make_tiff('a.tif', ground(32, 32, 1))},{make_tiff('b.tif', ground(32, 32, 2))}")
    with TilePool(pair * (MOST_OPEN + 3)) as pool:
        opened = [pool.item(number) for number in range(MOST_OPEN + 3)]
        assert len(pool._open) == MOST_OPEN
        assert pool.item(MOST_OPEN + 2) is opened[-1]
        assert pool.item(0) is not opened[0]
    assert not pool._open
