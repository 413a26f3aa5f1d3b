"""Labelled pairs in folders: `ROOT/{split}/{A,B,label}`, read one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import DatasetError

FOLDERS = ("A", "B", "label")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
JPEG_SUFFIXES = {".jpg", ".jpeg"}


@dataclasses.dataclass(frozen=True)
class LabelledPair:
    """One pair of a dataset: uint8 RGB (3, H, W) of both dates and the label (H, W), True = change."""

    name: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    label: NDArray[np.bool_]


class PairTree:
    """The pairs of one split, matched by file name; iterating reads one pair at a time.

    Attributes:
        folder: `ROOT/{split}`.
        label_rule: how labels become True: any value but 0, or values above 127 where labels are JPEG files,
            because JPEG compression leaves noise around 0.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.folder = root / split
        if not self.folder.is_dir():
            raise DatasetError(f"{self.folder} does not exist: the root must hold {split}/A, {split}/B, {split}/label.")
        found = {name: _images(self.folder / name) for name in FOLDERS}
        first = found["A"]
        for name in FOLDERS[1:]:
            lonely = sorted(set(first) ^ set(found[name]))
            if lonely:
                path = first.get(lonely[0]) or found[name][lonely[0]]
                raise DatasetError(f"{path} has no partner in A, B and label: complete it.")
        self._paths = [tuple(found[name][stem] for name in FOLDERS) for stem in sorted(first)]
        self._jpeg = any(paths[2].suffix.lower() in JPEG_SUFFIXES for paths in self._paths)
        self.label_rule = "value > 127" if self._jpeg else "value != 0"

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[LabelledPair]:
        for before_path, after_path, label_path in self._paths:
            before, after = _read_rgb(before_path), _read_rgb(after_path)
            values = _read(label_path, cv2.IMREAD_UNCHANGED)
            values = values if values.ndim == 2 else values[..., :3].max(2)
            for path, shape in ((after_path, after.shape[1:]), (label_path, values.shape)):
                if shape != before.shape[1:]:
                    raise DatasetError(f"{path} has another size than {before_path}: replace or remove it.")
            yield LabelledPair(before_path.stem, before, after, values > 127 if self._jpeg else values != 0)


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder} does not exist: the dataset needs A, B and label side by side.")
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            if path.stem in paths:
                raise DatasetError(f"{path} and {paths[path.stem].name} share one name: remove one of them.")
            paths[path.stem] = path
    if not paths:
        raise DatasetError(f"{folder} holds no images.")
    return paths


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    return np.ascontiguousarray(_read(path, cv2.IMREAD_COLOR)[..., ::-1].transpose(2, 0, 1))


def _read(path: Path, mode: int) -> NDArray[np.uint8]:
    array = cv2.imread(str(path), mode)
    if array is None:
        raise DatasetError(f"{path} cannot be read as an image: replace or remove it.")
    return array  # type: ignore[return-value]
