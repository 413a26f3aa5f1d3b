"""The stream: tiled inference equals one pass to the pixel, and no failure passes silently."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from helpers import ArraySink, Ground, Tiff

from schanger_edge.errors import SceneError, SessionError
from schanger_edge.geo.grid import Window
from schanger_edge.run.predict import Observers, predict
from schanger_edge.scene import Pair, PairTile, open_pair
from schanger_edge.sessions import open_session
from schanger_edge.tiling.plan import fill_invalid, pad_to_tile

predict_module = sys.modules["schanger_edge.run.predict"]


def one_pass(standin: ModuleType, folder: Path, pair: Pair, card_colors: Any, radius: int, tile: int) -> np.ndarray:
    """The whole scene through the same network at once; a scene smaller than a tile is padded as the contract says."""
    height, width = max(pair.grid.height, tile), max(pair.grid.width, tile)
    pixels = pair.read(pair.grid.window)
    for image, color in zip((pixels.before, pixels.after), card_colors, strict=True):
        fill_invalid(image, pixels.valid, color)
    padded = [
        np.pad(i, ((0, 0), (0, height - i.shape[1]), (0, width - i.shape[2])), mode="reflect")
        for i in (pixels.before, pixels.after)
    ]
    standin.integer_model(folder / "whole.onnx", radius=radius, tile=(height, width), halo=0)
    session = onnxruntime.InferenceSession(str(folder / "whole.onnx"), providers=["CPUExecutionProvider"])
    (probability,) = session.run(None, {"before": padded[0][None], "after": padded[1][None]})
    return probability[0, 0, : pair.grid.height, : pair.grid.width]  # type: ignore[no-any-return]


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize(("height", "width"), [(157, 211), (64, 64), (65, 300), (40, 333), (250, 17), (1, 1), (31, 29)])
def test_tiled_equals_one_pass(
    standin: ModuleType, make_tiff: Tiff, ground: Ground, tmp_path: Path, height: int, width: int, batch: int
) -> None:
    radius, tile, halo = 5, 64, 10
    a, b = ground(height, width, 1), ground(height, width, 2)
    if height * width > 1000:
        a[:, height // 3 : height // 2, width // 3 :] = 0  # a hole across tiles
        b[:, :, : width // 5] = 0
    paths = make_tiff("a.tif", a, nodata=0), make_tiff("b.tif", b, nodata=0)
    standin.integer_model(tmp_path / "tiled.onnx", radius=radius, tile=tile, halo=halo)
    with open_pair(*paths) as pair, open_session(tmp_path / "tiled.onnx") as session:
        norm = session.card.normalization
        expected = one_pass(
            standin, tmp_path, pair, (norm.before.mean_color, norm.after.mean_color), radius, tile
        )  # fmt: skip
        sink = ArraySink(height, width)
        flow = predict(pair, session, sink, batch_size=batch)
        valid = pair.read(pair.grid.window).valid
    assert (sink.times == 1).all()
    assert (sink.valid == valid).all()
    assert flow.valid == valid.sum()
    np.testing.assert_array_equal(sink.probability[valid], expected[valid])
    assert np.unique(expected[valid]).size > min(20, valid.sum() // 2)  # the network says something


@pytest.mark.parametrize(("tile", "tiles"), [(64, 64), (256, 64), (512, 16), (4096, 1)])
def test_a_section_of_larger_tiles_holds_fewer(tile: int, tiles: int) -> None:
    """So that no more is lost where a run is cut off."""
    assert predict_module.section_tiles(tile) == tiles


def test_columns_and_sections_leave_no_trace(
    standin: ModuleType, make_tiff: Tiff, ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scene gone through in narrow columns equals one pass, and rows of a column are read once."""
    monkeypatch.setattr(predict_module, "COLUMN", 150)
    monkeypatch.setattr(predict_module, "SECTION", 5)
    a = ground(333, 402, 1)
    a[:, 50:120, 130:200] = 0
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    paths = make_tiff("a.tif", a, nodata=0, **tiled), make_tiff("b.tif", ground(333, 402, 2), **tiled)
    standin.integer_model(tmp_path / "tiled.onnx", radius=5, tile=64, halo=10)
    with open_pair(*paths) as pair, open_session(tmp_path / "tiled.onnx") as session:
        norm = session.card.normalization
        expected = one_pass(standin, tmp_path, pair, (norm.before.mean_color, norm.after.mean_color), 5, 64)
        valid = pair.read(pair.grid.window).valid
        read, reads = pair.read, []
        monkeypatch.setattr(pair, "read", lambda window: (reads.append(window), read(window))[1])
        sink = ArraySink(333, 402)
        predict(pair, session, sink, batch_size=4)
        assert (sink.times == 1).all()
        assert len({section.col_off for section in sink.sections}) == 3
        np.testing.assert_array_equal(sink.probability[valid], expected[valid])
        once = sum(window.width * window.height for window in reads)
        assert once <= 333 * (402 + 3 * 2 * 10 + 64)  # rows once; columns share two halos, and the last one shifts in


