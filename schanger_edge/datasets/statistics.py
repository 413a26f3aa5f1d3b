"""Colour statistics of a labelled dataset, for the normalization of a model: `schanger-edge statistics`.

The published way: mean and standard deviation are taken of each image by itself and averaged over the images. The
deviation over all pixels at once would also hold how much images differ in brightness. That the published numbers are
not of that kind shows in three places: those of S2Looking, whose images differ much in brightness, are as small as 0.03
to 0.05; those of LEVIR-CD+, which contains LEVIR-CD, are 0.90 and 0.89 times those of LEVIR-CD, which is what the same
images give when they are cut into tiles of 256 pixels (0.91 times in eleven images of LEVIR-CD), while their deviation
over all pixels does not depend on cutting; and of these eleven images the published deviations of the later date,
0.144, 0.140, 0.133, are nearer to 0.149, 0.142, 0.137 than to the 0.152, 0.146, 0.141 over all pixels.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.datasets.sources import Source
from schanger_edge.errors import DatasetError, ModelError, ProductError
from schanger_edge.files import check_writable, replacing
from schanger_edge.geo.grid import Window
from schanger_edge.model.card import Normalization, Statistics

STRIP = 1024  # rows read at once
_AT_ONCE = 1 << 18  # pixels

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of the channels of one image, on values scaled to 0-1."""


def color_counts(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each value occurs in each channel: uint8 (3, h, w) -> (3, 256)."""
    counts = np.zeros((3, 256), np.int64)
    for index, channel in enumerate(image):
        flat = channel.ravel()
        for start in range(0, flat.size, _AT_ONCE):  # NumPy makes 8 bytes of each value
            counts[index] += np.bincount(flat[start : start + _AT_ONCE], minlength=256)
    return counts


def moments(counts: NDArray[np.int64]) -> Moments:
    """Of one image, from the counts (3, 256) of its values."""
    values = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(1)
    return tuple(mean.tolist()), tuple(np.sqrt(variance).tolist())


def normalization_of(images: Sequence[Sequence[Moments]]) -> Normalization:
    """Averages the moments of both dates, or of one that stands for both, over images, each of which counts the same.

    DatasetError where there are no images, or each has a channel of one value all over.
    """
    if not images:
        raise DatasetError("there are no images to take colour statistics from: add some.")
    dates = (np.sum(images, axis=0) / len(images)).tolist()
    try:
        statistics = [Statistics(tuple(mean), tuple(std)) for mean, std in dates]
    except ModelError:
        raise DatasetError("a channel is constant across all images: check the bands.") from None
    return Normalization(statistics[0], statistics[-1])


def color_statistics(
    root: str | PathLike[str],
    *,
    split: str = "train",
    single: bool = False,
    masks: str | PathLike[str] | None = None,
    output: str | PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Normalization:
    """Mean colour and standard deviation of each date, as `export --normalization` and training read them.

    Holds some rows of one pair in memory at a time.

    Args:
        root: folder of a dataset, in one of the layouts of `layouts`.
        split: which split of pairs.
        single: True for single-date images with masks: `root` holds both, or the images alone; both dates then get
            the same numbers.
        masks: folder of masks where `root` holds the images alone.
        output: JSON file to write; None writes nothing.
        progress: called with images (or pairs) done and all.

    Raises:
        DatasetError: the folders do not hold what they should, or an image cannot be read.
        ProductError: the file could not be written.
    """
    if output is not None:
        check_writable(Path(output), ProductError)
    if masks is not None and not single:
        raise DatasetError("--masks is for single-date images: add --single.")
    masked = None if masks is None else Path(masks)
    files = Source(str(root), split=split, masks=masked).files(1 if single else 2)
    images, rule = list[list[Moments]](), LabelRule.for_files(files)
    for index, entry in enumerate(files, 1):
        counts = _counts(entry, rule)
        if counts.any():  # not without data all over
            images.append([moments(own) for own in counts])
        if progress:
            progress(index, len(files))
    result = normalization_of(images)
    if output is not None:
        with replacing(Path(output), ProductError) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(result), indent=2) + "\n", encoding="utf-8")
    return result


def _counts(entry: LabelledFiles, rule: LabelRule) -> NDArray[np.int64]:
    """`color_counts` of each date of a sample, (dates, 3, 256), read strip by strip."""
    counts = np.zeros((len(entry.images), 3, 256), np.int64)
    with Sample(entry, rule) as sample:
        for row in range(0, sample.height, STRIP):
            window = Window(0, row, sample.width, min(STRIP, sample.height - row))
            images, valid = sample.read(window)
            seen = images if valid is None else [image[:, valid] for image in images]
            counts += np.stack([color_counts(image) for image in seen])
    return counts
