"""Training tiles: random crops of labelled files, as an endless numbered stream.

Sample number k of a stream is a function of the seed and k alone: which file, which crop, which augmentation. So a run
that goes on after an interruption, or is shared by several processes, sees just what one uninterrupted process sees.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from schanger_edge.datasets.doubts import Doubts, spread
from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.samples import Color, LabelRule, Sample
from schanger_edge.datasets.sources import Source
from schanger_edge.errors import SchangerError
from schanger_edge.geo.grid import Window
from schanger_edge.tiling.plan import pad_to_tile
from schanger_export.augment import Augmentation
from schanger_export.options import Sampling
from schanger_export.processes import Processes

KEPT_BYTES = 2 << 30  # decoded samples that are kept; with workers each keeps its own
Item = tuple[Tensor, Tensor, Tensor]
"""images (dates, 3, T, T) in 0-1, label (1, T, T) of 0 and 1, whether the dates are exchanged (bool)."""


class KeptSample:
    """A sample in memory, read like an open `Sample`."""

    def __init__(self, images: tuple[NDArray[np.uint8], ...], label: NDArray[np.bool_]) -> None:
        self._images, self._label = images, label
        self.height, self.width = label.shape

    def images(self, window: Window) -> tuple[NDArray[np.uint8], ...]:
        """uint8 RGB (3, h, w) of each date in a window."""
        rows, cols = window.slices_in(_whole(self))
        return tuple(image[:, rows, cols] for image in self._images)

    def label(self, window: Window | None = None) -> NDArray[np.bool_]:
        """The label (h, w) in a window, or the whole."""
        return self._label[window.slices_in(_whole(self))] if window else self._label


class Crops(Dataset[Item]):
    """An endless stream of augmented crops, by number; an epoch is `len()` of them.

    Args:
        sources: where the crops come from.
        dates: 2 for pairs, 1 for single dates.
        sampling: how the crops are drawn and augmented.
        fill: colour of each date where there is no data; None is black.
    """

    def __init__(
        self, sources: Sequence[Source], dates: int, sampling: Sampling, fill: Sequence[Color] | None = None
    ) -> None:
        self._fill = fill
        self.dates, self.tile, self.seed = dates, sampling.tile, sampling.seed
        self.swap, self.focus = sampling.swap, sampling.focus
        self.augmentation = (
            Augmentation(dates, sampling.jitter, sampling.cast, sampling.negatives) if sampling.augment else None
        )
        self.entries: list[tuple[LabelledFiles, LabelRule, Source]] = []
        for source in sources:
            files = source.files(dates)
            rule = LabelRule.for_files(files, source.label or "auto")
            self.entries += [(entry, rule, source) for entry in files for _ in range(source.repeat)]
        self._shuffled = 0, self._permutation(0)
        self._kept: dict[LabelledFiles, KeptSample] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.entries)

    def doubts(self) -> tuple[str, ...]:
        """What the files leave in doubt, in sentences; of many files, those of some spread over all are opened."""
        doubts, of = Doubts(), {files: rule for files, rule, _ in self.entries}
        for files in spread(list(of)):
            with Sample(files, of[files]) as sample:
                doubts.add(sample.warnings, *files.images)
        return doubts.sentences

    def sha256(self) -> str:
        """Of the names of the samples, in order, and of the rules for their labels: the same wherever they lie."""
        lines = (f"{files.name}\t{rule}\n" for files, rule, _ in self.entries)
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def __getitem__(self, number: int) -> Item:
        epoch, position = divmod(number, len(self))
        files, rule, source = self.entries[self._order(epoch)[position]]
        rng = np.random.default_rng((self.seed, number))
        images, label = self._crop(files, rule, source, rng)
        tensors = torch.from_numpy(np.stack(images)).float() / 255, torch.from_numpy(label).float()[None]
        draw = int(rng.integers(1 << 62))
        turned, mask = self.augmentation(*tensors, draw) if self.augmentation else tensors
        return turned, mask, torch.tensor(rng.random() < self.swap)

    def __getitems__(self, numbers: list[int]) -> list[Item] | SchangerError:
        """For torch's loader; what is raised is handed on, or the loader would make the worker's traceback its text."""
        try:
            return [self[number] for number in numbers]
        except SchangerError as error:
            return error

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The entries of an epoch as they come; epochs come one after the other, so the latest is kept."""
        if self._shuffled[0] != epoch:
            self._shuffled = epoch, self._permutation(epoch)
        return self._shuffled[1]

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, 1 << 32, epoch)).permutation(len(self))

    @contextlib.contextmanager
    def _sample(self, files: LabelledFiles, rule: LabelRule) -> Iterator[Sample | KeptSample]:
        """The files, decoded once for all where they fit: that takes longer than a crop's augmentation."""
        if files in self._kept:
            yield self._kept[files]
            return
        with Sample(files, rule, self._fill) as sample:
            size = sample.height * sample.width * (3 * self.dates + 1)
            if self._kept_bytes + size > KEPT_BYTES:
                yield sample
                return
            self._kept[files] = KeptSample(sample.images(), sample.label())
        self._kept_bytes += size
        yield self._kept[files]

    def _crop(
        self, files: LabelledFiles, rule: LabelRule, source: Source, rng: np.random.Generator
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]:
        """Images (3, T, T) and label (T, T): a window of the files, resized to one tile where a scale is drawn.

        What a file smaller than a tile lacks is its mirror image, as in validation and `run`.
        """
        with self._sample(files, rule) as sample:
            scale = float(np.exp(rng.uniform(*np.log(source.scale))))
            side = min(max(round(self.tile * scale), 1), max(min(sample.height, sample.width), self.tile))
            whole = sample.label() if self.focus and rng.random() < self.focus else None
            window = _window(side, sample.height, sample.width, whole, rng)
            label = sample.label(window) if whole is None else whole[window.slices_in(_whole(sample))]
            images = [self._resized(pad_to_tile(image, side), side) for image in sample.images(window)]
        mask = pad_to_tile(label.astype(np.uint8)[None], side)[0]
        if side != self.tile:
            mask = cv2.resize(mask, (self.tile, self.tile), interpolation=cv2.INTER_NEAREST)
        return images, mask

    def _resized(self, image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        if side == self.tile:
            return image
        method = cv2.INTER_AREA if side > self.tile else cv2.INTER_LINEAR
        resized = cv2.resize(image.transpose(1, 2, 0), (self.tile, self.tile), interpolation=method)
        return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


def _whole(sample: Sample | KeptSample) -> Window:
    return Window(0, 0, sample.width, sample.height)


def _window(side: int, height: int, width: int, label: NDArray[np.bool_] | None, rng: np.random.Generator) -> Window:
    """A window, square where there is room: around a labelled pixel where there is a label with any, else anywhere."""
    rows, cols = min(side, height), min(side, width)
    found = np.flatnonzero(label) if label is not None else np.empty(0, np.int64)
    if found.size:
        row, col = divmod(int(found[rng.integers(found.size)]), width)
        top, left = row - int(rng.integers(rows)), col - int(rng.integers(cols))
    else:
        top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - cols + 1))
    return Window(min(max(left, 0), width - cols), min(max(top, 0), height - rows), cols, rows)


