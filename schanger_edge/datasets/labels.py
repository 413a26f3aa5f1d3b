"""The label of a pair: polygons or a raster in any CRS, read window by window on the pair's grid."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from schanger_edge.datasets.samples import LabelRule
from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.opening import damaged, gdal_errors, grid_of, open_dataset, reason
from schanger_edge.scene.orientation import Orientation
from schanger_edge.scene.remote import public_name
from schanger_edge.scene.vectors import Polygons, is_vector

_BOUND_POINTS = 64


class Label(Protocol):
    """What changed, on the grid of a pair.

    Attributes:
        note: a warning for the user; empty if there is none.
    """

    note: str

    def read(self, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(h, w) True where it changed, and (h, w) True where that is known."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_label(path: str, grid: Grid, layer: str | None = None) -> Label:
    """Open the label of a pair.

    Args:
        path: a vector file (by its suffix) or a raster; any value but 0 is change, the nodata value (where it is not
            0) and what lies outside of the raster are unknown.
        grid: of the pair, with a CRS.
        layer: of a vector file with several layers.

    Raises:
        SceneError: the file cannot be read, has no CRS, or does not meet the pair.
    """
    if is_vector(path):
        return PolygonLabel(path, grid, layer)
    if layer is not None:
        name = public_name(path)
        raise SceneError(f"{name} is a raster, which has no layers: leave layer empty, or use a GPKG.")
    return RasterLabel(path, grid)


def rule_of(path: str) -> str:
    """What counts as change in a file that `open_label` opens, in words."""
    return "inside a polygon" if is_vector(path) else str(LabelRule())


class PolygonLabel:
    """Change is what the polygons cover; an empty layer means that nothing changed. See `Label`."""

    def __init__(self, path: str, grid: Grid, layer: str | None = None) -> None:
        self._polygons = Polygons(path, grid, layer)
        name = self._polygons.name
        if self._polygons.count and not self._polygons.meets:
            raise SceneError(
                f"{name} has {self._polygons.count} shapes, but none within the images: check its CRS and location."
            )
        self.note = "" if self._polygons.count else f"{name} has no polygons: the whole pair is labelled as no change."

    def read(self, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """See `Label`."""
        return self._polygons.burn(window), np.ones((window.height, window.width), np.bool_)

    def close(self) -> None:
        """Nothing is open."""


class RasterLabel:
    """Change is any value but 0, taken from the nearest pixel. See `Label`.

    A raster without georeference belongs to an image of just its size.
    """

    def __init__(self, path: str, grid: Grid) -> None:
        self._name, self.note = public_name(path), ""
        self._dataset = open_dataset(path)
        try:
            own, turn = grid_of(self._dataset, self._name), Orientation.of(self._dataset)
            colors = enumerate(self._dataset.colorinterp, 1)
            self._bands = [band for band, color in colors if color != ColorInterp.alpha][:3] or [1]
            nodata = self._dataset.nodatavals[self._bands[0] - 1]
            self._nodata = nodata or None  # 0 is "no change" even where a file declares it as nodata
            self._vrt = self._on(grid, _placed(self._name, own, turn, grid))
        except BaseException:
            self._dataset.close()
            raise

    def read(self, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """See `Label`.

        Raises:
            SceneError: the file is damaged.
        """
        with gdal_errors(lambda error: damaged(self._name, error)):
            values = self._vrt.read([*self._bands, self._vrt.count], window=window.rasterio)
        known: NDArray[np.bool_] = values[-1] > 0
        unknown = np.isnan(values[:-1])
        if self._nodata is not None and not np.isnan(self._nodata):
            unknown |= values[:-1] == self._nodata
        known &= ~unknown.all(0)
        return (values[:-1] != 0).any(0) & known, known

    def close(self) -> None:
        """Close the file."""
        self._vrt.close()
        self._dataset.close()

    def _on(self, grid: Grid, own: Grid) -> Any:
        """The raster on the pair's grid; its last band marks where it has data."""
        target = {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}
        sampling = {"resampling": Resampling.nearest, "tolerance": 0.02, "src_nodata": None, "nodata": None}
        has_alpha = ColorInterp.alpha in self._dataset.colorinterp
        with gdal_errors(self._not_placed):
            _check_meets(self._name, own, grid)
            source = {"src_crs": own.crs, "src_transform": own.transform, "add_alpha": not has_alpha}
            return WarpedVRT(self._dataset, **source, **target, **sampling)

    def _not_placed(self, error: Exception) -> SceneError:
        return SceneError(f"{self._name} cannot be resampled to the grid of the images: {reason(error)}")


def _placed(name: str, own: Grid, turn: Orientation, grid: Grid) -> Grid:
    """The grid of a raster; that of the pair where it has the same size and no place of its own."""
    if own.crs is not None:
        return own
    if not own.georeferenced and turn.shape(own.height, own.width) == (grid.height, grid.width):
        return Grid(grid.crs, grid.transform @ turn.place(own.height, own.width), own.width, own.height)
    raise SceneError(
        f"{name} has no CRS: set it with gdal_edit -a_srs, or use a label of exactly {grid.width} x {grid.height} "
        "pixels."
    )


def _check_meets(name: str, own: Grid, grid: Grid) -> None:
    """By bounds, on the plane of the label's own pixels."""
    box = transform_bounds(grid.crs, own.crs, *grid.bounds, densify_pts=_BOUND_POINTS)
    left, bottom, right, top = own.bounds
    if max(left, box[0]) >= min(right, box[2]) or max(bottom, box[1]) >= min(top, box[3]):
        raise SceneError(f"{name} does not overlap the images: check its CRS and location.")
