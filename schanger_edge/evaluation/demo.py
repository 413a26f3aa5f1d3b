"""The main job on a rendered pair with known truth: `schanger-edge demo`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import rasterio

from schanger_edge.evaluation.scores import Counts
from schanger_edge.geo.grid import Window
from schanger_edge.products.maps import BLOCK, NODATA
from schanger_edge.run.control import Control
from schanger_edge.run.detect import Detection, detect
from schanger_edge.synthetic import SyntheticPair, write_pair

SIDE = 2048
SEED = 14
AFTER_CRS = "EPSG:4326"


@dataclasses.dataclass(frozen=True)
class Demo:
    """The rendered pair, the detection and its counts against the exact truth."""

    pair: SyntheticPair
    detection: Detection
    counts: Counts


def demo(
    folder: Path,
    *,
    side: int = SIDE,
    seed: int = SEED,
    on_render: Callable[[float], None] | None = None,
    control: Control | None = None,
) -> Demo:
    """Render a pair with the second date in another CRS, detect change, score it.

    Args:
        folder: gets `scene/` (before.tif, after.tif, truth.tif) and `result/` (the products).
        side: columns and rows of the scene.
        seed: which scene.
        on_render: called with the share rendered, 0-1.
        control: who hears of the run.
    """
    pair = write_pair(folder / "scene", width=side, height=side, seed=seed, after_crs=AFTER_CRS, progress=on_render)
    detection = detect(pair.before, pair.after, folder / "result", control=control, restart=True)
    return Demo(pair, detection, score(detection.change, pair.truth))


def score(change: Path, truth: Path) -> Counts:
    """Counts of change.tif against a truth raster on the same grid; nodata in either doesn't count."""
    counts = Counts()
    with rasterio.open(change) as predicted, rasterio.open(truth) as exact:
        for window in Window(0, 0, predicted.width, predicted.height).rows(BLOCK):
            a, b = (image.read(1, window=window.rasterio) for image in (predicted, exact))
            counts += Counts.of(a == 1, b == 1, (a != NODATA) & (b != NODATA))
    return counts
