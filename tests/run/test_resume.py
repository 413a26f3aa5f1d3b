"""A run that stops at any moment goes on to the same bytes; the journal knows whose work it is; Ctrl-C ends soon."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import Ground, MakePair, Tiff, load_benchmark
from typer.testing import CliRunner

from schanger_edge import __version__, detect
from schanger_edge.cli import app
from schanger_edge.cli.interrupt import ORDERLY
from schanger_edge.errors import ProductError, SceneError, SessionError, StoppedError
from schanger_edge.geo.grid import Window
from schanger_edge.products.journal import FOLDER, Journal, unfinished
from schanger_edge.products.register import STANDARD_NAMES as STANDARD
from schanger_edge.products.staging import Staging
from schanger_edge.sessions import open_session


@pytest.fixture
def pair(make_pair: MakePair) -> tuple[Path, Path]:
    return make_pair(700, 500, holes=[np.s_[100:300, 60:200]])


def wait_for_a_section(output: Path) -> None:
    """Until the writer, which has a thread of its own, has finished one."""
    deadline = time.monotonic() + 60
    while not any((output / FOLDER).glob("*-*-*-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def stopped(pair: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output folder of a run whose engine failed when about half of it was done."""
    ort = importlib.import_module("schanger_edge.sessions.ort").OnnxRuntimeSession
    run, calls = ort.run, []

    def failing(self: Any, *tiles: Any) -> Any:
        calls.append(1)
        if len(calls) == 70:
            wait_for_a_section(tmp_path / "out")
            raise SessionError("the engine failed")
        return run(self, *tiles)

    with monkeypatch.context() as patch:
        patch.setattr(ort, "run", failing)
        with pytest.raises(SessionError, match="the engine failed"):
            detect(*pair, tmp_path / "out", model=model)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [FOLDER]
    return tmp_path / "out"


def test_a_resumed_run_gives_the_same_bytes(stopped: Path, pair: Any, model: Path, tmp_path: Path) -> None:
    storm = load_benchmark("kill_resume")
    whole = detect(*pair, tmp_path / "whole", model=model)
    seen: list[int] = []

    def note(stage: str, done: int, total: int) -> None:
        if stage == "predict":
            seen.append(done)

    resumed = detect(*pair, stopped, model=model, resume=True, progress=note)
    assert {path.name for path in stopped.iterdir()} == set(STANDARD)
    assert storm.content(stopped) == storm.content(whole.folder)
    assert (stopped / "preview.png").read_bytes() == (whole.folder / "preview.png").read_bytes()
    tiles, all_tiles = resumed.summary["tiles"], whole.summary["tiles"]
    assert (tiles["run"], tiles["skipped"]) == (all_tiles["run"], all_tiles["skipped"])
    assert tiles["taken_over"] >= 64
    assert all_tiles["taken_over"] == 0
    assert seen[0] > 64 * 56 * 56  # what was done counts
    assert resumed.summary["pixels"] == whole.summary["pixels"]


@pytest.mark.parametrize("name", ["probability", "counts"])
def test_a_damaged_section_is_computed_again(stopped: Path, pair: Any, model: Path, tmp_path: Path, name: str) -> None:
    section = sorted((stopped / FOLDER).glob("0*"))[0]
    names = [path.name for path in section.iterdir()]
    file = section / next(found for found in names if found.startswith(name))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    copy = section.with_name(f"{section.name} (conflicted copy)")
    copy.mkdir()
    resumed = detect(*pair, stopped, model=model, resume=True)
    assert [warning for warning in resumed.warnings if "damaged" in warning] == [
        "1 sections of the unfinished run were damaged on the disk, and are computed again: check it."
    ]
    whole = detect(*pair, tmp_path / "whole", model=model)
    for product in ("probability.tif", "change.tif"):
        assert (stopped / product).read_bytes() == (whole.folder / product).read_bytes()


@pytest.mark.parametrize("content", ["[]", "null", '{"pixels": 0}', '{"pixels": "x"}', "[" * 100_000, "{"])
def test_a_damaged_account_of_an_unfinished_run(pair: Any, model: Path, tmp_path: Path, content: str) -> None:
    """It says nothing about the sections, so the run begins anew, whatever is asked for."""
    for keywords in ({}, {"resume": True}, {"restart": True}):
        out = tmp_path / "-".join(["out", *keywords])
        section = out / FOLDER / "00000000-00000000-00000256-00000256"
        section.mkdir(parents=True)
        (out / FOLDER / "run.json").write_text(content)
        assert unfinished(out) is None
        with Journal(out, **keywords) as journal:
            assert journal.begin({"version": "1"}, 100) == 0
            assert journal.sections() == {}


