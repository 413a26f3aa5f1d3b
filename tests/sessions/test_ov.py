"""OpenVINO on the CPU: the contract, equality with ONNX Runtime, and when `auto` takes it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from simulated_session import TILE

from schanger_edge.cli import main
from schanger_edge.errors import ModelError, SessionError
from schanger_edge.host import board
from schanger_edge.model.bundled import model_path
from schanger_edge.model.file import ModelFile
from schanger_edge.run.detect import detect
from schanger_edge.sessions import Session, gpu, open_session, ort, ov, register, trial
from schanger_edge.sessions.devices import usable_engine
from schanger_edge.sessions.engine import Auto, Engine, SessionOptions
from schanger_edge.sessions.engine_report import engine_report
from schanger_edge.sessions.gpu import NO_DRIVER
from schanger_edge.sessions.trial import Verdict, verdict
from schanger_edge.synthetic import write_pair

Tiles = NDArray[np.uint8]


@pytest.fixture
def installed() -> None:
    pytest.importorskip("openvino")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


def tiles(count: int, tile: int = TILE) -> tuple[Tiles, Tiles]:
    before, after = np.random.default_rng(0).integers(0, 255, (2, count, 3, tile, tile), np.uint8)
    return before, after


class Clocked:
    """A session that adds to every probability and takes a time of its own on a clock that only it moves."""

    now = 0.0

    def __init__(self, inner: Session, device: str, seconds: float, error: float = 0) -> None:
        self.card, self.model_sha256, self.device = inner.card, inner.model_sha256, device
        self.seconds, self.error, self.runs, self.closed = seconds, error, 0, False
        self.notes: list[str] = []
        self.chosen = ""
        self.least_tile = inner.least_tile

    def run(self, before: Tiles, after: Tiles) -> NDArray[np.float32]:
        Clocked.now += self.seconds
        self.runs += 1
        return np.full((len(before), 1, *before.shape[2:]), 0.25 + self.error, np.float32)

    def identity(self) -> dict[str, str]:
        return {"device": self.device}

    def prepare(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "time", SimpleNamespace(perf_counter=lambda: Clocked.now))


@pytest.mark.usefixtures("installed")
def test_equals_onnxruntime_in_any_batch(model: Path) -> None:
    before, after = tiles(3)
    with open_session(model, "cpu", threads=1) as one, open_session(model, "cpu:openvino", threads=1) as two:
        wanted = one.run(before, after)
        got = two.submit(before, after)()
        assert got.dtype == np.float32
        assert np.abs(got - wanted).max() < 1e-6
        kept = two.run(before[:1], after[:1])
        two.run(before[1:2], after[1:2])  # must not write into what it gave before
        assert np.abs(kept - wanted[:1]).max() < 1e-6
        assert (two.card, two.model_sha256) == (one.card, one.model_sha256)
        used = engine_report(two)
    assert used.device.startswith("OpenVINO 20")
    assert used.device.endswith("(CPU, 1 thread, f32)")
    assert used.chosen == "device cpu:openvino, as requested"
    with pytest.raises(SessionError, match="closed"):
        two.run(before, after)


@pytest.mark.usefixtures("installed")
def test_the_bundled_network_is_nearly_exact() -> None:
    """On the trial's harsh tiles it may miss the limit: then `auto` stays with ONNX Runtime."""
    model = model_path("schanger-small")
    before, after = trial.harsh_tiles(256)
    with open_session(model) as one, open_session(model, "cpu:openvino") as two:
        wanted = one.run(before, after)
        assert wanted.max() - wanted.min() > 0.1  # the tiles mean something to it
        assert np.abs(two.run(before, after) - wanted).max() < 3e-3


