"""Every published layout, made small: which files it gives, and one sentence for each defect."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from schanger_edge.datasets.layouts import pair_files, single_date_files
from schanger_edge.errors import DatasetError


def fill(folder: Path, *names: str) -> None:
    """An image of four pixels under each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((2, 2, 3), np.uint8))


def pairs(root: Path, folders: tuple[str, ...], *names: str) -> Path:
    for folder in folders:
        fill(root / folder, *names)
    return root


def found(root: Path, split: str) -> list[str]:
    return [entry.name for entry in pair_files(root, split)]


@pytest.mark.parametrize(
    ("base", "folders", "suffix"),
    [
        ("", ("A", "B", "label"), ".png"),
        ("LEVIR-CD+", ("A", "B", "label"), ".png"),
        ("", ("Image1", "Image2", "label", "label1", "label2"), ".png"),
        ("", ("time1", "time2", "label"), ".png"),
        ("ChangeDetectionDataset/Real/subset", ("A", "B", "OUT"), ".jpg"),
    ],
)
def test_split_folders_wherever_the_root_points(
    tmp_path: Path, base: str, folders: tuple[str, ...], suffix: str
) -> None:
    for split in ("train", "test"):
        pairs(tmp_path / base / split, folders, *(f"{split}{name}{suffix}" for name in "cab"))
    root, parts = tmp_path, Path(base).parts
    for part in ("", *parts):
        root = root / part
        for split in ("train", "test"):
            files = pair_files(root, split)
            assert [entry.name for entry in files] == [f"{split}{name}" for name in "abc"]
            folder = tmp_path / base / split
            assert files[0].images == tuple(folder / name / f"{split}a{suffix}" for name in folders[:2])
            assert files[0].label == folder / folders[2] / f"{split}a{suffix}"


def test_a_split_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    pairs(tmp_path / "LEVIR-CD+" / "train", ("A", "B", "label"), "a.png")
    pairs(tmp_path / "LEVIR-CD+" / "test", ("A", "B", "label"), "a.png")
    with pytest.raises(DatasetError, match=r"LEVIR-CD\+/val does not exist, .* only train and test: .* part of train"):
        pair_files(tmp_path, "val")


def test_flat_folders_by_prefix_and_by_list(tmp_path: Path) -> None:
    names = ("train_1.png", "train_2.png", "val_1.png", "test_1.png", "test_10.png", "test_2.png")
    pairs(tmp_path, ("A", "B", "label"), *names)
    assert found(tmp_path, "train") == ["train_1", "train_2"]
    assert found(tmp_path, "test") == ["test_1", "test_10", "test_2"]
    assert len(pair_files(tmp_path, ".")) == len(pair_files(tmp_path, "")) == 6
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "test.txt").write_bytes(b"\xef\xbb\xbftrain_2.png\r\ntest_10.png\r\n\r\n")
    assert found(tmp_path, "test") == ["test_10", "train_2"]  # the list decides
    assert found(tmp_path, "train") == ["train_1", "train_2"]
    (tmp_path / "list" / "test.txt").write_text("test_10\nmissing.png\n")
    with pytest.raises(DatasetError, match="missing of the list has no counterpart in A and B and label"):
        pair_files(tmp_path, "test")
    (tmp_path / "list" / "test.txt").write_text("\n")
    with pytest.raises(DatasetError, match="is empty"):
        pair_files(tmp_path, "test")
    with pytest.raises(DatasetError, match=r"neither .*holdout\.txt nor names that start with holdout_"):
        pair_files(tmp_path, "holdout")


def test_the_path_of_a_split_itself(tmp_path: Path) -> None:
    pairs(tmp_path / "test", ("A", "B", "label"), "b.png", "a.png")
    assert found(tmp_path / "test", "test") == found(tmp_path / "test", ".") == ["a", "b"]


def test_suffixes_may_differ_and_other_files_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "val" / "A", "x.jpg")
    fill(tmp_path / "val" / "B", "x.jpeg")
    fill(tmp_path / "val" / "label", "x.png")
    (tmp_path / "val" / "A" / "Thumbs.db").write_text("")
    (tmp_path / "val" / "B" / "._x.png").write_text("")  # of macOS
    (entry,) = pair_files(tmp_path, "val")
    assert [path.name for path in (*entry.images, entry.label)] == ["x.jpg", "x.jpeg", "x.png"]


def test_defects_of_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"val does not exist: the root must hold val/A, val/B, val/label"):
        pair_files(tmp_path, "val")
    (tmp_path / "val" / "photos").mkdir(parents=True)
    with pytest.raises(DatasetError, match="has none of the known folders"):
        pair_files(tmp_path, "val")
    fill(tmp_path / "val" / "A", "a.png", "b.png")
    with pytest.raises(DatasetError, match=r"val/B does not exist"):
        pair_files(tmp_path, "val")
    (tmp_path / "val" / "B").mkdir()
    fill(tmp_path / "val" / "label", "a.png", "b.png")
    with pytest.raises(DatasetError, match=r"val/B holds no images"):
        pair_files(tmp_path, "val")
    fill(tmp_path / "val" / "B", "a.png")
    with pytest.raises(DatasetError, match=r"A/b\.png has no counterpart in B"):
        pair_files(tmp_path, "val")
    fill(tmp_path / "val" / "B", "b.png", "c.png")
    with pytest.raises(DatasetError, match=r"B/c\.png has no counterpart in A and label"):
        pair_files(tmp_path, "val")
    fill(tmp_path / "val" / "B", "a.jpg")
    with pytest.raises(DatasetError, match=r"a\.png and a\.jpg share one name"):
        pair_files(tmp_path, "val")


@pytest.mark.parametrize("folders", [("before", "after", "change label"), ("2012", "2016", "change")])
def test_whole_scenes_are_sent_to_the_cutter(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for name in folders:
        fill(tmp_path / "two_period_data" / name, f"{name}.tif")
    with pytest.raises(DatasetError, match="schanger-edge dataset make"):
        pair_files(tmp_path, "test")
    with pytest.raises(DatasetError, match="schanger-edge dataset make"):
        pair_files(tmp_path / "two_period_data" / folders[0] / f"{folders[0]}.tif", "test")


@pytest.mark.parametrize(("image", "mask"), [("image", "mask"), ("images", "gt"), ("img", "labels")])
def test_single_date_folders(tmp_path: Path, image: str, mask: str) -> None:
    fill(tmp_path / image, "b.jpg", "a.jpg")
    fill(tmp_path / mask, "a.png", "b.png")
    files = single_date_files(tmp_path)
    assert [entry.name for entry in files] == ["a", "b"]
    assert (files[1].images, files[1].label) == ((tmp_path / image / "b.jpg",), tmp_path / mask / "b.png")
    assert files == single_date_files(tmp_path / image, tmp_path / mask)


def test_defects_of_single_date_folders(tmp_path: Path) -> None:
    fill(tmp_path / "image", "a.png")
    with pytest.raises(DatasetError, match="has no pair of folders such as image and mask"):
        single_date_files(tmp_path)
    fill(tmp_path / "mask", "b.png")
    with pytest.raises(DatasetError, match=r"image/a\.png has no counterpart in mask"):
        single_date_files(tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        single_date_files(tmp_path / "image", tmp_path / "nowhere")
