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
from schanger_edge.scene.undeclared import find_collar

SAMPLE_SIDE = 1024  # pixels along the longer side of the decimated read for statistics
LARGE = 64_000_000  # pixels; above it, and without overviews, statistics come from windows
SAMPLE_CACHE = 128 << 20  # bytes of GDAL's block cache while statistics are taken, as of a pair that fits into it

_Frame = tuple[NDArray[Any], NDArray[np.bool_] | None]
"""Stored values (3, h, w) whose border is the scene's, and validity (h, w); None where all is valid."""


class SpreadValues:
    """Values of valid pixels all over an image, read once.

    Attributes:
        values: (3, n); n is about a million at most, and may be 0.
        warnings: what reading them has shown of the file, in sentences.
    """

    def __init__(self, image: StoredImage) -> None:
        self._image = image
        self.warnings: list[str] = []
        self._frame: _Frame | None = None
        with rasterio.Env(GDAL_CACHEMAX=SAMPLE_CACHE), reading(image.path):
            self.values = self._take()

    def collar(self) -> tuple[tuple[float, ...], float] | None:
        """(colour, share of the image) of a collar that the file doesn't declare; None where there is none."""
        if self._frame is None:
            return None
        (image, valid), rule = self._frame, self._image.rule
        if rule.by_values:
            valid = rule.of_values(image) if valid is None else valid & rule.of_values(image)
        return find_collar(image, valid)

    def _take(self) -> NDArray[Any]:
        image, whole = self._image, self._image.grid.window
        small = whole.width * whole.height <= LARGE
        factor = max(1, math.ceil(max(whole.width, whole.height) / SAMPLE_SIDE))
        if factor > 1 and image.overviews_are_stale():
            self.warnings.append(
                f"the overviews of {image.name} don't show its pixels: they are not used; build them anew with "
                "gdaladdo."
            )
        # masks have no overviews we know of
        elif small or (image.has_overviews and not image.masked):
            return self._valid(whole, (math.ceil(whole.height / factor), math.ceil(whole.width / factor)))
        parts: list[NDArray[Any]] = []
        lattice: list[tuple[NDArray[Any], NDArray[np.bool_]]] = []

        def take(window: Window) -> int:
            parts.append(self._valid(window))
            if len(lattice) < LATTICE**2:
                data, valid = image.read_stored(window)  # from GDAL's cache
                lattice.append((data, np.ones(data.shape[1:], np.bool_) if valid is None else valid))
            return int(parts[-1].shape[1])

        sample(whole, take)
        self._frame = _joined(lattice)
        return np.concatenate(parts, 1)

    def _valid(self, window: Window, shape: tuple[int, int] | None = None) -> NDArray[Any]:
        image = self._image
        data, valid = image.read_stored(window, shape)
        if shape is not None:
            self._frame = data, valid
        if image.masked:
            grid = image.grid if shape is None else _reduced(image.grid, shape)
            usable = image.usable(grid, window if shape is None else grid.window)
            valid = usable if valid is None else valid & usable
        values: NDArray[Any] = data.reshape(3, -1) if valid is None else data[:, valid]
        return values


def _joined(
    lattice: list[tuple[NDArray[Any], NDArray[np.bool_]]],
) -> _Frame | None:
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
