"""Stored values spread over one image: what its stretch, its sentinels and its collar are taken from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.remote import reading
from schanger_edge.scene.sampling import LATTICE, sample
from schanger_edge.scene.stored_image import StoredImage

SAMPLE_SIDE = 1024  # pixels along the longer side of the decimated read for statistics
LARGE = 64_000_000  # pixels; above it, and without overviews, statistics come from windows
SAMPLE_CACHE = 128 << 20  # bytes of GDAL's block cache while statistics are taken, as of a pair that fits into it

Frame = tuple[NDArray[Any], NDArray[np.bool_] | None]
"""Stored values (3, h, w) whose border is the scene's, and validity (h, w); None where all is valid."""


def spread_values(image: StoredImage) -> tuple[NDArray[Any], Frame | None]:
    """Values of valid pixels all over an image, (3, n), and what a collar can be found in; None where nothing shows it.

    n is about a million at most, and may be 0. What reading shows of the file is added to the image's warnings.
    """
    whole, full = image.grid.window, image.grid
    small = whole.width * whole.height <= LARGE
    factor = max(1, math.ceil(max(whole.width, whole.height) / SAMPLE_SIDE))
    with rasterio.Env(GDAL_CACHEMAX=SAMPLE_CACHE), reading(image.path):
        if factor > 1 and image.overviews_are_stale():
            image.warnings.append(
                f"the overviews of {image.name} don't show its pixels: they are not used; build them anew with "
                "gdaladdo."
            )
        # masks have no overviews we know of
        elif small or (image.has_overviews and not image.masked):
            shape = math.ceil(whole.height / factor), math.ceil(whole.width / factor)
            frame, reduced = image.read_stored(whole, shape), _reduced(full, shape)
            return _values(image, frame, reduced, reduced.window), frame
        parts: list[NDArray[Any]] = []
        lattice: list[tuple[NDArray[Any], NDArray[np.bool_]]] = []

        def take(window: Window) -> int:
            data, valid = image.read_stored(window)
            parts.append(_values(image, (data, valid), full, window))
            if len(lattice) < LATTICE**2:
                lattice.append((data, np.ones(data.shape[1:], np.bool_) if valid is None else valid))
            return int(parts[-1].shape[1])

        sample(whole, take)
        return np.concatenate(parts, 1), _joined(lattice)


def _values(image: StoredImage, frame: Frame, grid: Grid, window: Window) -> NDArray[Any]:
    """(3, n) of the pixels that have data and are usable; the frame lies in a window of the grid."""
    data, valid = frame
    if image.masked:
        usable = image.usable(grid, window)
        valid = usable if valid is None else valid & usable
    values: NDArray[Any] = data.reshape(3, -1) if valid is None else data[:, valid]
    return values


def _joined(lattice: list[tuple[NDArray[Any], NDArray[np.bool_]]]) -> Frame | None:
    """The lattice's windows side by side, whose border is the scene's; None where it has not its usual size."""
    if len(lattice) != LATTICE**2 or len({data.shape for data, _ in lattice}) > 1:
        return None
    rows = [lattice[first : first + LATTICE] for first in range(0, len(lattice), LATTICE)]
    image = np.concatenate([np.concatenate([data for data, _ in row], 2) for row in rows], 1)
    return image, np.concatenate([np.concatenate([valid for _, valid in row], 1) for row in rows])


def _reduced(grid: Grid, shape: tuple[int, int]) -> Grid:
    """The same ground in fewer pixels: (rows, columns)."""
    scale = Affine.scale(grid.width / shape[1], grid.height / shape[0])
    return Grid(grid.crs, grid.transform @ scale, shape[1], shape[0])
