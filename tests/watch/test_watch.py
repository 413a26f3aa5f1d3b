"""A watch over small scenes: what it publishes, what it puts aside, what survives."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import load_benchmark

from schanger_edge import detect
from schanger_edge.errors import DiskFullError, ProductError, SceneError, SchangerError, SessionError
from schanger_edge.products import SUMMARY
from schanger_edge.products.register import STANDARD_NAMES as STANDARD
from schanger_edge.watch import station as station_module
from schanger_edge.watch.ledger import LEDGER, Ledger
from schanger_edge.watch.station import STARTS
from schanger_edge.watch.status import status

Drop = Callable[..., Path]
loop = importlib.import_module("schanger_edge.watch.loop")
service = importlib.import_module("schanger_edge.watch.service")
worker = importlib.import_module("schanger_edge.watch.worker")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE", "LULL"):
        monkeypatch.setattr(loop, name, 0.01)
    monkeypatch.setattr(station_module, "RETRY", 0.01)
    monkeypatch.setattr(service, "PAUSE", 0.01)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pairs that were really run."""
    names: list[str] = []

    def logged(before: Any, after: Any, folder: Path, *arguments: Any, **options: Any) -> Any:
        names.append(folder.name)
        return detect(before, after, folder, *arguments, **options)

    monkeypatch.setattr(worker, "detect", logged)
    return names


def failing(monkeypatch: pytest.MonkeyPatch, *errors: BaseException | None) -> None:
    """The first runs fail so; None is one that goes well."""
    left = list(errors)

    def run(*arguments: Any, **options: Any) -> Any:
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        return detect(*arguments, **options)

    monkeypatch.setattr(worker, "detect", run)


def identity(folder: Path) -> tuple[int, int]:
    stat = (folder / SUMMARY).stat()
    return stat.st_ino, stat.st_mtime_ns


def test_each_scene_is_run_against_the_newest_earlier_one(station: Any, drop: Drop, tmp_path: Path) -> None:
    for day in (3, 1, 2):
        for place in (0, 1):
            drop(f"p{place}_2024050{day}.tif", place)
    found = station.once()
    assert station.results == [
        f"p{place}_2024050{day}__p{place}_2024050{day - 1}" for place in (0, 1) for day in (2, 3)
    ]
    assert (found.results, found.counts["waiting"], found.counts["queued"]) == (4, 2, 0)
    assert {path.name for path in (station.output / "results" / station.results[0]).iterdir()} == {
        *STANDARD,
        "pair.json",
    }
    assert list((station.output / "work").iterdir()) == []
    whole = detect(
        station.inbox / "p0_20240501.tif", station.inbox / "p0_20240502.tif", tmp_path / "run", model=station.model
    )
    content = load_benchmark("kill_resume").content
    assert content(station.output / "results" / station.results[0]) == content(whole.folder)


def test_options_reach_the_runs(station: Any, pair: str) -> None:
    station.once(run={"threshold": 0.125, "min_area": 5.0})
    summary = json.loads((station.output / "results" / station.results[0] / SUMMARY).read_text())
    assert (summary["options"]["threshold"], summary["options"]["min_area"]) == (0.125, 5.0)


def test_nothing_is_run_twice(station: Any, pair: str, runs: list[str]) -> None:
    station.once()
    station.once()
    assert runs == [pair]
    for path in station.output.glob(f"{LEDGER}*"):
        path.unlink()
    found = station.once()  # all it knows is in the results
    assert runs == [pair]
    assert found.counts["done"] == 1


def killed_while_publishing(station: Any, monkeypatch: pytest.MonkeyPatch, *, renamed: bool) -> None:
    """Before the result is renamed, or after, before the ledger knows."""
    output = importlib.import_module("schanger_edge.watch.output")
    rename = os.rename

    def killing(source: Path, target: Path) -> None:
        publishes = Path(target).parent == station.output / "results"
        if renamed or not publishes:
            rename(source, target)
        if publishes:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output.os, "rename", killing)
        with pytest.raises(KeyboardInterrupt):
            station.once()


