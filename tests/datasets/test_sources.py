"""The language of sources: what each command takes, what everything means, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from schanger_edge.datasets.sources import (
    FOLDER,
    IMAGES,
    LIST,
    SCORED,
    SINGLE_DATES,
    TILES,
    TRAINING,
    Source,
    Takes,
    parse_source,
    usage,
)
from schanger_edge.errors import DatasetError


def test_folders() -> None:
    source = parse_source("tree,repeat=3,scale=0.5:2,split=val,glob=*[05].*,label=2+3", TRAINING)
    values = {"split": "val", "repeat": 3, "scale": (0.5, 2.0), "glob": "*[05].*", "label": "2,3"}
    assert source == Source("tree", **values)  # type: ignore[arg-type]
    assert (source.kind, source.root) == (FOLDER, Path("tree"))
    assert parse_source("tree", TRAINING) == Source("tree", split="train")
    assert parse_source("tree", TRAINING, split="val").split == "val"
    assert parse_source("tree,masks=other", SINGLE_DATES) == Source("tree", masks=Path("other"))


def test_two_images_and_lists() -> None:
    pair = parse_source("a.tif,b.tif,label=a+b.gpkg,gsd=0.5", TILES)
    assert (pair.kind, pair.place, pair.after, pair.label, pair.gsd) == (IMAGES, "a.tif", "b.tif", "a+b.gpkg", 0.5)
    assert parse_source("a.tif,gsd=0.5,b.tif", TILES) == parse_source("a.tif,b.tif,gsd=0.5", TILES)
    assert parse_source("https://host/a.tif,/vsis3/b.tif", TILES).place == "https://host/a.tif"
    assert parse_source("pairs.CSV", TILES).kind == LIST


def test_names() -> None:
    source = parse_source("town=data,split=val", SCORED, named=True, split="test")
    assert (source.name, source.place, source.split) == ("town", "data", "val")
    assert parse_source("town=C:\\a=b", SCORED, named=True, split="test").place == "C:\\a=b"
    assert parse_source("date=2020/tiles,repeat=2", TRAINING).place == "date=2020/tiles"  # no name is asked for


def test_a_drive_letter_needs_nothing_special() -> None:
    assert parse_source(r"C:\data,scale=0.5:2", TRAINING) == Source(r"C:\data", scale=(0.5, 2.0))
    assert parse_source(r"C:\a.tif,D:\b.tif", TILES).after == r"D:\b.tif"


def test_a_comma_may_be_in_the_name_of_a_folder_or_list(tmp_path: Path) -> None:
    (tmp_path / "north, south").mkdir()
    (tmp_path / "a,b.csv").touch()
    assert parse_source(f"{tmp_path}/north, south,split=val", TILES).place == f"{tmp_path}/north, south"
    assert parse_source(f"{tmp_path}/a,b.csv", TILES).kind == LIST
    with pytest.raises(DatasetError, match="images with a comma in their names must stand in a list"):
        parse_source("a,1.tif,b.tif", TILES)


@pytest.mark.parametrize(
    ("text", "takes", "sentence"),
    [
        ("x,colour=red", TRAINING, "a folder takes split, repeat, scale, glob and label here, not colour"),
        ("x,masks=y", TRAINING, "a folder takes split, repeat, scale, glob and label here, not masks"),
        ("x,split=val", SINGLE_DATES, "a folder takes masks, repeat, scale, glob and label here, not split"),
        ("a.tif,b.tif,split=val", TILES, "two images take label and gsd here, not split"),
        ("pairs.csv,gsd=1", TILES, "a list takes no key here, not gsd"),
        ("x,repeat=0", TRAINING, "has repeat=0: it must be a whole number, at least 1"),
        ("x,repeat=x", TRAINING, "has repeat=x: it must be a whole number, at least 1"),
        ("x,scale=2", TRAINING, r"has scale=2: it must be .* such as 0\.8:1\.25"),
        ("x,scale=2:1", TRAINING, "has scale=2:1: it must be"),
        ("a.tif,b.tif,gsd=0", TILES, "has gsd=0: it must be metres per pixel"),
        ("a.tif,b.tif", TRAINING, r"is not a folder: write ROOT\[,split=val\]"),
        ("pairs.csv", TRAINING, "is not a folder: write ROOT"),
        ("a.tif,", TILES, "is neither a folder nor a list nor two images"),
        ("a.tif", TILES, "is neither a folder nor a list nor two images: write BEFORE,AFTER"),
        (",split=val", TRAINING, r"needs ROOT\[,split=val\]"),
    ],
)
def test_refused(text: str, takes: Takes, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        parse_source(text, takes)


@pytest.mark.parametrize("text", ["data", "=data", "x=", ""])
def test_a_name_that_is_missing(text: str) -> None:
    with pytest.raises(DatasetError, match=r"needs NAME=ROOT\[,split=val\]"):
        parse_source(text, SCORED, named=True)


def test_files_by_name(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        for folder in ("train/A", "train/B", "train/label", "image", "mask"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / name), np.zeros((4, 4), np.uint8))
    assert [entry.name for entry in parse_source(f"{tmp_path},glob=2*", TRAINING).files()] == ["2"]
    assert [len(entry.images) for entry in Source(str(tmp_path)).files(dates=1)] == [1, 1]
    with pytest.raises(DatasetError, match=r"no image named like '\*\.jpg'"):
        Source(str(tmp_path), glob="*.jpg").files()


def test_usage_says_what_is_taken() -> None:
    assert usage(SCORED, named=True) == "NAME=ROOT[,split=val]"
    assert usage({IMAGES: ("label=FILE",), LIST: (), FOLDER: ()}) == "BEFORE,AFTER[,label=FILE], PAIRS.csv or ROOT"
