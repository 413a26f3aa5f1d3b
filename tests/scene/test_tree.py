"""Labelled folders: pairing, label rule, and one sentence for each defect."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from schanger_edge.errors import DatasetError
from schanger_edge.scene.tree import PairTree


def make(root: Path, names: tuple[str, ...] = ("b", "a"), label_suffix: str = ".png") -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        for folder in ("A", "B", "label"):
            path = root / "test" / folder
            path.mkdir(parents=True, exist_ok=True)
            if folder == "label":
                cv2.imwrite(str(path / f"{name}{label_suffix}"), np.eye(32, dtype=np.uint8) * 255)
            else:
                cv2.imwrite(str(path / f"{name}.png"), rng.integers(0, 255, (32, 32, 3), np.uint8))
    return root


def test_pairs_in_order_as_rgb(tmp_path: Path) -> None:
    tree = PairTree(make(tmp_path), "test")
    pairs = list(tree)
    assert [pair.name for pair in pairs] == ["a", "b"]
    assert len(tree) == 2
    stored = cv2.imread(str(tmp_path / "test" / "A" / "a.png"))
    assert (pairs[0].before == stored[..., ::-1].transpose(2, 0, 1)).all()
    assert (pairs[0].label == np.eye(32, dtype=bool)).all()
    assert tree.label_rule == "value != 0"


def test_jpeg_labels_are_cut_at_half(tmp_path: Path) -> None:
    tree = PairTree(make(tmp_path, label_suffix=".jpg"), "test")
    assert tree.label_rule == "value > 127"
    label = next(iter(tree)).label
    raw = cv2.imread(str(tmp_path / "test" / "label" / "a.jpg"), cv2.IMREAD_GRAYSCALE)
    assert (label == (raw > 127)).all()
    assert np.count_nonzero(raw) > np.count_nonzero(label)  # compression noise around 0 would count as change


def test_label_of_value_one_and_of_three_channels(tmp_path: Path) -> None:
    make(tmp_path, ("a",))
    path = tmp_path / "test" / "label" / "a.png"
    cv2.imwrite(str(path), np.eye(32, dtype=np.uint8))
    assert next(iter(PairTree(tmp_path, "test"))).label.sum() == 32
    cv2.imwrite(str(path), np.dstack([np.eye(32, dtype=np.uint8) * 200] + [np.zeros((32, 32), np.uint8)] * 2))
    assert next(iter(PairTree(tmp_path, "test"))).label.sum() == 32


def test_defects(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        PairTree(tmp_path, "test")
    make(tmp_path)
    (tmp_path / "test" / "B" / "b.png").unlink()
    with pytest.raises(DatasetError, match=r"A/b\.png has no partner"):
        PairTree(tmp_path, "test")
    (tmp_path / "test" / "B" / "b.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"B/b\.png cannot be read"):
        list(PairTree(tmp_path, "test"))
    cv2.imwrite(str(tmp_path / "test" / "B" / "b.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"B/b\.png has another size"):
        list(PairTree(tmp_path, "test"))