@pytest.mark.parametrize("renamed", [False, True])
def test_killed_around_publishing(
    station: Any, pair: str, runs: list[str], renamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while_publishing(station, monkeypatch, renamed=renamed)
    found = station.once()
    assert runs == [pair]
    assert found.counts["done"] == 1
    assert station.results == runs


def test_killed_after_publishing_and_then_a_file_goes(
    station: Any, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (1, 2, 3):
        drop(f"a_2024050{day}.tif")
    killed_while_publishing(station, monkeypatch, renamed=True)
    (station.inbox / "a_20240501.tif").unlink()
    assert station.once().results == 2
    assert station.results == ["a_20240502__a_20240501", "a_20240503__a_20240502"]


def test_a_scene_that_comes_late(station: Any, drop: Drop) -> None:
    drop("a_20240502.tif")
    assert station.once().counts["waiting"] == 1
    drop("a_20240501.tif")
    assert station.once().counts["waiting"] == 1
    assert station.results == ["a_20240502__a_20240501"]


def test_places_by_name(station: Any, drop: Drop) -> None:
    for name in ("20240501-x-PORT.tif", "20240502-y-PORT.tif", "20240503-z-TOWN.tif"):
        drop(name)
    drop("PORT.tif")
    station.once(pair_by="name", name_pattern=r"^(?P<date>\d{8})-.-(?P<place>\w+)$")
    assert station.results == ["20240502-y-PORT__20240501-x-PORT"]
    assert "does not match the pattern" in station.reason("PORT.tif")


def test_bad_files_are_put_aside_with_their_reason(station: Any, drop: Drop) -> None:
    cut = drop("card/cut.tif", side=200)
    cut.write_bytes(cut.read_bytes()[:60_000])
    cut.with_suffix(".tfw").write_text("0.5\n0\n0\n-0.5\n0\n0\n")
    drop("nowhere.tif", crs=None)
    (station.inbox / "text.tif").write_text("hello")
    (station.inbox / "empty.png").write_bytes(b"")
    (station.inbox / "half.tif.part").write_bytes(b"II")
    (station.inbox / "notes.txt").write_text("not a scene")
    found = station.once()
    assert found.counts["quarantined"] == 4
    assert "damaged or incomplete" in station.reason("cut.tif")
    assert "has no location on Earth" in station.reason("nowhere.tif")
    assert "cannot be opened as an image" in station.reason("text.tif")
    assert "its end is missing" in station.reason("empty.png")
    kept = {path.name for path in (station.output / "quarantine").iterdir()} - {"cut.tfw"}
    assert {"cut.tif", "nowhere.tif", "text.tif", "empty.png"} == {name for name in kept if not name.endswith(".txt")}
    assert (station.output / "quarantine" / "cut.tfw").exists()
    assert sorted(path.name for path in station.inbox.rglob("*.*")) == ["half.tif.part", "notes.txt"]
    assert {error["what"] for error in found.errors} == {"card/cut.tif", "nowhere.tif", "text.tif", "empty.png"}


def test_two_bad_files_of_one_name(station: Any) -> None:
    for content in ("one", "two"):
        (station.inbox / "a.tif").write_text(content)
        station.once()
    folder = station.output / "quarantine"
    assert [(folder / name).read_text() for name in ("a.tif", "a-2.tif")] == ["one", "two"]


def test_a_quarantine_that_was_cut_short(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it a power cut leaves undone is done later."""
    (station.inbox / "a.tif").write_text("hello")
    output = importlib.import_module("schanger_edge.watch.output")
    with monkeypatch.context() as patch:
        patch.setattr(output, "_move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            station.once()
    assert (station.inbox / "a.tif").exists()
    station.once()
    assert [path.name for path in station.inbox.iterdir()] == []
    assert sorted(path.name for path in (station.output / "quarantine").iterdir()) == ["a.tif", "a.tif.reason.txt"]


def test_copies_are_recognized(station: Any, drop: Drop) -> None:
    original = drop("a_20240501.tif")
    shutil.copy(original, station.inbox / "a_20240502.tif")
    found = station.once()
    assert found.counts["duplicate"] == 1
    assert (station.inbox / "a_20240502.tif").exists()
    assert station.results == []
    assert "a_20240502.tif is a copy of a_20240501.tif: ignored." in station.reported


def test_a_scene_that_is_sent_again_or_renamed_is_the_same(station: Any, drop: Drop, runs: list[str]) -> None:
    drop("a_20240501.tif")
    later = drop("a_20240502.tif")
    station.once()
    os.utime(later, ns=(1, 1))
    later.rename(station.inbox / "b_20240502.tif")
    found = station.once()
    assert len(runs) == 1
    assert (found.counts["duplicate"], found.counts["done"]) == (0, 1)
    assert "a_20240502.tif is now b_20240502.tif." in station.reported


def test_a_name_that_is_used_again(station: Any, drop: Drop) -> None:
    """What was there before can no longer be compared with."""
    drop("a_20240501.tif")
    drop("latest.tif", seed=1)
    station.once()
    drop("latest.tif", seed=2)
    station.once()
    assert len(station.results) == 2
    names = [json.loads((station.output / "results" / name / "pair.json").read_text()) for name in station.results]
    assert [made_of["before"]["file"] for made_of in names] == ["a_20240501.tif"] * 2
    assert station.results[0] == "latest__a_20240501"
    assert station.results[1].startswith("latest__a_20240501__")


def test_a_pair_that_fails_does_not_stop_the_others(station: Any, drop: Drop) -> None:
    drop("a_20240501.tif", nodata=None)
    path = drop("a_20240502.tif")
    drop("a_20240503.tif")
    import rasterio

    with rasterio.open(path, "r+") as dataset:
        dataset.write(dataset.read() * 0)
        dataset.nodata = 0
    found = station.once()
    assert found.counts["failed"] == 2  # none of its pixels has data, neither as after nor as before image
    assert "no pixel has data in both images" in station.reason("a_20240502__a_20240501")
    assert path.exists()
    assert station.results == []
    drop("a_20240504.tif")
    station.once()
    assert station.results == ["a_20240504__a_20240503"]


def test_a_file_that_goes_bad_while_it_is_queued(station: Any, drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put aside, and the next one is compared with another."""
    for day in (1, 2, 3):
        drop(f"a_2024050{day}.tif")
    bad = station.inbox / "a_20240502.tif"
    look = worker.probe

    def broken(path: str, **options: Any) -> Any:
        if path == str(bad):
            raise SceneError("it is damaged: get a fresh copy.")
        return look(path, **options)

    def run(before: Any, after: Any, *arguments: Any, **options: Any) -> Any:
        if bad in (before, after):
            raise SceneError("cannot be read")
        return detect(before, after, *arguments, **options)

    monkeypatch.setattr(worker, "probe", broken)
    monkeypatch.setattr(worker, "detect", run)
    station.once()
    assert station.results == ["a_20240503__a_20240501"]
    assert station.reason("a_20240502.tif") == "it is damaged: get a fresh copy.\n"


def test_a_scene_that_goes_while_it_is_queued(station: Any, drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (1, 2, 3):
        drop(f"a_2024050{day}.tif")
    with pytest.raises(DiskFullError, match=r"less than the 1000000000 MB of --min-free: free some space there"):
        station.once(min_free=10**15)
    (station.inbox / "a_20240502.tif").unlink()
    station.once()
    assert station.results == ["a_20240503__a_20240501"]


def test_a_full_disk_pauses(station: Any, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, *[DiskFullError("there is no room")] * 5)
    found = station.until(lambda text: text.startswith("published"))
    assert station.results == [pair]
    assert station.reported.count("paused: there is no room") == 1
    assert (found.counts["failed"], found.errors) == (0, [])


def test_a_disk_that_is_full_from_the_beginning(station: Any, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restart while it is full."""
    full = [DiskFullError("there is no room")] * 3

    def opened(*arguments: Any) -> Any:
        if full:
            raise full.pop()
        return Ledger(*arguments)

    monkeypatch.setattr(service, "Ledger", opened)
    assert station.until(lambda text: text.startswith("published")).results == 1
    assert station.reported.count("paused: there is no room") == 1


def test_what_may_pass_is_tried_again(station: Any, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ProductError("the share is away"), RuntimeError("a bug"))
    station.until(lambda text: text.startswith("published"))
    assert [text for text in station.reported if "retried" in text] == [
        f"{pair} will be retried: the share is away",
        f"{pair} will be retried: a bug",
    ]


def test_what_does_not_pass_fails_with_its_reason(station: Any, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, *[RuntimeError("a bug")] * 3)
    with pytest.raises(SchangerError, match="1 are left for the next start: a bug"):
        station.once()
    station.until(lambda text: text.startswith("failed"))
    assert station.reason(pair) == "a bug (tried 3 times)\n"
    os.utime(station.inbox / "a_20240502.tif")  # the way to have it tried again
    assert station.once().counts["failed"] == 0
    assert station.results == [pair]
    assert list((station.output / "quarantine").iterdir()) == []


@pytest.mark.parametrize("error", [SessionError("the GPU is gone"), DiskFullError("there is no room")])
def test_what_would_fail_every_pair_ends_the_watch(
    station: Any, pair: str, monkeypatch: pytest.MonkeyPatch, error: SchangerError
) -> None:
    """A full disk only with --once; and nothing is lost by it."""
    failing(monkeypatch, error)
    with pytest.raises(type(error), match=str(error)):
        station.once()
    assert station.once().results == 1


def test_what_crashes_the_process_again_and_again_is_given_up(
    station: Any, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, *[KeyboardInterrupt()] * STARTS)
        for _ in range(STARTS):
            with pytest.raises(KeyboardInterrupt):
                station.once()
    station.once()
    assert f"the process died {STARTS} times while running this pair" in station.reason(pair)


def test_a_share_that_is_away_loses_nothing(station: Any, pair: str, tmp_path: Path) -> None:
    with pytest.raises(DiskFullError):
        station.once(min_free=10**15)
    station.inbox.rename(tmp_path / "away")
    station.inbox.mkdir()  # an empty mount point
    with pytest.raises(SchangerError, match="is its share mounted"):
        station.once()
    station.inbox.rmdir()
    (tmp_path / "away").rename(station.inbox)
    assert station.once().results == 1


def test_keep_deletes_what_is_superseded(station: Any, drop: Drop) -> None:
    for day in (1, 2, 3, 4):
        drop(f"a_2024050{day}.tif")
    drop("b_20240501.tif", 1)
    found = station.once(keep=2)
    assert sorted(path.name for path in station.inbox.iterdir()) == [
        "a_20240503.tif",
        "a_20240504.tif",
        "b_20240501.tif",
    ]
    assert station.results == ["a_20240503__a_20240502", "a_20240504__a_20240503"]
    assert (found.counts["done"], found.counts["expired"]) == (3, 2)
    drop("a_20240505.tif")
    station.once(keep=2)
    assert station.results == ["a_20240504__a_20240503", "a_20240505__a_20240504"]


def test_without_keep_nothing_is_deleted(station: Any, drop: Drop) -> None:
    for day in (1, 2, 3):
        drop(f"a_2024050{day}.tif")
    station.once()
    assert len(list(station.inbox.iterdir())) == 3


def test_one_watch_per_folder(station: Any) -> None:
    station.output.mkdir()
    code = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(station.output / "watch.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ProductError, match="another watch is using"):
            station.once()
        other.communicate(b"")


def test_a_damaged_ledger_is_reported(station: Any, drop: Drop) -> None:
    drop("a_20240501.tif")
    station.once()
    for path in station.output.glob(f"{LEDGER}-*"):
        path.unlink()
    (station.output / LEDGER).write_bytes(b"no database" * 1000)
    with pytest.raises(ProductError, match=r"is damaged .*: move it away"):
        station.once()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE service SET value = 'never'",
        "UPDATE pairs SET ended = 'x', reason = 'y'",
        "UPDATE scenes SET state = x'00'",
        "UPDATE pairs SET state = 'queued', starts = 'x'",
    ],
)
def test_the_status_of_a_ledger_that_no_watch_has_written(station: Any, pair: str, change: str) -> None:
    station.once()
    with contextlib.closing(sqlite3.connect(station.output / LEDGER)) as ledger, ledger:
        ledger.execute(change)
    with pytest.raises(ProductError, match=r"watch\.sqlite is damaged .*: move it away"):
        status(station.output)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE scenes SET outline = '9999'",
        "UPDATE scenes SET taken = NULL",
        "UPDATE scenes SET size = 1.5",
        "UPDATE pairs SET name = ''",
        "UPDATE pairs SET name = '..'",
        "UPDATE pairs SET before = 77",
        "UPDATE pairs SET pixels = 'many'",
    ],
)
def test_a_ledger_with_values_that_no_watch_writes(station: Any, drop: Drop, pair: str, change: str) -> None:
    """A name that is none of a folder within could have all results removed."""
    station.once()
    with contextlib.closing(sqlite3.connect(station.output / LEDGER)) as ledger, ledger:
        ledger.execute(change)
    drop("a_20240503.tif", seed=5)
    try:
        station.once(keep=1)
    except ProductError as error:
        station.reported.append(str(error))
    assert [line for line in station.reported if re.search(r"watch\.sqlite is damaged .*: move it away", line)]
    assert pair in station.results


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"keep": 0}, "--keep must be at least 1"),
        ({"min_overlap": 1.5}, "--min-overlap must be"),
        ({"name_pattern": "(?P<place>x)"}, "needs --pair-by name"),
        ({"settle": 0.0}, "--settle must be greater than 0 seconds, not 0.0"),
        ({"hook": ("no-such-program",)}, "program no-such-program not found"),
        ({"run": {"threshold": 2.0}}, "threshold must be"),
    ],
)
def test_options_that_cannot_be_meant(station: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SchangerError, match=sentence):
        station.once(**options)
    assert not station.output.exists()


def test_folders_that_cannot_be_meant(station: Any) -> None:
    station.output = station.inbox / "out"
    with pytest.raises(SchangerError, match="is inside the inbox"):
        station.once()
    station.inbox = station.inbox / "none"
    with pytest.raises(SchangerError, match="is not a folder: create it, or mount"):
        station.once()