@pytest.mark.usefixtures("installed")
def test_errors_are_one_sentence(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = tiles(1, TILE // 2)
    with (
        open_session(model, "cpu:openvino") as session,
        pytest.raises(SessionError, match=r"m\.onnx takes tiles \(N, 3, ") as e,
    ):
        session.run(before, after)
    assert "\n" not in str(e.value)
    with pytest.raises(ModelError, match="cannot be read"):
        open_session(tmp_path / "none.onnx", "cpu:openvino")
    monkeypatch.setattr(ov, "has_bf16", lambda core: False)
    with pytest.raises(SessionError, match="this CPU has no bfloat16"):
        open_session(model, "cpu:openvino:bf16")


def test_without_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    scene = write_pair(tmp_path / "scene", width=64, height=64, seed=1)
    command = ["run", str(scene.before), str(scene.after), "-o", str(tmp_path / "out"), "--device", "cpu:openvino"]
    monkeypatch.setattr(sys, "argv", ["schanger-edge", *command])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "OpenVINO is not installed: pip install 'schanger-edge[openvino]'." in said
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("installed")
def test_a_run_tells_what_it_used(model: Path, cache: Path, tmp_path: Path) -> None:
    scene = write_pair(tmp_path / "scene", width=96, height=64, seed=1)
    maps = {}
    for device in ("cpu", "cpu:openvino"):
        result = detect(scene.before, scene.after, tmp_path / "out", model=model, device=device, threads=1)
        with rasterio.open(tmp_path / "out" / "probability.tif") as image:
            maps[device] = image.read(1).astype(int)
    assert np.abs(maps["cpu"] - maps["cpu:openvino"]).max() <= 1  # of 254 levels
    assert result.summary["device"].startswith("OpenVINO")
    assert result.summary["engine"]["device"] == result.summary["device"]
    assert not cache.exists()  # nothing is tried where the engine is named


@pytest.mark.parametrize(
    ("seconds", "error", "taken"),
    [(0.5, 0, True), (0.5, 9e-4, True), (0.5, 2e-3, False), (0.95, 0, False), (2, 0, False)],
)
def test_the_verdict_asks_for_both(
    model: Path, cache: Path, clock: None, seconds: float, error: float, taken: bool
) -> None:
    with open_session(model) as session:
        one, two = Clocked(session, "one", 1), Clocked(session, "two", seconds, error)
        found = verdict(one, two, "Two")
    assert found.taken is taken
    assert found.ratio == pytest.approx(seconds)
    assert found.difference == pytest.approx(error, abs=1e-6)
    assert not Verdict(float("nan"), 0.5).taken


def test_a_verdict_is_remembered_by_what_it_depends_on(
    model: Path, cache: Path, clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_session(model) as session:
        one, two, other = Clocked(session, "one", 1), Clocked(session, "two", 0.5), Clocked(session, "other", 0.5)
    first, ran = verdict(one, two, "Two"), two.runs
    assert verdict(one, two, "Two") == first
    assert two.runs == ran
    verdict(one, other, "Two")
    assert other.runs == ran
    monkeypatch.setattr(board, "processor", lambda root: "another CPU")
    verdict(one, two, "Two")
    assert two.runs == 2 * ran
    for file in cache.iterdir():
        file.write_text("damaged")
    verdict(one, two, "Two")
    assert two.runs == 3 * ran
    assert len(list(cache.iterdir())) == 3
    assert all(
        json.loads(file.read_text())["ratio"] == 0.5 for file in cache.iterdir() if file.read_text() != "damaged"
    )


def test_a_cache_that_cannot_be_written_stops_nothing(
    model: Path, clock: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "file"))
    with open_session(model) as session:
        assert verdict(Clocked(session, "one", 1), Clocked(session, "two", 0.5), "Two").taken


@pytest.fixture
def auto_tries(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """On a machine without a GPU `auto` has these engines alone: the reference, and those that may be faster."""

    def engines(*found: Engine) -> None:
        monkeypatch.setattr(gpu, "driver_present", lambda: False)
        monkeypatch.setattr(register, "ENGINES", list(found))

    return engines


def clocked(name: str, seconds: float, auto: Auto, made: dict[str, Clocked]) -> Engine:
    """An engine whose sessions are `Clocked`."""

    def opener(model: ModelFile, options: SessionOptions) -> Any:
        with ort.CPU.open(model, options) as inner:
            made[name] = Clocked(inner, name, seconds)
        return made[name]

    return Engine(name, {name.lower(): opener}, auto=auto)


@pytest.mark.parametrize("seconds", [0.5, 2])
def test_auto_takes_the_faster_and_says_why(
    model: Path, cache: Path, clock: None, seconds: float, auto_tries: Callable[..., None]
) -> None:
    made: dict[str, Clocked] = {}
    auto_tries(clocked("Two", seconds, Auto.IF_FASTER, made), clocked("One", 1, Auto.REFERENCE, made))
    session = open_session(model, "auto")
    one, two = made["One"], made["Two"]
    assert session is (two if seconds < 1 else one)
    assert (one.closed, two.closed) == ((True, False) if seconds < 1 else (False, True))
    words = f"Two takes {seconds:.2f} of One's time here and differs by up to 0 in probability."
    assert session.notes == [f"running on the CPU (fp32): {words}"]
    assert session.chosen == f"auto: the CPU: {words}"
    assert usable_engine() == f"One or Two on the CPU, whichever a short trial finds faster: {NO_DRIVER}"


def test_of_several_auto_takes_the_fastest(
    model: Path, cache: Path, clock: None, auto_tries: Callable[..., None]
) -> None:
    made: dict[str, Clocked] = {}
    others = (clocked(name, seconds, Auto.IF_FASTER, made) for name, seconds in (("A", 0.8), ("B", 0.4), ("C", 0.6)))
    auto_tries(*others, clocked("One", 1, Auto.REFERENCE, made))
    session = open_session(model, "auto")
    assert session is made["B"]
    assert {name for name, one in made.items() if not one.closed} == {"B"}


@pytest.mark.usefixtures("installed")
def test_auto_in_earnest(model: Path, cache: Path, auto_tries: Callable[..., None]) -> None:
    auto_tries(ov.ENGINE, ort.CPU)
    with open_session(model, "auto", threads=1) as session:
        assert "OpenVINO takes " in session.chosen
        first = session.device
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["difference"] < 1e-6
    with open_session(model, "auto", threads=1) as session:
        assert session.device == first


@pytest.mark.usefixtures("installed")
def test_where_a_verdict_is_remembered_against_it_nothing_is_compiled(
    model: Path, cache: Path, auto_tries: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    compiled: list[Any] = []

    class Core(openvino.Core):  # type: ignore[misc]
        def compile_model(self, network: Any, *rest: Any) -> Any:
            compiled.append(network)
            return super().compile_model(network, *rest)

    auto_tries(ov.ENGINE, ort.CPU)
    monkeypatch.setattr(openvino, "Core", Core)
    open_session(model, "auto", threads=1).close()
    assert compiled
    (file,) = cache.iterdir()
    file.write_text(json.dumps({"difference": 0.0, "ratio": 2.0}))
    compiled.clear()
    with open_session(model, "auto", threads=1) as session:
        assert session.device.startswith("ONNX Runtime")
    assert compiled == []
    file.write_text(json.dumps({"difference": 0.0, "ratio": 0.5}))
    with open_session(model, "auto", threads=1) as session:
        assert session.device.startswith("OpenVINO")
    assert len(compiled) == 1


def test_auto_without_a_working_openvino(
    model: Path, cache: Path, auto_tries: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    auto_tries(dataclasses.replace(ov.ENGINE, installed=lambda: True), ort.CPU)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with open_session(model, "auto") as session:
        assert session.device.startswith("ONNX Runtime")
        assert "OpenVINO is not installed" in session.chosen
