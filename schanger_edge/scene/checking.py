"""Checking one image before it is used: where it lies, when it was taken, and whether all of it can be decoded."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

from schanger_edge.geo.grid import Grid
from schanger_edge.scene.image import SceneImage
from schanger_edge.scene.validity import Nodata

PIXELS = 1 << 23
"""Decoded at a time, unless one row of blocks has more."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """What was found out about an image.

    Attributes:
        grid: where it lies.
        date: when it was taken, by its file's tags: `2021-06-03T10:20:30`; None where they are silent.
    """

    grid: Grid
    date: str | None


def probe(
    path: str,
    *,
    bands: Sequence[int] | None = None,
    nodata: Nodata = "auto",
    formats: Sequence[str] = (),
    on_rows: Callable[[], None] | None = None,
) -> Probe:
    """Open an image as a run would, and decode every block of it.

    Args:
        path: an image file.
        bands: of red, green, blue; None takes what the file says.
        nodata: see `Nodata`.
        formats: GDAL's drivers that may open it; none: all of them.
        on_rows: called after each row of blocks.

    Raises:
        SceneError: it is no image that a run can take, or it is damaged.
    """
    with contextlib.closing(SceneImage(path, bands, nodata, formats=formats)) as image:
        grid = image.grid
        block = image.block_shape[0]
        rows = max(block, PIXELS // grid.width // block * block)
        for window in grid.window.rows(rows):
            image.read(window)
            if on_rows:
                on_rows()
        return Probe(grid, image.info().date)
