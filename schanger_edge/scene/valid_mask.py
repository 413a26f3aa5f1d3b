"""A raster that marks the usable pixels of an image, such as a mask of clouds and their shadows."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.opening import check_types, damaged, gdal_errors, grid_of, open_dataset
from schanger_edge.scene.orientation import Orientation
from schanger_edge.scene.remote import public_name, reading
from schanger_edge.scene.validity import ValidityRule
from schanger_edge.scene.warped import WarpedImage

BAND = 1
"""The band that is read: in a UDM2 file it marks what is clear."""


class ValidMask:
    """A mask of one date, read on any grid by the nearest pixel: usable where it is not zero and has data itself.

    Attributes:
        path: as given.
        name: the same without what gives access to a URL.

    Args:
        path: anything GDAL opens, of any CRS, grid and extent; without georeference it must have the image's size.
        image: grid of the image it belongs to.

    Raises:
        SceneError: it cannot be opened, or it is not known where it lies on the image.
    """

    def __init__(self, path: str, image: Grid) -> None:
        self.path, self.name = path, public_name(path)
        self._dataset = open_dataset(path)
        try:
            turn = Orientation.of(self._dataset)
            self._grid = _placed(grid_of(self._dataset, self.name), turn, image, self.name)
            check_types(self._dataset, (BAND,), self.name)
            self._rule = ValidityRule.of(self._dataset, (BAND,), "auto")
        except BaseException:
            self._dataset.close()
            raise
        self._warped: WarpedImage | None = None

    def read(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """(h, w) True where usable, in a window of a grid; False where the mask does not reach."""
        with reading(self.path), gdal_errors(lambda error: damaged(self.name, error)):
            if self._warped is None or self._warped.target != grid:
                self._leave()
                self._warped = WarpedImage(
                    self._dataset, self._grid, (BAND,), self._rule, grid, resampling=Resampling.nearest
                )
            values, has_data = self._warped.read(window)
        usable: NDArray[np.bool_] = has_data & (values[0] != 0)
        return usable

    @property
    def files(self) -> list[Any]:
        """Names of the files it is read from."""
        return list(self._dataset.files)

    def close(self) -> None:
        """Close the file."""
        self._leave()
        self._dataset.close()

    def _leave(self) -> None:
        if self._warped is not None:
            self._warped.close()
            self._warped = None


def _placed(own: Grid, turn: Orientation, image: Grid, name: str) -> Grid:
    name = os.path.basename(name) or name
    if not own.georeferenced:
        if turn.shape(own.height, own.width) != (image.height, image.width):
            raise SceneError(
                f"the valid mask {name} has no georeference, and its size differs from its image's ({own.width} x "
                f"{own.height} and {image.width} x {image.height}): give it one with gdal_edit."
            )
        return Grid(image.crs, image.transform @ turn.place(own.height, own.width), own.width, own.height)
    if (own.crs is None) != (image.crs is None) or not image.georeferenced:
        raise SceneError(
            f"only one of the valid mask {name} and its image has a CRS: set the other's with gdal_edit -a_srs."
        )
    return own
