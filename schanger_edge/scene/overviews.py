"""Whether a file's overviews show its pixels: whoever changes the pixels may leave overviews of earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window
from schanger_edge.scene.opening import open_dataset
from schanger_edge.scene.remote import is_plain
from schanger_edge.scene.sampling import LATTICE, lattice

_EVERY = 3  # of the lattice's windows, in both directions 4 of 12, is looked at
_EVERY_REMOTE = 6  # 2 of 12: each is fetched at full size
_APART = 0.5  # deviations of the scene's pixels between the means of windows: nearest sampling stays below 0.1


def are_stale(dataset: Any, bands: Sequence[int], complete: Callable[[Window], bool]) -> bool:
    """True where the first overview differs from the pixels in its windows' means.

    Args:
        dataset: an open rasterio dataset.
        bands: that are compared.
        complete: whether all pixels of a window have data; overviews mix no others.
    """
    if dataset.driver != "GTiff" or not dataset.overviews(bands[0]):
        return False  # a JPEG's, for instance, are made of its pixels on reading
    pixels: list[NDArray[np.float64]] = []
    apart: list[NDArray[np.float64]] = []
    every = _EVERY if is_plain(dataset.name) else _EVERY_REMOTE
    with open_dataset(dataset.name, overview_level=0) as small:
        ratio_x, ratio_y = dataset.width / small.width, dataset.height / small.height
        for index, window in enumerate(lattice(Window(0, 0, dataset.width, dataset.height))):
            if index % every or index // LATTICE % every or not complete(window):
                continue
            end_col, end_row = int(window.col_end / ratio_x), int(window.row_end / ratio_y)
            col, row = int(window.col_off / ratio_x), int(window.row_off / ratio_y)
            part = Window(col, row, max(end_col - col, 1), max(end_row - row, 1))
            own = dataset.read(list(bands), window=window.rasterio).astype(np.float64)
            other = small.read(list(bands), window=part.rasterio).astype(np.float64)
            pixels.append(own.reshape(len(bands), -1))
            apart.append(own.mean((1, 2)) - other.mean((1, 2)))
    if not pixels:
        return False
    deviation = np.concatenate(pixels, 1).std()
    return bool(np.sqrt(np.mean(np.square(apart))) > _APART * deviation)