def test_too_small_a_halo_would_show(standin: ModuleType, make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    """The proof above can fail: with a halo below twice the radius the seams differ."""
    paths = make_tiff("a.tif", ground(150, 150, 1)), make_tiff("b.tif", ground(150, 150, 2))
    standin.integer_model(tmp_path / "tiled.onnx", radius=5, tile=64, halo=8)
    with open_pair(*paths) as pair, open_session(tmp_path / "tiled.onnx") as session:
        sink = ArraySink(150, 150)
        predict(pair, session, sink)
        norm = session.card.normalization
        expected = one_pass(standin, tmp_path, pair, (norm.before.mean_color, norm.after.mean_color), 5, 64)
    assert (sink.probability != expected).any()


def test_tiles_without_a_valid_pixel_are_not_run(
    standin: ModuleType, make_tiff: Tiff, ground: Ground, tmp_path: Path
) -> None:
    a = ground(400, 400)
    a[:, 100:, :] = 0
    path = make_tiff("a.tif", a, nodata=0)
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=64, halo=4)
    with open_pair(path, path) as pair, open_session(tmp_path / "m.onnx") as session:
        sink = ArraySink(400, 400)
        flow = predict(pair, session, sink, batch_size=4)
    assert flow.tiles_run == 14  # two of seven rows of tiles
    assert flow.tiles_skipped == 35
    assert (sink.times == 1).all()
    assert not sink.valid[100:].any()


def test_small_scene_is_padded_by_reflection(
    standin: ModuleType, make_tiff: Tiff, ground: Ground, tmp_path: Path
) -> None:
    image = ground(20, 30)
    path = make_tiff("a.tif", image)
    standin.integer_model(tmp_path / "m.onnx", radius=3, tile=64, halo=4)
    with open_pair(path, path) as pair, open_session(tmp_path / "m.onnx") as session:
        sink = ArraySink(20, 30)
        predict(pair, session, sink)
        padded = pad_to_tile(image, 64)[None]
        assert (sink.probability == session.run(padded, padded)[0, 0, :20, :30]).all()


class Failing:
    """A session that fails, or lies, on its n-th batch."""

    def __init__(self, session: Any, at: int, error: Exception) -> None:
        self.card, self._session, self._left, self._error = session.card, session, at, error
        self.slots, self.max_batch, self.tile_for = 1, None, session.tile_for

    def submit(self, before: np.ndarray, after: np.ndarray) -> Any:
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._session.submit(before, after)


@pytest.fixture
def opened(standin: ModuleType, make_tiff: Tiff, ground: Ground, tmp_path: Path) -> Any:
    path = make_tiff("a.tif", ground(300, 300))
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=64, halo=4)
    with open_pair(path, path) as pair, open_session(tmp_path / "m.onnx") as session:
        yield pair, session
    assert not [t for t in threading.enumerate() if t.name.startswith(("reader", "writer"))]


def test_a_tile_that_fails_stops_the_run(opened: Any) -> None:
    pair, session = opened
    failing = Failing(session, 3, SessionError("tile failed"))
    with pytest.raises(SessionError, match="tile failed"):
        predict(pair, failing, ArraySink(300, 300), batch_size=2)  # type: ignore[arg-type]


def test_a_read_that_fails_stops_the_run(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, session = opened
    read = pair.read

    def broken(window: Window) -> PairTile:
        if window.row_off > 100:
            raise SceneError("damaged")
        return read(window)  # type: ignore[no-any-return]

    monkeypatch.setattr(pair, "read", broken)
    with pytest.raises(SceneError, match="damaged"):
        predict(pair, session, ArraySink(300, 300), batch_size=2)


@pytest.mark.parametrize("row", [0, 290])
def test_a_write_that_fails_stops_the_run(opened: Any, row: int) -> None:
    pair, session = opened

    class FullDisk(ArraySink):
        def write(self, window: Window, probability: Any, valid: Any) -> None:
            if window.row_end > row:
                raise OSError("disk full")
            super().write(window, probability, valid)

    with pytest.raises(OSError, match="disk full"):
        predict(pair, session, FullDisk(300, 300), batch_size=2)


def test_progress_reaches_every_pixel(opened: Any) -> None:
    pair, session = opened
    seen: list[int] = []
    predict(pair, session, ArraySink(300, 300), batch_size=5, observers=Observers(seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 300 * 300
