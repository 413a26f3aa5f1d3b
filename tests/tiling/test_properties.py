"""The arithmetic of tiles, by its laws: coverage, weights, and parts that make the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from helpers import ArraySink
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window
from schanger_edge.tiling.blending import Blender
from schanger_edge.tiling.partition import ContextSink, Part
from schanger_edge.tiling.plan import Section, Tile, TilePlan, axis_spans
from schanger_edge.tiling.sink import Sink


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int]:
    """(tile, halo, blend) that go together."""
    tile = draw(st.integers(2, 40))
    halo = draw(st.integers(0, (tile - 1) // 2))
    return tile, halo, draw(st.integers(0, min(halo, (tile - 2 * halo) // 2)))


@st.composite
def plans(draw: st.DrawFn) -> TilePlan:
    """Scenes of at most about 60 tiles."""
    tile, halo, blend = draw(axes())
    longest = tile + 7 * (tile - 2 * halo)
    return TilePlan(draw(st.integers(1, longest)), draw(st.integers(1, longest)), tile, halo, blend)


CUTS = st.tuples(st.integers(1, 20), st.integers(1, 200))
"""(tiles, columns) of `TilePlan.sections`."""


@given(st.integers(1, 1500), axes())
def test_spans(length: int, axis: tuple[int, int, int]) -> None:
    tile, halo, blend = axis
    spans = axis_spans(length, tile, halo, blend)
    assert [first for _, _, first, _ in spans] == [0, *(end for *_, end in spans[:-1])]
    assert spans[-1][3] == length
    for offset, size, first, end in spans:
        assert size == min(tile, length)
        assert 0 <= offset <= first < end <= offset + size <= length
        assert first == 0 or first - offset >= halo - blend
        assert end == length or offset + size - end >= halo + blend
    stride = tile - 2 * halo
    assert len(spans) == (1 if length <= tile else 1 + -(-(length - tile) // stride))  # no needless tile


def filled(plan: TilePlan, windows: Iterable[Window]) -> NDArray[np.int_]:
    """How many of the windows hold each pixel of the scene."""
    times = np.zeros((plan.height, plan.width), int)
    for window in windows:
        times[window.slices_in(Window(0, 0, plan.width, plan.height))] += 1
    return times


@given(plans(), CUTS)
def test_every_pixel_is_owned_once(plan: TilePlan, cut: tuple[int, int]) -> None:
    sections = list(plan.sections(*cut))
    tiles = [tile for section in sections for strip in section.strips() for tile in strip]
    assert len(tiles) == len(plan)
    assert (filled(plan, (tile.owned for tile in tiles)) == 1).all()
    assert (filled(plan, (section.window for section in sections)) == 1).all()
    for tile in tiles:
        assert tile.owned.intersection(tile.reach) == tile.owned
        assert tile.reach.intersection(tile.window) == tile.reach
    most = filled(plan, (tile.reach for tile in tiles))
    assert most.max() <= 4  # two tiles along each axis


@given(plans(), CUTS)
def test_neighbours_of_sections(plan: TilePlan, cut: tuple[int, int]) -> None:
    windows: list[Window] = []
    for section in plan.sections(*cut):
        above, left = section.above, section.left
        assert (above is None) == (section.window.row_off == 0)
        assert (left is None) == (section.window.col_off == 0)
        for neighbour in filter(None, (above, left)):
            assert neighbour in windows  # they come before
        assert above is None or (above.row_end, above.col_off, above.width) == (
            section.window.row_off, section.window.col_off, section.window.width
        )  # fmt: skip
        assert left is None or (left.col_end, left.row_off, left.height) == (
            section.window.col_off, section.window.row_off, section.window.height
        )  # fmt: skip
        windows.append(section.window)


def run(sections: Iterable[Section], values: Mapping[Window, NDArray[np.float32]], sink: Sink) -> None:
    """What a run does with its sections, the network's output being given."""
    for section in sections:
        edges = [
            sink.edge(neighbour, name) if neighbour and section.blend else None
            for neighbour, name in ((section.above, "bottom"), (section.left, "right"))
        ]
        sink.begin(section.window)
        blender = Blender(section, *edges)
        for tile in (tile for strip in section.strips() for tile in strip):
            own = blender.add(tile, values[tile.window])
            sink.write(tile.owned, own, np.ones(own.shape, bool))
        sink.end(blender.edges())


def tiles_of(plan: TilePlan) -> list[Tile]:
    return [tile for strip in plan.strips() for tile in strip]


@given(plans(), CUTS)
@settings(max_examples=25)
def test_weights_sum_to_one(plan: TilePlan, cut: tuple[int, int]) -> None:
    """The weight of a tile is what comes out where it alone is 1."""
    total = np.zeros((plan.height, plan.width))
    tiles = tiles_of(plan)
    for one in tiles:
        values = {
            tile.window: np.full((tile.window.height, tile.window.width), tile is one, np.float32) for tile in tiles
        }
        sink = ArraySink(plan.height, plan.width)
        run(plan.sections(*cut), values, sink)
        weight = sink.probability
        assert weight.min() >= 0
        outside = np.ones(weight.shape, bool)
        outside[one.reach.slices_in(Window(0, 0, plan.width, plan.height))] = False
        assert not weight[outside].any()
        total += weight
    assert np.abs(total - 1).max() < 1e-6


@given(plans(), CUTS, st.floats(0, 1, width=32))
def test_tiles_that_agree_keep_their_value(plan: TilePlan, cut: tuple[int, int], value: float) -> None:
    values = {
        tile.window: np.full((tile.window.height, tile.window.width), value, np.float32) for tile in tiles_of(plan)
    }
    sink = ArraySink(plan.height, plan.width)
    run(plan.sections(*cut), values, sink)
    assert (sink.probability == np.float32(value)).all()


@given(plans(), CUTS, st.integers(1, 6), st.integers(1, 2), st.data())
def test_parts_make_the_whole(
    plan: TilePlan, cut: tuple[int, int], count: int, batch: int, data: st.DataObject
) -> None:
    """Also where some sections were finished before: each part does the rest of its own, and the maps are the same."""
    rng = np.random.default_rng(0)
    values = {tile.window: rng.random((tile.window.height, tile.window.width), np.float32) for tile in tiles_of(plan)}
    whole = ArraySink(plan.height, plan.width)
    sections = list(plan.sections(*cut))
    run(sections, values, whole)
    done: list[Window] = []
    joined = np.full((plan.height, plan.width), np.nan, np.float32)
    for number in range(count):
        todo, context = Part(number, count).share(sections, (), batch)
        assert [section for section in todo if section in context] == context
        sink = ArraySink(plan.height, plan.width)
        run(todo, values, ContextSink(sink, context) if context else sink)
        own = sink.times == 1
        assert np.isnan(joined[own]).all()
        joined[own] = sink.probability[own]
        done += sink.sections
    assert sorted(map(repr, done)) == sorted(repr(section.window) for section in sections)
    assert (joined == whole.probability).all()
    finished = set(data.draw(st.lists(st.sampled_from(done)), "finished"))
    left = [
        section.window
        for number in range(count)
        for todo, context in [Part(number, count).share(sections, finished, batch)]
        for section in todo
        if section not in context
    ]
    assert sorted(map(repr, left)) == sorted(map(repr, set(done) - finished))
