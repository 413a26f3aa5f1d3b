"""Staging: all results of a run appear together, or none, and earlier results survive a run that fails."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from schanger_edge.errors import ProductError
from schanger_edge.files import reading, writing
from schanger_edge.products import CHANGE, POLYGONS, PREVIEW, PROBABILITY, SUMMARY
from schanger_edge.products.register import PRODUCT_NAMES as PRODUCTS
from schanger_edge.products.staging import Staging


def run(folder: Path, text: str, names=PRODUCTS) -> None:
    with Staging(folder, PRODUCTS) as staging:
        for name in names:
            staging.path(name).write_text(summary(text) if name == SUMMARY else text)
        staging.publish()


def summary(text: str) -> str:
    return json.dumps({"schanger_edge": text})


def content(folder: Path) -> dict[str, str]:
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    return {name: json.loads(text)["schanger_edge"] if name == SUMMARY else text for name, text in texts.items()}


def test_publish_gives_the_names_and_leaves_nothing_else(tmp_path):
    folder = tmp_path / "deep" / "out"
    run(folder, "new")
    assert content(folder) == dict.fromkeys(PRODUCTS, "new")


def test_nothing_has_its_name_before_publish(tmp_path):
    with Staging(tmp_path / "out", PRODUCTS) as staging:
        staging.path(CHANGE).write_text("new")
        assert not (tmp_path / "out" / CHANGE).exists()
        assert staging.path(CHANGE).parent.parent == tmp_path / "out"
        assert {path.name[0] for path in (tmp_path / "out").iterdir()} == {"."}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_unfinished_run_leaves_earlier_results_alone(tmp_path, error):
    run(tmp_path, "old", (CHANGE, SUMMARY))
    (tmp_path / "notes.txt").write_text("mine")

    def stop_half_way():
        with Staging(tmp_path, PRODUCTS) as staging:
            staging.path(CHANGE).write_text("new")
            staging.path(PREVIEW).write_text("new")
            raise error

    with pytest.raises(error):
        stop_half_way()
    assert content(tmp_path) == {CHANGE: "old", SUMMARY: "old", "notes.txt": "mine"}


def test_leaving_without_publish_removes_folders_that_were_made(tmp_path):
    with Staging(tmp_path / "a" / "b", PRODUCTS) as staging:
        staging.path(CHANGE).write_text("new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "out").mkdir()
    with Staging(tmp_path / "out" / "in", PRODUCTS):
        (tmp_path / "out" / "in" / "other").write_text("mine")
    assert (tmp_path / "out" / "in" / "other").exists()
    with Staging(tmp_path / "out", PRODUCTS):
        pass
    assert (tmp_path / "out").exists()


def test_two_runs_do_not_mix(tmp_path):
    run(tmp_path, "old")
    for sidecar in ("changes.gpkg-wal", "change.tif.aux.xml", "probability.tif.ovr"):
        (tmp_path / sidecar).write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    run(tmp_path, "new", (PROBABILITY, SUMMARY, "report.html"))
    assert content(tmp_path) == {PROBABILITY: "new", SUMMARY: "new", "report.html": "new", "notes.txt": "mine"}


def test_names_of_a_run_can_be_given(tmp_path):
    run(tmp_path, "old", ("more.txt", SUMMARY))
    with Staging(tmp_path, (*PRODUCTS, "more.txt")) as staging:
        staging.path(SUMMARY).write_text(summary("new"))
        staging.publish()
    assert content(tmp_path) == {SUMMARY: "new"}


def test_summary_moves_last(tmp_path, monkeypatch):
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (moved.append(Path(target)), replace(source, target)))
    run(tmp_path, "new", (SUMMARY, CHANGE, POLYGONS))
    assert moved[-1] == tmp_path / SUMMARY


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), KeyboardInterrupt()])
def test_publish_that_fails_half_way_puts_earlier_results_back(tmp_path, monkeypatch, error):
    run(tmp_path, "old", (PROBABILITY, CHANGE, SUMMARY))
    replace = os.replace

    def fail(source, target):
        if Path(source).name == CHANGE and Path(target).parent == tmp_path and Path(source).read_text() == "new":
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((ProductError, KeyboardInterrupt)):
        run(tmp_path, "new")
    assert content(tmp_path) == dict.fromkeys((PROBABILITY, CHANGE, SUMMARY), "old")


def test_files_that_no_run_of_ours_wrote_stay(tmp_path):
    (tmp_path / PREVIEW).write_text("mine")
    for _ in range(2):
        with pytest.raises(ProductError, match=r"preview\.png is no result of an earlier run"):
            run(tmp_path, "new")
        assert content(tmp_path) == {PREVIEW: "mine"}
    for text in ("new", "newer"):  # by runs that don't write it
        with Staging(tmp_path, PRODUCTS, (CHANGE, SUMMARY)) as staging:
            staging.path(CHANGE).write_text(text)
            staging.path(SUMMARY).write_text(json.dumps({"schanger_edge": text, "products": {CHANGE: "", SUMMARY: ""}}))
            staging.publish()
        assert content(tmp_path) == {PREVIEW: "mine", CHANGE: text, SUMMARY: text}


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_and_files_that_come_during_a_run_stay(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / CHANGE).symlink_to("mine")
    with pytest.raises(ProductError, match=r"change\.tif is no result"):
        run(tmp_path, "new")
    (tmp_path / CHANGE).unlink()
    with pytest.raises(ProductError, match=r"preview\.png is no result"), Staging(tmp_path, PRODUCTS) as staging:
        staging.path(PREVIEW).write_text("new")
        (tmp_path / PREVIEW).write_text("mine")
        staging.publish()
    assert content(tmp_path) == {PREVIEW: "mine", "mine": "mine"}


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_planted_links_move_and_remove_nothing(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "old.x").mkdir(parents=True)
    (elsewhere / "old.x" / CHANGE).write_text("theirs")
    (elsewhere / SUMMARY).write_text("theirs")
    out = tmp_path / "out"
    (out / ".schanger-edge.new.b").mkdir(parents=True)
    (out / ".schanger-edge.new.a").symlink_to(elsewhere)
    (out / ".schanger-edge.new.b" / "old.x").symlink_to(elsewhere / "old.x")
    (out / ".schanger-edge.new.b" / SUMMARY).write_text("new")
    with Staging(out, PRODUCTS):
        assert not (out / CHANGE).exists()
    assert (elsewhere / "old.x" / CHANGE).read_text() == "theirs"
    (out / ".schanger-edge.lock").symlink_to(elsewhere / SUMMARY)
    with pytest.raises(ProductError, match="is a link"), Staging(out, PRODUCTS):
        pass
    assert (elsewhere / SUMMARY).read_text() == "theirs"


@pytest.mark.parametrize("complete", [False, True])
def test_results_that_a_killed_run_had_moved_aside_come_back(tmp_path, complete):
    dead = tmp_path / ".schanger-edge.new.abc"
    (dead / "old.x").mkdir(parents=True)
    for name, text in ((CHANGE, "old"), (SUMMARY, summary("old"))):
        (dead / "old.x" / name).write_text(text)
    (tmp_path / CHANGE).write_text("new")
    ((tmp_path if complete else dead) / SUMMARY).write_text(summary("new"))
    with Staging(tmp_path, PRODUCTS):
        assert (tmp_path / CHANGE).read_text() == ("new" if complete else "old")
        assert not dead.exists()


def test_results_that_a_killed_first_run_had_moved_go(tmp_path, monkeypatch):
    replace = os.replace

    def die(source, target):
        if Path(target) == tmp_path / SUMMARY:
            raise SystemExit
        replace(source, target)

    monkeypatch.setattr(os, "replace", die)
    monkeypatch.setattr(Staging, "_leave", lambda self: self._lock.release())
    with monkeypatch.context() as patch:
        patch.setattr("schanger_edge.products.staging.reversed", lambda done: [], raising=False)  # nothing is undone
        with pytest.raises(SystemExit):
            run(tmp_path, "new", (CHANGE, PREVIEW, SUMMARY))
    assert {CHANGE, PREVIEW} <= {path.name for path in tmp_path.iterdir()}
    monkeypatch.undo()
    run(tmp_path, "newer", (CHANGE, SUMMARY))
    assert content(tmp_path) == {CHANGE: "newer", SUMMARY: "newer"}


HELD = """
import sys
from pathlib import Path
from schanger_edge.products.staging import Staging
with Staging(Path(sys.argv[1]), ()) as staging:
    staging.path("change.tif").write_text("other")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_folders_of_dead_runs_go_and_those_of_live_ones_stay(tmp_path):
    """Whatever host and process they were of, as containers share both names."""
    command = [sys.executable, "-c", HELD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        held = set(tmp_path.rglob("*"))
        with pytest.raises(ProductError, match="another run is writing to"):
            run(tmp_path, "new")
        assert set(tmp_path.rglob("*")) == held
        other.kill()
    assert set(tmp_path.rglob("*")) == held
    run(tmp_path, "new")
    assert content(tmp_path) == dict.fromkeys(PRODUCTS, "new")


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(ProductError, match="a file is in the way; move it"), Staging(folder, PRODUCTS):
            pass
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_under_a_products_name_is_kept(tmp_path):
    (tmp_path / CHANGE).mkdir()
    with pytest.raises(ProductError, match=r"change\.tif could not be written .* a folder is in the way"):
        run(tmp_path, "new")
    assert [path.name for path in tmp_path.iterdir()] == [CHANGE]


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(ProductError, match=r"Permission denied.*choose a writable output folder"):
        run(tmp_path / "out", "new")
    assert list(tmp_path.iterdir()) == []


def test_errors_name_the_file_as_the_user_knows_it(tmp_path):
    with Staging(tmp_path, PRODUCTS) as staging:
        path = staging.path(CHANGE)
        with pytest.raises(ProductError) as caught, writing(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        assert str(caught.value).startswith(f"{tmp_path / CHANGE} could not be written (No space left on device): free")
        with pytest.raises(ProductError, match=r"change\.tif could not be read"), reading(path):
            path.read_bytes()


def test_only_plain_names_inside_the_context(tmp_path):
    staging = Staging(tmp_path, PRODUCTS)
    with pytest.raises(RuntimeError):
        staging.path(CHANGE)
    with staging, pytest.raises(ValueError, match="plain"):
        staging.path("a/b")
    with pytest.raises(RuntimeError):
        staging.publish()
