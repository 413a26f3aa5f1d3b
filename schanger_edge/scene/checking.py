"""Looking a scene through before it is used: where it lies, when it was taken, and whether all of it can be decoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.image import SceneImage
from schanger_edge.scene.validity import Nodata

PIXELS = 1 << 23
"""That are decoded at a time, unless one row of blocks has more."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What a scene says of itself.

    Attributes:
        grid: where it lies.
        date: when it was taken, as far as its file says: `2021-06-03T10:20:30`.
    """

    grid: Grid
    date: str | None


def look_through(
    path: str,
    *,
    bands: Sequence[int] | None = None,
    nodata: Nodata = "auto",
    on_rows: Callable[[], None] | None = None,
) -> Look:
    """Open a scene as a run would, and decode every block of it.

    Args:
        path: an image file.
        bands: of red, green, blue; None takes what the file says.
        nodata: see `Nodata`.
        on_rows: called after each row of blocks.

    Raises:
        SceneError: it is no image that a run can take, or it is damaged.
    """
    image = SceneImage(path, bands, nodata)
    try:
        grid = image.grid
        block = image.block_shape[0]
        rows = max(block, PIXELS // grid.width // block * block)
        for row in range(0, grid.height, rows):
            image.read(Window(0, row, grid.width, min(rows, grid.height - row)))
            if on_rows:
                on_rows()
        return Look(grid, image.info().date)
    finally:
        image.close()
