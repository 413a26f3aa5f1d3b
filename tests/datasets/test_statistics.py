"""Colour statistics: means of each image's own, whatever its size; one format for training and export."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import Ground

from schanger_edge.datasets import statistics as module
from schanger_edge.datasets.statistics import color_statistics
from schanger_edge.errors import DatasetError, ProductError
from schanger_edge.model.card import normalization_from


def save(path: Path, image: np.ndarray) -> None:
    """uint8 (C, H, W) in RGB order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[::-1].transpose(1, 2, 0) if image.ndim == 3 else image)


@pytest.fixture
def pairs(tmp_path: Path, ground: Ground) -> tuple[Path, list[np.ndarray], list[np.ndarray]]:
    """A tree of images of two sizes, one of them much darker."""
    before = [ground(48, 48, 1), ground(32, 64, 2) // 4]
    after = [ground(48, 48, 3), ground(32, 64, 4)]
    for index, dates in enumerate(zip(before, after, strict=True)):
        for folder, image in zip("AB", dates, strict=True):
            save(tmp_path / "train" / folder / f"{index}.png", image)
        save(tmp_path / "train" / "label" / f"{index}.png", np.zeros(dates[0].shape[1:], np.uint8))
    return tmp_path, before, after


def test_every_image_counts_the_same(
    pairs: tuple[Path, list[np.ndarray], list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, before, after = pairs
    monkeypatch.setattr(module, "STRIP", 20)  # several strips an image
    result = color_statistics(root, output=root / "statistics.json")
    for date, images in ((result.before, before), (result.after, after)):
        assert date.mean == pytest.approx(np.mean([image.mean((1, 2)) / 255 for image in images], 0))
        assert date.std == pytest.approx(np.mean([image.std((1, 2)) / 255 for image in images], 0))
    together = np.concatenate([image.reshape(3, -1) for image in before], 1).std(1) / 255
    assert (np.array(result.before.std) < 0.9 * together).all()  # brightness between the images is not in it
    written = json.loads((root / "statistics.json").read_text())
    assert normalization_from(written) == result
    assert written == json.loads(json.dumps(dataclasses.asdict(result)))


def test_single_dates(tmp_path: Path, ground: Ground) -> None:
    image = ground(40, 40, 5)
    save(tmp_path / "pictures" / "a.png", image)
    save(tmp_path / "houses" / "a.png", np.zeros((40, 40), np.uint8))
    result = color_statistics(tmp_path / "pictures", single=True, masks=tmp_path / "houses")
    assert result.before == result.after
    assert result.before.mean == pytest.approx(image.mean((1, 2)) / 255)


def test_defects(pairs: tuple[Path, list[np.ndarray], list[np.ndarray]]) -> None:
    root, _, _ = pairs
    with pytest.raises(DatasetError, match="val"):
        color_statistics(root, split="val")
    with pytest.raises(DatasetError, match="--single"):
        color_statistics(root, masks=root)
    (root / "none").write_text("a file")
    with pytest.raises(ProductError, match="choose a file in a writable folder"):
        color_statistics(root, output=root / "none" / "s.json")
    for index in range(2):
        shape = cv2.imread(str(root / "train" / "A" / f"{index}.png")).shape
        save(root / "train" / "A" / f"{index}.png", np.full((3, *shape[:2]), 7, np.uint8))
    with pytest.raises(DatasetError, match="is constant across all images"):
        color_statistics(root, output=root / "s.json")
    assert not (root / "s.json").exists()
