"""The coverage contract of tiling: every pixel once, context all around it."""

from __future__ import annotations

import numpy as np
import pytest

from schanger_edge.geo.grid import Window
from schanger_edge.tiling.plan import TilePlan, axis_spans, blend_of, fill_invalid, pad_to_tile


@pytest.mark.parametrize("tile", [16, 17, 64])
@pytest.mark.parametrize("halo", [0, 1, 7])
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 18, 31, 63, 64, 65, 97, 130, 1000])
def test_axis_is_owned_once_with_context(length: int, tile: int, halo: int) -> None:
    spans = axis_spans(length, tile, halo)
    owned = np.zeros(length, int)
    for offset, size, start, end in spans:
        assert size == min(tile, length)
        assert offset >= 0
        assert offset + size <= length
        assert start < end
        owned[start:end] += 1
        assert start == 0 or start - offset >= halo
        assert end == length or offset + size - end >= halo
    assert (owned == 1).all()


def test_axis_has_no_needless_tile() -> None:
    assert [offset for offset, *_ in axis_spans(256, 256, 32)] == [0]
    assert [offset for offset, *_ in axis_spans(257, 256, 32)] == [0, 1]
    assert [offset for offset, *_ in axis_spans(448, 256, 32)] == [0, 192]
    assert [offset for offset, *_ in axis_spans(1024, 256, 0)] == [0, 256, 512, 768]


def test_plan_covers_the_scene_row_by_row() -> None:
    plan = TilePlan(width=150, height=70, tile=64, halo=8)
    owned = np.zeros((70, 150), int)
    last_row = 0
    count = 0
    for strip in plan.strips():
        assert {(t.owned.row_off, t.owned.height) for t in strip} == {(last_row, strip[0].owned.height)}
        last_row = strip[0].owned.row_end
        for tile in strip:
            rows, cols = tile.owned.slices_in(tile.window)
            assert rows.stop <= tile.window.height
            assert cols.stop <= tile.window.width
            owned[tile.owned.row_off : tile.owned.row_end, tile.owned.col_off : tile.owned.col_end] += 1
            count += 1
    assert (owned == 1).all()
    assert count == len(plan)


@pytest.mark.parametrize(("columns", "tiles"), [(1, 1), (100, 5), (150, 64), (10_000, 7)])
def test_sections_cover_the_scene_column_by_column(columns: int, tiles: int) -> None:
    plan = TilePlan(width=400, height=300, tile=64, halo=8)
    owned, sections = np.zeros((300, 400), int), list(plan.sections(tiles, columns))
    for section in sections:
        in_section = np.zeros_like(owned)
        for strip in section.strips():
            for tile in strip:
                in_section[tile.owned.slices_in(Window(0, 0, 400, 300))] += 1
        inside = np.zeros_like(owned)
        inside[section.window.slices_in(Window(0, 0, 400, 300))] = 1
        assert (in_section == inside).all()
        assert section.window.width <= columns + 64
        last = section.window.row_end == 300 or section.window.col_end == 400
        assert last or sum(map(len, section.strips())) >= tiles
        owned += in_section
    assert (owned == 1).all()
    tops = [(section.window.col_off, section.window.row_off) for section in sections]
    assert tops == sorted(tops)


def test_sections_know_their_neighbours() -> None:
    """Also where the last column is narrower: the sections of two columns hold the same strips."""
    sections = {section.window: section for section in TilePlan(400, 300, 64, 8, 4).sections(5, 100)}
    assert len({(window.row_off, window.row_end) for window in sections}) * 3 == len(sections)
    for window, section in sections.items():
        assert (section.above is None) == (window.row_off == 0)
        assert (section.left is None) == (window.col_off == 0)
        if section.above:
            assert (section.above.row_end, section.above.col_off, section.above.col_end) == (
                window.row_off, window.col_off, window.col_end
            )  # fmt: skip
            assert section.above in sections
        if section.left:
            assert (section.left.col_end, section.left.row_off, section.left.row_end) == (
                window.col_off, window.row_off, window.row_end
            )  # fmt: skip
            assert section.left in sections


@pytest.mark.parametrize(("tile", "halo"), [(64, 0), (64, 1), (64, 7), (64, 16), (64, 25), (64, 31), (17, 8)])
def test_blended_tiles_reach_over_their_borders(tile: int, halo: int) -> None:
    """Along an axis one tile or two reach a pixel, and what of a tile counts lies well inside it."""
    blend = blend_of(tile, halo)
    assert blend <= halo / 2
    for length in (tile, tile + 1, 3 * tile, 5 * tile - 2 * halo, 331):
        (section,) = TilePlan(length, 1, tile, halo, blend).sections(1, 10_000)
        times, owned = np.zeros(length, int), np.zeros(length, int)
        for part in next(section.strips()):
            times[part.reach.col_off : part.reach.col_end] += 1
            owned[part.owned.col_off : part.owned.col_end] += 1
            assert part.reach.col_off == part.owned.col_off
            assert part.reach.col_off in (0, *range(part.window.col_off + halo - blend, length))
            assert part.reach.col_end <= part.window.col_end - (halo - blend) or part.reach.col_end == length
        assert (owned == 1).all()
        assert set(times) <= {1, 2}
        assert (times == 2).sum() == 2 * blend * (len(section.across) - 1)


@pytest.mark.parametrize("blend", [-1, 3, 5])
def test_plan_refuses_to_blend_over_more_than_there_is(blend: int) -> None:
    with pytest.raises(ValueError, match="cannot be blended"):
        TilePlan(50, 50, tile=16, halo=6 if blend == 3 else 4, blend=blend)


@pytest.mark.parametrize(("width", "height", "halo"), [(0, 5, 0), (5, 0, 0), (5, 5, 8), (5, 5, -1)])
def test_plan_refuses_nonsense(width: int, height: int, halo: int) -> None:
    with pytest.raises(ValueError, match=r"pixel|halo"):
        TilePlan(width=width, height=height, tile=16, halo=halo)


def test_padding_reflects_and_keeps_the_image() -> None:
    image = np.arange(3 * 5 * 6, dtype=np.uint8).reshape(3, 5, 6)
    padded = pad_to_tile(image, 16)
    assert padded.shape == (3, 16, 16)
    assert (padded[:, :5, :6] == image).all()
    assert (padded[:, 5, :6] == image[:, 3]).all()
    assert (padded[:, :5, 6] == image[:, :, 4]).all()
    assert pad_to_tile(padded, 16) is padded
    assert (pad_to_tile(image[:, :1, :1], 16) == image[:, :1, :1]).all()


def test_fill_invalid_touches_only_invalid_pixels() -> None:
    image = np.full((3, 4, 4), 9, np.uint8)
    valid = np.ones((4, 4), bool)
    valid[1, 2] = False
    fill_invalid(image, valid, (1, 2, 3))
    assert image[:, 1, 2].tolist() == [1, 2, 3]
    assert (image[:, valid] == 9).all()