def micro_batches(
    start: int, steps: int, batch_size: int, accumulate: int, processes: Processes
) -> Iterator[list[int]]:
    """Numbers of the samples of each micro-batch of this process, from any step on: a batch sampler.

    Args:
        start: first step.
        steps: step to end before.
        batch_size: samples in a step, over all processes and micro-batches.
        accumulate: micro-batches in a step.
        processes: this one among its peers.
    """
    part = batch_size // (accumulate * processes.world)
    for step in range(start, steps):
        for micro in range(accumulate):
            first = step * batch_size + (micro * processes.world + processes.rank) * part
            yield list(range(first, first + part))


def loaded(crops: Crops, numbers: Iterator[list[int]], workers: int, *, pin_memory: bool) -> Iterator[Any]:
    """The micro-batches; `workers` processes read them ahead, and what is wrong with a file is raised here."""
    loader = DataLoader(crops, batch_sampler=numbers, num_workers=workers, pin_memory=pin_memory, collate_fn=_collated)
    return _raised(iter(loader))  # made here and not with the first batch: torch draws from its generator for it


def _raised(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if isinstance(batch, SchangerError):
            raise batch
        yield batch


def _collated(samples: list[Item] | SchangerError) -> Any:
    return samples if isinstance(samples, SchangerError) else default_collate(samples)
