"""The evaluation protocol: labelled samples cut into tiles, predicted, and scored over the pixels each tile owns.

Official scores use tiles of 256 without halo, no resizing, change = probability > 0.5, and one confusion matrix over
the whole split.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.doubts import Doubts
from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.samples import Color, LabelRule, Sample
from schanger_edge.evaluation.scores import Counts
from schanger_edge.geo.grid import Window
from schanger_edge.model.decision import is_change
from schanger_edge.tiling.pipeline import Prefetch
from schanger_edge.tiling.plan import TilePlan, pad_to_tile

Predictor = Callable[..., NDArray[np.float32]]
"""uint8 RGB (N, 3, T, T), once for each date of the samples -> probability (N, 1, T, T)."""
WHOLE_PIXELS = 1 << 22  # up to here an image is read at once: decoders take half the time; else one row of tiles


@dataclasses.dataclass(frozen=True)
class LabelledTile:
    """One tile of a sample.

    Attributes:
        files: the sample.
        scene: the whole image as a window.
        owned: the pixels of the image that this tile decides.
        window: what `images` hold.
        images: uint8 RGB (3, h, w) of each date.
        label: (h, w) of the owned pixels.
        last: the sample ends with this tile.
        valid: (h, w) of the owned pixels, those that count; None where all do.
    """

    files: LabelledFiles
    scene: Window
    owned: Window
    window: Window
    images: tuple[NDArray[np.uint8], ...]
    label: NDArray[np.bool_]
    last: bool
    valid: NDArray[np.bool_] | None = None

    @property
    def owned_images(self) -> tuple[NDArray[np.uint8], ...]:
        """The owned pixels of each date, (3, h, w)."""
        rows, cols = self.owned.slices_in(self.window)
        return tuple(image[:, rows, cols] for image in self.images)


def labelled_tiles(sample: Sample, tile: int = 256, halo: int = 0) -> Iterator[LabelledTile]:
    """The tiles of an open sample, row by row; where its size is no multiple of the tile, the last ones shift in.

    Raises:
        DatasetError: a file is damaged or truncated.
    """
    scene = Window(0, 0, sample.width, sample.height)
    whole = scene.width * scene.height <= WHOLE_PIXELS
    read: Window | None = None
    for strip in TilePlan(scene.width, scene.height, tile, halo).strips():
        first = strip[0].window
        wanted = scene if whole else Window(0, first.row_off, scene.width, first.height)
        if read != wanted:
            (images, valid), label, read = sample.read(wanted), sample.label(wanted), wanted
        for part in strip:
            rows, cols = part.window.slices_in(wanted)
            owned = part.owned.slices_in(wanted)
            yield LabelledTile(
                sample.files,
                scene,
                part.owned,
                part.window,
                tuple(image[:, rows, cols] for image in images),
                label[owned],
                last=(part.owned.col_end, part.owned.row_end) == (scene.width, scene.height),
                valid=None if valid is None else valid[owned],
            )


def predicted_tiles(
    files: Sequence[LabelledFiles],
    rule: LabelRule,
    predictor: Predictor,
    tile: int = 256,
    batch_size: int = 1,
    *,
    fill: Sequence[Color] | None = None,
    doubts: Doubts | None = None,
) -> Iterator[tuple[LabelledTile, NDArray[np.float32]]]:
    """Every tile of all samples with the probability (h, w) of its owned pixels; files are read ahead in a thread.

    Args:
        files: the samples.
        rule: which label values count.
        predictor: gets one array for each date; the last batch may be smaller.
        tile: T.
        batch_size: N, tiles at once, also of several samples.
        fill: colour of each date where there is no data, which doesn't count; None is black.
        doubts: takes what the files leave in doubt.

    Raises:
        DatasetError: a file is missing, damaged or of another size than its partner.
    """
    with Prefetch(_tiles_of(files, rule, tile, fill, doubts), 2 * batch_size) as reader:
        entries = iter(reader)
        while batch := list(itertools.islice(entries, batch_size)):
            yield from _predict(batch, predictor, tile)


def score(
    files: Sequence[LabelledFiles],
    rule: LabelRule,
    predictor: Predictor,
    tile: int = 256,
    batch_size: int = 1,
    threshold: float = 0.5,
    *,
    fill: Sequence[Color] | None = None,
) -> tuple[Counts, int]:
    """Confusion counts over all samples and the number of tiles; see `predicted_tiles`."""
    counts, tiles = Counts(), 0
    for entry, probability in predicted_tiles(files, rule, predictor, tile, batch_size=batch_size, fill=fill):
        change = is_change(probability, threshold)
        counts, tiles = counts + Counts.of(change, entry.label, entry.valid), tiles + 1
    return counts, tiles


def _tiles_of(
    files: Sequence[LabelledFiles],
    rule: LabelRule,
    tile: int,
    fill: Sequence[Color] | None,
    doubts: Doubts | None,
) -> Iterator[LabelledTile]:
    for entry in files:
        with Sample(entry, rule, fill) as sample:
            if doubts is not None:
                doubts.add(sample.warnings, *entry.images)
            yield from labelled_tiles(sample, tile)


def _predict(
    entries: Sequence[LabelledTile], predictor: Predictor, side: int
) -> Iterator[tuple[LabelledTile, NDArray[np.float32]]]:
    dates = zip(*(entry.images for entry in entries), strict=True)
    probability = predictor(*(np.stack([pad_to_tile(image, side) for image in images]) for images in dates))
    for entry, square in zip(entries, probability[:, 0], strict=True):
        yield entry, square[entry.owned.slices_in(entry.window)]
