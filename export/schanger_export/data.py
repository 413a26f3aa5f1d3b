"""Training tiles: random crops of labelled folders, both dates and the label cut and turned alike.

Folders are `ROOT/A`, `ROOT/B`, `ROOT/label` for pairs and `ROOT/image`, `ROOT/mask` for single dates.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import DatasetError

PAIR_FOLDERS = ("A", "B", "label")
SINGLE_FOLDERS = ("image", "mask")
CACHED_IMAGES = 800  # decoded images kept, the oldest dropped first


@dataclasses.dataclass(frozen=True)
class Source:
    """One folder of training images.

    Attributes:
        root: folder that holds A, B, label or image, mask.
        weight: how often it is drawn, against the other sources.
        scale: (smallest, largest) number of source pixels per tile pixel, drawn log-uniformly.
        glob: which file names take part.
    """

    root: Path
    weight: float = 1.0
    scale: tuple[float, float] = (0.8, 1.25)
    glob: str = "*"

    def samples(self) -> list[tuple[Path, ...]]:
        """One tuple of paths per sample: (before, after, label) or (image, mask)."""
        folders = PAIR_FOLDERS if (self.root / "A").is_dir() else SINGLE_FOLDERS
        names = sorted(p.name for p in (self.root / folders[0]).glob(self.glob))
        labels = {p.stem: p for p in (self.root / folders[-1]).iterdir()} if names else {}
        missing = [name for name in names if Path(name).stem not in labels]
        if not names or missing:
            raise DatasetError(f"{self.root}: " + (f"{missing[0]} has no label." if missing else "no images found."))
        return [(*(self.root / f / name for f in folders[:-1]), labels[Path(name).stem]) for name in names]


class Crops:
    """Draws random augmented tiles from weighted sources; every draw comes from one generator."""

    def __init__(self, sources: Sequence[Source], tile: int, rng: np.random.Generator) -> None:
        self.tile, self.rng = tile, rng
        self.sources = [(source, source.samples()) for source in sources]
        weights = np.array([source.weight for source, _ in self.sources])
        self.weights = weights / weights.sum()

    def batch(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(images, labels): float32 (count, dates, 3, T, T) in 0-1 and float32 (count, 1, T, T) of 0 and 1."""
        images, labels = zip(*(self._draw() for _ in range(count)), strict=True)
        return np.stack(images), np.stack(labels)[:, None]

    def _draw(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = self.rng
        source, samples = self.sources[rng.choice(len(self.sources), p=self.weights)]
        *dates, label = (read_image(path) for path in samples[rng.integers(len(samples))])
        side = round(self.tile * float(np.exp(rng.uniform(*np.log(source.scale)))))
        side = min(side, *label.shape)
        top, left = self._corner(label, side)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))

        def cut(array: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
            part = array[top : top + side, left : left + side]
            part = cv2.resize(part, (self.tile, self.tile), interpolation=interpolation)  # type: ignore[assignment]
            part = np.rot90(part, turns)
            return np.ascontiguousarray(part[:, ::-1] if flip else part)

        smooth = cv2.INTER_AREA if side > self.tile else cv2.INTER_LINEAR
        images = [cut(date, smooth).astype(np.float32) / np.float32(255) for date in dates]
        colored = _photometric(images, rng)
        return np.stack([c.transpose(2, 0, 1) for c in colored]), cut(label, cv2.INTER_NEAREST).astype(np.float32)

    def _corner(self, label: NDArray[np.uint8], side: int) -> tuple[int, int]:
        """Anywhere in one draw of two; else around a labelled pixel, so that rare change is seen."""
        height, width = label.shape
        if self.rng.random() < 0.5:
            rows, cols = np.nonzero(label[::8, ::8])
            if rows.size:
                pick = self.rng.integers(rows.size)
                top = int(rows[pick] * 8 - self.rng.integers(side))
                left = int(cols[pick] * 8 - self.rng.integers(side))
                return int(np.clip(top, 0, height - side)), int(np.clip(left, 0, width - side))
        return int(self.rng.integers(height - side + 1)), int(self.rng.integers(width - side + 1))


@functools.lru_cache(maxsize=CACHED_IMAGES)
def read_image(path: Path) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3), or the label (H, W) of 0 and 1 from folders `label` and `mask`."""
    label = path.parent.name in ("label", "mask")
    array = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if label else cv2.IMREAD_COLOR)
    if array is None:
        raise DatasetError(f"{path} cannot be read as an image: replace or remove it.")
    if label:
        return np.asarray(array != 0, np.uint8)
    return cv2.cvtColor(array, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _photometric(images: list[NDArray[np.float32]], rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Light, white balance, gamma, blur and noise: a common draw for all dates and a smaller one for each."""
    common = rng.normal(0, 1, 5)
    out = []
    for image in images:
        own = 0.7 * common + 0.7 * rng.normal(0, 1, 5)
        gain = np.exp(0.12 * own[0] + 0.04 * own[1:4]).astype(np.float32)
        x = np.clip(image, 1 / 255, 1) ** np.float32(np.exp(0.15 * own[4])) * gain
        x = (x - 0.4) * np.float32(np.exp(rng.normal(0, 0.12))) + 0.4 + np.float32(rng.normal(0, 0.02))
        if rng.random() < 0.2:
            x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.4, 1.1)))
        if rng.random() < 0.2:
            x = x + rng.normal(0, rng.uniform(0.005, 0.03), x.shape).astype(np.float32)
        out.append(np.clip(x, 0, 1).astype(np.float32))
    return out
