"""The protocol with predictors whose right answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from schanger_edge.datasets.layouts import LabelledFiles, pair_files, single_date_files
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.errors import DatasetError
from schanger_edge.evaluation import protocol
from schanger_edge.evaluation.protocol import labelled_tiles, predicted_tiles, score
from schanger_edge.evaluation.scores import Counts
from schanger_edge.geo.grid import Window

RULE = LabelRule()
SIZES = {"a": (96, 150), "b": (20, 40), "c": (64, 64)}


@pytest.fixture
def files(tmp_path: Path) -> list[LabelledFiles]:
    """Noise in three sizes; the label is where the second date is brighter in red."""
    rng = np.random.default_rng(1)
    for name, size in SIZES.items():
        before, after = (rng.integers(0, 255, (*size, 3), np.uint8) for _ in range(2))
        label = ((after[..., 2] > before[..., 2]) * 255).astype(np.uint8)
        for folder, image in (("A", before), ("B", after), ("label", label)):
            (tmp_path / "val" / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "val" / folder / f"{name}.png"), image)
    return pair_files(tmp_path, "val")


def brighter(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (after[:, :1] > before[:, :1]).astype(np.float32)


@pytest.mark.parametrize("halo", [0, 8])
def test_tiles_own_every_pixel_once(files: list[LabelledFiles], halo: int) -> None:
    for entry in files:
        with Sample(entry, RULE) as sample:
            whole = Window(0, 0, sample.width, sample.height)
            owners, label = np.zeros((sample.height, sample.width), int), sample.label()
            tiles = list(labelled_tiles(sample, 64, halo))
            for tile in tiles:
                owners[tile.owned.slices_in(whole)] += 1
                assert tile.scene == whole
                assert (tile.label == label[tile.owned.slices_in(whole)]).all()
                for image, owned in zip(sample.images(tile.owned), tile.owned_images, strict=True):
                    assert (image == owned).all()
        assert (owners == 1).all()
        assert [tile.last for tile in tiles] == [False] * (len(tiles) - 1) + [True]


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_a_perfect_predictor_scores_one_whatever_the_batch(files: list[LabelledFiles], batch: int) -> None:
    sizes = []

    def predictor(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        assert before.shape[1:] == after.shape[1:] == (3, 64, 64)
        assert before.dtype == after.dtype == np.uint8
        sizes.append(len(before))
        return brighter(before, after)

    counts, tiles = score(files, RULE, predictor, tile=64, batch_size=batch)
    assert counts.f1 == counts.accuracy == 1
    assert counts.total == sum(height * width for height, width in SIZES.values())
    assert tiles == sum(sizes) == 2 * 3 + 1 + 1
    assert max(sizes) == min(batch, tiles)


def test_threshold_is_exclusive_and_counts_add_up(files: list[LabelledFiles]) -> None:
    half, _ = score(files, RULE, lambda before, after: 0.5 * brighter(before, after), tile=64, batch_size=2)
    assert half.true_positive == half.false_positive == 0  # 0.5 is not greater than 0.5
    lower, _ = score(files, RULE, lambda before, after: 0.5 * brighter(before, after), tile=64, threshold=0.49)
    assert lower.f1 == 1
    everything = [Counts.of(p > 0.5, tile.label) for tile, p in predicted_tiles(files, RULE, brighter, 64)]
    assert sum(everything, Counts()) == lower


def test_a_large_image_is_read_row_by_row_with_the_same_result(
    files: list[LabelledFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = score(files, RULE, brighter, tile=32)
    monkeypatch.setattr(protocol, "WHOLE_PIXELS", 0)
    read = []
    original = Sample.read

    def watched(self: Sample, window: Window | None = None) -> Any:
        assert window is not None
        read.append(window.height)
        return original(self, window)

    monkeypatch.setattr(Sample, "read", watched)
    assert score(files, RULE, brighter, tile=32) == whole
    assert read == [32, 32, 32, 20, 32, 32]


def test_single_dates(tmp_path: Path) -> None:
    image = np.random.default_rng(2).integers(0, 255, (64, 64, 3), np.uint8)
    for folder, pixels in (("images", image), ("gt", (image[..., 0] > 99).astype(np.uint8))):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "x.png"), pixels)
    counts, tiles = score(
        single_date_files(tmp_path), RULE, lambda date: (date[:, 2:] > 99).astype(np.float32), tile=32
    )
    assert (counts.f1, tiles) == (1, 4)


def test_a_damaged_file_ends_the_score_with_its_sentence(files: list[LabelledFiles]) -> None:
    files[1].label.write_text("no image")
    with pytest.raises(DatasetError, match=r"label/b\.png is incomplete"):
        score(files, RULE, brighter, tile=64)