def test_a_run_that_is_asked_to_stop_ends_after_a_section(pair: Any, model: Path, tmp_path: Path) -> None:
    storm = load_benchmark("kill_resume")
    whole = detect(*pair, tmp_path / "whole", model=model)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 1

    out = tmp_path / "out"
    with open_session(model) as session:
        with pytest.raises(StoppedError, match="asked to stop"):
            detect(*pair, out, session=session, stop=stop)
        assert len(list((out / FOLDER).glob("*-*-*-*"))) == 1  # the one that was begun, whole
        resumed = detect(*pair, out, session=session, resume=True, stop=lambda: False)
    assert resumed.summary["tiles"]["taken_over"] >= 64
    assert storm.content(out) == storm.content(whole.folder)


def test_nothing_is_lost_without_a_word(stopped: Path, pair: Any, model: Path) -> None:
    with pytest.raises(ProductError, match=r"holds an unfinished run \(\d\d% done\): continue it with"):
        detect(*pair, stopped, model=model)
    with pytest.raises(ProductError, match="are mutually exclusive"):
        detect(*pair, stopped, model=model, resume=True, restart=True)
    assert detect(*pair, stopped, model=model, restart=True).summary["tiles"]["taken_over"] == 0


def test_another_run_is_not_gone_on_with(stopped: Path, pair: Any, model: Path, standin: ModuleType) -> None:
    kept = unfinished(stopped)
    with pytest.raises(
        ProductError, match=r"differs from this one \(threshold was 0\.5, now 0\.25\): repeat the same command"
    ):
        detect(*pair, stopped, model=model, threshold=0.25, resume=True)
    with pytest.raises(ProductError, match=r"batch_size was 1, now 2"):
        detect(*pair, stopped, model=model, batch_size=2, resume=True)
    with pytest.raises(ProductError, match=r"device was .* threads?\)\", now .*, 9 threads"):
        detect(*pair, stopped, model=model, threads=9, resume=True)
    with pytest.raises(ProductError, match=r"before, validity, value was 0\.0, now null"):
        detect(*pair, stopped, model=model, nodata=None, resume=True)
    os.utime(pair[1], ns=(1, 1))
    with pytest.raises(ProductError, match=r"after, files, \S*b\.tif differs|after, files, \S*b\.tif was"):
        detect(*pair, stopped, model=model, resume=True)
    standin.integer_model(model, radius=2, tile=64, halo=4)
    with pytest.raises(ProductError, match=r"model differs"):
        detect(*pair, stopped, model=model, resume=True)
    assert unfinished(stopped) == kept


def test_a_run_of_another_version_is_refused_by_its_name(stopped: Path, pair: Any, model: Path) -> None:
    signed = stopped / FOLDER / "run.json"
    signed.write_text(json.dumps(json.loads(signed.read_text()) | {"version": "0.0.9"}))
    sentence = rf"was begun by schanger-edge 0\.0\.9, this is {re.escape(__version__)}: finish it with that version, or"
    with pytest.raises(ProductError, match=sentence):
        detect(*pair, stopped, model=model, resume=True)
    assert detect(*pair, stopped, model=model, restart=True).summary["tiles"]["taken_over"] == 0


