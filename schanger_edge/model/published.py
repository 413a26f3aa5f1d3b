"""The published weights and the six benchmark datasets they were trained on, as `published.json` has them.

Paper scores: tables III-VIII of Zhou, Hu, Fang, Rui, "SChanger", IEEE JSTARS 18 (2025), doi
10.1109/JSTARS.2025.3555849. Checkpoint scores: the authors' re-measurement of the published checkpoints in float32,
2026-09-13. Protocol of both: whole test split in 256x256 tiles without overlap, label != 0, probability > 0.5, one
pixel-level confusion matrix. Sensor, GSD and kind of change: what the datasets' authors say of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schanger_edge.errors import DatasetError
from schanger_edge.model.card import Normalization, normalization_from

REPOSITORY = "Zy-Zhou/schanger"
PAGE = f"https://huggingface.co/{REPOSITORY}"
LICENSE = f"see {PAGE}"
ONE_SCALE = 2
"""A range of GSDs up to this factor counts as one scale: a run may lie as far from it."""


@dataclasses.dataclass(frozen=True)
class TrainingPreset:
    """How long to fine-tune; an epoch is one random crop of every training image.

    Attributes:
        epochs: epochs in all.
        warmup_epochs: epochs of linear warm-up at the start.
        eval_interval: epochs between two validations.
    """

    epochs: int
    warmup_epochs: int
    eval_interval: int


@dataclasses.dataclass(frozen=True)
class BenchmarkDataset:
    """One dataset as published.

    Attributes:
        name: the dataset's name in commands and model cards.
        suffix: the dataset in the names of the published checkpoints.
        test_tiles: 256x256 tiles of the whole official test split; a score over fewer is not comparable.
        paper_f1: F1 of the change class in percent by network size, from the article.
        checkpoint_f1: the same, of the published checkpoints.
        normalization: colour statistics of both dates, on pixel values scaled to 0-1.
        sensor: what took the images, in words.
        gsd_range: finest and coarsest metres per pixel.
        change: what counts as change, in words.
        off_nadir: whether the images were taken at an angle.
        training: preset for fine-tuning.
    """

    name: str
    suffix: str
    test_tiles: int
    paper_f1: Mapping[str, float]
    checkpoint_f1: Mapping[str, float]
    normalization: Normalization
    sensor: str
    gsd_range: tuple[float, float]
    change: str
    off_nadir: bool
    training: TrainingPreset

    @property
    def gsd(self) -> float | None:
        """Metres per pixel: the middle of the range; None where it is too wide for one scale."""
        finest, coarsest = self.gsd_range
        return round((finest + coarsest) / 2, 3) if coarsest <= ONE_SCALE * finest else None

    def checkpoint_name(self, size: str) -> str:
        """File name of the published checkpoint of a network size, `small` or `base`."""
        return f"schanger_{size}_{self.suffix}.pth"


def dataset(name: str) -> BenchmarkDataset:
    """The benchmark dataset of this name (upper or lower case); DatasetError where there is none of this name."""
    try:
        return DATASETS[name.lower()]
    except KeyError:
        raise DatasetError(f"dataset {name!r} is unknown: use one of {', '.join(DATASETS)}.") from None


def _dataset(name: str, values: dict[str, Any]) -> BenchmarkDataset:
    made = {
        "normalization": normalization_from(values["normalization"]),
        "training": TrainingPreset(**values["training"]),
        "gsd_range": tuple(values["gsd_range"]),
    }
    return BenchmarkDataset(name=name, **{**values, **made})


_FILE = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))

DATASETS: Mapping[str, BenchmarkDataset] = {name: _dataset(name, values) for name, values in _FILE["datasets"].items()}
"""All six by name."""

VALUES: Mapping[str, int] = _FILE["values"]
"""Numbers in a checkpoint by network size; each takes four bytes, and so do a model's."""

MODELS: Mapping[str, tuple[BenchmarkDataset, str]] = {
    f"{name}:{size}": (entry, size) for name, entry in DATASETS.items() for size in VALUES
}
"""Dataset and network size of every published model by name, such as `levir-cd:base`."""
