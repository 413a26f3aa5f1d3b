"""Whole labelled images through the stream of `run`, handed on as the protocol hands on its tiles.

So the scores of `evaluate` can be taken of what `run` gives: the same reading, the same tiles, blended alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.doubts import Doubts
from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.errors import DatasetError
from schanger_edge.evaluation.protocol import LabelledTile
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.run.predict import predict
from schanger_edge.scene import Pair, open_pair
from schanger_edge.sessions import Session
from schanger_edge.tiling.plan import TilePlan, blend_of


def stitched_tiles(
    files: Sequence[LabelledFiles], rule: LabelRule, session: Session, halo: int, doubts: Doubts
) -> Iterator[tuple[LabelledTile, NDArray[np.float32]]]:
    """Every tile of all images with the probability (h, w) of its owned pixels, 0 where they are not valid.

    An image is predicted as a whole before its first tile comes; memory is that of one image, a few bytes a pixel.

    Args:
        files: the images of both dates, which may lie on two grids, and labels on the grid of the first.
        rule: which label values count.
        session: the model.
        halo: context on each side of a tile's core, less than half the tile.
        doubts: takes what the files leave in doubt.

    Raises:
        SchangerError: a file is missing, damaged, or does not fit its partners.
    """
    for entry in files:
        label_only = dataclasses.replace(entry, images=())
        before, after = entry.images
        with open_pair(before, after) as pair, Sample(label_only, rule) as label:
            _check_size(pair.grid, label)
            doubts.add([*pair.warnings, *pair.collar_warnings()], before, after)
            image = _WholeImage(pair.grid)
            predict(pair, session, image, batch_size=session.best_batch, halo=halo)
            tile_side = session.tile_for(pair.grid.height, pair.grid.width)
            plan = TilePlan(pair.grid.width, pair.grid.height, tile_side, halo, blend_of(tile_side, halo))
            for strip in plan.strips():
                for tile in strip:
                    yield _labelled(entry, pair, label, tile.owned, image), image.probability[image.at(tile.owned)]


def _labelled(files: LabelledFiles, pair: Pair, label: Sample, owned: Window, image: _WholeImage) -> LabelledTile:
    """One tile, reduced to the pixels it owns."""
    scene, pixels = pair.grid.window, pair.read(owned)
    return LabelledTile(
        files,
        scene,
        owned,
        owned,
        (pixels.before, pixels.after),
        label.label(owned),
        last=(owned.col_end, owned.row_end) == (scene.width, scene.height),
        valid=image.valid[image.at(owned)],
    )


def _check_size(grid: Grid, label: Sample) -> None:
    if (label.width, label.height) != (grid.width, grid.height):
        own, other = f"{label.width} x {label.height}", f"{grid.width} x {grid.height}"
        raise DatasetError(
            f"{label.files.label} has a different size, {own} pixels where the first image has {other}: replace or "
            "remove it."
        )


class _WholeImage:
    """A sink (see `sink.Sink`) that keeps probability and validity (H, W) of one image."""

    def __init__(self, grid: Grid) -> None:
        self._window = grid.window
        self.probability = np.zeros((grid.height, grid.width), np.float32)
        self.valid = np.zeros((grid.height, grid.width), np.bool_)
        self._section = self._window
        self._edges: dict[Window, dict[str, NDArray[np.float32]]] = {}

    def at(self, window: Window) -> tuple[slice, slice]:
        """Where a window lies in the arrays."""
        return window.slices_in(self._window)

    def begin(self, section: Window) -> None:
        self._section = section

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        if probability is not None:
            self.probability[self.at(window)] = np.where(valid, probability, 0)
            self.valid[self.at(window)] = valid

    def end(self, edges: Mapping[str, NDArray[np.float32]]) -> None:
        self._edges[self._section] = dict(edges)

    def edge(self, section: Window, name: str) -> NDArray[np.float32] | None:
        return self._edges[section].pop(name, None)