def test_the_same_images_by_another_path(
    stopped: Path, pair: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.tif").symlink_to(pair[1])
    monkeypatch.chdir(tmp_path / "elsewhere")
    resumed = detect("../a.tif", "../link.tif", "../out", model="../m.onnx", resume=True)
    assert resumed.folder.resolve() == stopped
    assert resumed.summary["tiles"]["taken_over"] >= 64
    assert resumed.summary["inputs"]["before"]["path"] == "../a.tif"  # as it was typed


def test_resume_without_an_unfinished_run_begins(pair: Any, model: Path, tmp_path: Path) -> None:
    assert detect(*pair, tmp_path / "out", model=model, resume=True, min_area=0).polygons > 0


def test_two_runs_of_one_folder(pair: Any, model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from schanger_edge.products.staging import Staging\n"
        "with Staging(Path(sys.argv[1]), ()): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        waiting = set((tmp_path / "out").iterdir())
        with pytest.raises(ProductError, match=r"another run is writing to .*out: wait for it"):
            detect(*pair, tmp_path / "out", model=model, restart=True)
        assert set((tmp_path / "out").iterdir()) == waiting
        other.communicate(b"")
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_refused_opens_nothing(
    stopped: Path, pair: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*args: Any, **options: Any) -> None:
        raise AssertionError("images are read and a plan may be built before the refusal")

    for name in ("open_pair", "open_session"):
        monkeypatch.setattr(sys.modules["schanger_edge.run.detect"], name, opened)
    with pytest.raises(ProductError, match="holds an unfinished run"):
        detect(*pair, stopped, model=model)
    with pytest.raises(ProductError, match="are mutually exclusive"):
        detect(*pair, stopped, model=model, resume=True, restart=True)
    with Staging(stopped, ()), pytest.raises(ProductError, match="another run is writing"):
        detect(*pair, stopped, model=model, resume=True)


def test_a_run_that_begins_anew_and_fails_early_drops_nothing(stopped: Path, pair: Any, model: Path) -> None:
    kept = unfinished(stopped)
    with pytest.raises(SceneError, match="does not exist"):
        detect(pair[0], "none.tif", stopped, model=model, restart=True)
    assert unfinished(stopped) == kept is not None


@pytest.mark.parametrize("left", [None, "", '{"pixels": 1'])
def test_sections_that_nothing_speaks_for_are_dropped(left: str | None, tmp_path: Path) -> None:
    """As a run leaves them that was killed while it removed its journal, or a disk that lost power."""
    with Journal(tmp_path) as journal:
        journal.begin({}, 10)
        with journal.adding(Window(0, 0, 1, 4)) as folder:
            (folder / "x").write_text("x")
    (tmp_path / FOLDER / "run.json").unlink()
    if left is not None:
        (tmp_path / FOLDER / "run.json").write_text(left)
    with Journal(tmp_path, resume=True) as journal:
        journal.begin({}, 10)
        assert journal.sections() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_section_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({"a": 1}, 10)
        with journal.adding(Window(0, 0, 1, 4)) as folder:
            (folder / "x").write_text("x")
        with pytest.raises(KeyboardInterrupt), journal.adding(Window(0, 4, 1, 4)) as folder:
            (folder / "x").write_text("x")
            raise KeyboardInterrupt
        assert list(journal.sections()) == [Window(0, 0, 1, 4)]
    assert unfinished(tmp_path) == "40% done"
    with Journal(tmp_path, resume=True) as journal:
        journal.begin({"a": 1}, 10)
        assert list(journal.sections()) == [Window(0, 0, 1, 4)]


def test_killed_at_random_moments(pair: Any, model: Path, tmp_path: Path) -> None:
    result = load_benchmark("kill_resume").storm(*pair, model, tmp_path, kills=4, seed=3)
    assert result["kills"] >= 4
    assert result["sections"] == 2
    assert (result["differing"], result["computed_again"]) == ([], [])


def test_the_storm_would_tell(tmp_path: Path) -> None:
    """A section that is computed again shows in the log."""
    log = tmp_path / "log"
    log.write_text("start\ntile 0 0\ntile 56 8\nfinished 0 112 0 64\nstart\ntile 112 0\ntile 56 64\n")
    assert load_benchmark("kill_resume").computed_again(log) == []
    log.write_text("start\ntile 0 0\ntile 56 8\nfinished 0 112 0 64\nstart\ntile 56 8\n")
    assert load_benchmark("kill_resume").computed_again(log) == [(56, 8)]


LONG = """
import hashlib, importlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
from schanger_edge.cli import main
ort = importlib.import_module("schanger_edge.sessions.ort").OnnxRuntimeSession
run, calls = ort.run, []
def long(self, *tiles):
    calls.append(1)
    if len(calls) == 70:
        print("inside", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 300_000_000)  # in C, deaf to signals, for minutes
    return run(self, *tiles)
ort.run = long
sys.argv = ["schanger-edge", "run", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_inside_a_long_inference(pair: Any, model: Path, tmp_path: Path, number: int) -> None:
    assert ORDERLY < 2
    command = [sys.executable, "-c", LONG, *map(str, pair), "-o", str(tmp_path / "out"), "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        wait_for_a_section(tmp_path / "out")
        process.send_signal(number)
        try:
            _, text = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert "done: repeat the command with --resume to continue" in text
    assert detect(*pair, tmp_path / "out", model=model, device="cpu", resume=True).summary["tiles"]["taken_over"] >= 64


@pytest.mark.parametrize(
    ("moment", "sentence"),
    [
        ("run.stages.write_polygons", r"the run is kept, 100% done: repeat the command with --resume to continue\."),
        ("products.staging.Staging._swap", r"the run is kept, 100% done"),
        ("products.staging.Staging._clean", r"all results are complete in .*out\."),
        ("products.journal.Journal.discard", r"all results are complete in .*out\."),
        ("scene.pair.Pair.statistics", r"no result was written\."),
    ],
)
def test_an_interruption_tells_what_there_is(
    make_tiff: Tiff, ground: Ground, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, moment: str,
    sentence: str,
) -> None:  # fmt: skip
    """Beside results of an earlier run, which are not taken for those of this one."""
    pair, out = [make_tiff(f"{seed}.tif", ground(120, 120, seed)) for seed in (1, 2)], tmp_path / "out"
    detect(*pair, out, model=model, threshold=0.75)

    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"schanger_edge.{moment}", interrupted)
    arguments = ["run", *map(str, pair), "-o", str(out), "--model", str(model), "--device", "cpu"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 128 + signal.SIGINT
    assert re.search(f"^interrupted.* {sentence}", done.stderr, re.MULTILINE)
    assert done.stderr.count("interrupted") == 1
    threshold = json.loads((out / "summary.json").read_text())["options"]["threshold"]
    assert threshold == (0.5 if "complete" in sentence else 0.75)
