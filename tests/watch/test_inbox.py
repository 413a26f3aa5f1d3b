"""What counts as a scene, what belongs to it, and when it has arrived."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schanger_edge.watch.inbox import Settling, scan


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(folder: Path) -> list[str]:
    return [arrival.name for arrival in scan(folder)]


def test_scenes_of_all_folders(tmp_path: Path) -> None:
    put(tmp_path, "b.tif", "card/a.TIF", "c.png", "notes.txt", "sums.md5", ".hidden.tif", ".card/d.tif")
    assert names(tmp_path) == ["b.tif", "c.png", "card/a.TIF"]


def test_files_that_are_being_copied(tmp_path: Path) -> None:
    """As programs name them; some make an empty file under the final name first."""
    put(tmp_path, "a.tif.part", "b.tif.filepart", "c.tif.crdownload", "d.tif", "d.tif.part", "e.tif")
    assert names(tmp_path) == ["e.tif"]


def test_sidecars_belong_to_their_scene(tmp_path: Path) -> None:
    put(tmp_path, "a.tif", "a.tfw", "a.tif.aux.xml", "a.tif.ovr", "a.prj", "ab.tfw", "b.tif", "b.png", "b.pgw")
    first, _, third = scan(tmp_path)
    assert [file.path.name for file in first.sidecars] == ["a.prj", "a.tfw", "a.tif.aux.xml", "a.tif.ovr"]
    assert [file.path.name for file in first.identifying] == ["a.tif", "a.prj", "a.tfw"]
    assert [file.path.name for file in third.sidecars] == ["b.pgw"]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.tif"))).write_bytes(b"x")
    assert names(tmp_path) == ["bad\\xff.tif"]


def test_a_share_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        scan(tmp_path / "gone")


def test_a_file_settles_when_it_stays_the_same(tmp_path: Path) -> None:
    put(tmp_path, "a.tif")
    settling = Settling(10)
    assert settling.settled(scan(tmp_path), 100.0) == []
    assert settling.remaining(104.0) == 6
    (tmp_path / "a.tif").write_bytes(b"more")
    assert settling.settled(scan(tmp_path), 109.0) == []
    assert settling.settled(scan(tmp_path), 118.0) == []
    assert [arrival.name for arrival in settling.settled(scan(tmp_path), 119.0)] == ["a.tif"]
    assert settling.remaining(119.0) is None


def test_a_sidecar_that_grows_holds_its_scene_back(tmp_path: Path) -> None:
    put(tmp_path, "a.tif", "a.tfw")
    settling = Settling(10)
    settling.settled(scan(tmp_path), 0.0)
    (tmp_path / "a.tfw").write_bytes(b"longer")
    assert settling.settled(scan(tmp_path), 10.0) == []
