"""Blended tiles: the stream gives what whole arrays give, wherever columns and sections lie and a run began."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from affine import Affine
from helpers import ArraySink, MakePair, load_benchmark
from numpy.typing import NDArray

from schanger_edge.errors import SchangerError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.model.file import read_model
from schanger_edge.products.journal import Journal
from schanger_edge.products.rasters import RasterSink
from schanger_edge.run.predict import Todo, predict
from schanger_edge.scene import Pair, open_pair
from schanger_edge.tiling.blending import Blender
from schanger_edge.tiling.plan import TilePlan, blend_of, fill_invalid

HEIGHT, WIDTH, TILE, HALO = 333, 402, 64, 12
GRID = Grid(None, Affine.identity(), 8, 8)


class TileMean:
    """A session that sees a whole tile at once, as squeeze-excite does: no halo makes its tiles agree."""

    slots, max_batch = 1, None

    def __init__(self, card: Any) -> None:
        self.card = card

    def tile_for(self, height: int, width: int) -> int:
        return TILE

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        own = before[:, :1].astype(np.float32) + after[:, :1]
        return ((own + 3 * own.mean(axis=(2, 3), keepdims=True)) / 2048).astype(np.float32)

    def submit(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        return lambda: self.run(before, after)


@pytest.fixture
def session(standin: ModuleType, tmp_path: Path) -> Any:
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=TILE, halo=HALO)
    return TileMean(read_model(tmp_path / "m.onnx").card)


@pytest.fixture
def pair(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """In three columns of several sections each, with a hole, and corners that have no data over whole tiles."""
    monkeypatch.setattr(sys.modules["schanger_edge.run.predict"], "COLUMN", 150)
    monkeypatch.setattr(sys.modules["schanger_edge.run.predict"], "SECTION", 5)
    holes = [np.s_[50:120, 130:200], np.s_[:140, 250:], np.s_[200:, :170]]
    with open_pair(*make_pair(HEIGHT, WIDTH, holes=holes, tiled=True, blockxsize=64, blockysize=64)) as opened:
        yield opened


def test_the_stream_gives_what_whole_arrays_give(pair: Pair, session: Any) -> None:
    stitching = load_benchmark("stitching")
    sink = ArraySink(HEIGHT, WIDTH)
    flow = predict(pair, session, sink, batch_size=3)
    pixels = pair.read(pair.grid.window)
    norm = session.card.normalization
    for image, date in ((pixels.before, norm.before), (pixels.after, norm.after)):
        fill_invalid(image, pixels.valid, date.mean_color)
    scene = stitching.Scene("", pixels.before, pixels.after, pixels.valid)
    plan = TilePlan(WIDTH, HEIGHT, TILE, HALO, blend_of(TILE, HALO))
    infer = stitching.Inference(session, scene)
    difference = np.abs(sink.probability - stitching.blend(infer, plan))[pixels.valid]
    assert (sink.times == 1).all()
    assert difference.max() < 1e-6
    assert np.abs(sink.probability - stitching.keep_cores(infer, plan))[pixels.valid].max() > 0.01  # it tells
    assert flow.tiles_skipped > 5


def test_wherever_a_run_stopped_the_rest_is_the_same_to_the_bit(pair: Pair, session: Any) -> None:
    whole = ArraySink(HEIGHT, WIDTH)
    predict(pair, session, whole, batch_size=3)
    assert len({section.col_off for section in whole.sections}) == 3
    for number in range(1, len(whole.sections)):
        sink = Stopping(number)
        with pytest.raises(RuntimeError, match="stopped"):
            predict(pair, session, sink, batch_size=3)
        assert len(sink.ended) == number
        sink.times[sink.sections.pop().slices_in(pair.grid.window)] = 0
        sink.left = None
        predict(pair, session, sink, batch_size=3, todo=Todo(sink.ended[:]))
        assert sink.sections == whole.sections
        np.testing.assert_array_equal(sink.probability[whole.valid], whole.probability[whole.valid])


class Stopping(ArraySink):
    """Stops before the end of a section; what neighbours ask for may be asked again in the next run."""

    def __init__(self, sections: int) -> None:
        super().__init__(HEIGHT, WIDTH)
        self.left: int | None = sections
        self.ended: list[Window] = []

    def end(self, edges: Any) -> None:
        if self.left == len(self.ended):
            raise RuntimeError("stopped")
        super().end(edges)
        self.ended.append(self.sections[-1])

    def edge(self, section: Window, name: str) -> Any:
        return self.edges[section].get(name)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
def test_tiles_that_agree_are_left_as_they_are(value: float) -> None:
    for section in TilePlan(200, 150, TILE, HALO, blend_of(TILE, HALO)).sections(100, 1000):
        blender = Blender(section, None, None)
        for strip in section.strips():
            for tile in strip:
                same = np.full((tile.window.height, tile.window.width), value, np.float32)
                assert (blender.add(tile, same) == np.float32(value)).all()


def test_no_edges_where_none_are_needed() -> None:
    (section,) = TilePlan(100, 70, TILE, 0).sections(100, 1000)
    kept = Blender(section, None, None)
    for tile in (tile for strip in section.strips() for tile in strip):
        kept.add(tile, np.ones((64, 64), np.float32))
    assert kept.edges() == {}
    (section,) = TilePlan(100, 70, TILE, HALO, 6).sections(100, 1000)
    skipped = Blender(section, None, None)
    for tile in (tile for strip in section.strips() for tile in strip):
        assert not skipped.add(tile, None).any()
    assert skipped.edges() == {}


def test_edges_wait_on_the_disk_until_they_were_used(tmp_path: Path) -> None:
    """Until the section that asked for them is durable, so that it can be computed again."""
    first, second = Window(0, 0, 8, 4), Window(0, 4, 8, 4)
    edge = np.arange(16, dtype=np.float32).reshape(2, 8)
    values, valid = np.full((4, 8), 0.5, np.float32), np.ones((4, 8), bool)

    def put(sink: RasterSink, section: Window, edges: dict[str, Any]) -> None:
        sink.begin(section)
        sink.write(section, values, valid)
        sink.end(edges)

    for stop in (True, False):
        with Journal(tmp_path, resume=True) as journal:
            journal.begin({}, 64)
            sink = RasterSink(GRID, threshold=0.5, journal=journal)
            if stop:
                put(sink, first, {"bottom": edge})
            bottom = sink.edge(first, "bottom")
            assert bottom is not None
            assert (bottom == edge).all()
            assert (journal.path(first) / "bottom.npy").exists()
            if not stop:
                put(sink, second, {})
                assert not (journal.path(first) / "bottom.npy").exists()
                journal.discard()


def test_a_section_without_a_tile_that_was_run_has_no_edge(tmp_path: Path) -> None:
    section, none = Window(0, 0, 8, 4), np.zeros((4, 8), bool)
    with Journal(tmp_path) as journal:
        journal.begin({}, 64)
        sink = RasterSink(GRID, threshold=0.5, journal=journal)
        sink.begin(section)
        sink.write(section, None, none)
        sink.end({})
        assert sink.edge(section, "bottom") is None
        journal.discard()


def test_an_edge_that_was_lost_is_told(tmp_path: Path) -> None:
    section = Window(0, 0, 8, 4)
    with Journal(tmp_path) as journal:
        journal.begin({}, 64)
        sink = RasterSink(GRID, threshold=0.5, journal=journal)
        sink.begin(section)
        sink.write(section, np.zeros((4, 8), np.float32), np.ones((4, 8), bool))
        sink.end({"right": np.zeros((1, 4, 2), np.float32)})
        with pytest.raises(SchangerError, match=r"bottom\.npy"):
            sink.edge(section, "bottom")
        journal.discard()
