"""The label of a pair: polygons or a raster in any CRS, read window by window on the pair's grid."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from schanger_edge.datasets.samples import LabelRule
from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.cover import check_written
from schanger_edge.scene.opening import damaged, gdal_errors, grid_of, open_dataset, reason
from schanger_edge.scene.orientation import Orientation
from schanger_edge.scene.radiometry import stored_black
from schanger_edge.scene.remote import public_name, reading
from schanger_edge.scene.vectors import Polygons, is_vector

_BOUND_POINTS = 64


@dataclasses.dataclass(frozen=True)
class Label:
    """What changed, on the grid of a pair.

    Attributes:
        read: of a window (h, w) True where it changed, and (h, w) True where that is known; raises SceneError where
            the file is damaged.
        warning: for the user; empty if there is none.
    """

    read: Callable[[Window], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    warning: str = ""


@contextlib.contextmanager
def open_label(path: str, grid: Grid, layer: str | None = None) -> Iterator[Label]:
    """The label of a pair, until the context ends.

    Args:
        path: a vector file (by its suffix), where an empty layer means that nothing changed; or a raster: any value but
            that of black, 0 as a rule, is change, the nodata value (where it is not 0) and what lies outside of the
            raster are unknown. A raster without georeference belongs to an image of just its size.
        grid: of the pair, with a CRS.
        layer: of a vector file with several layers.

    Raises:
        SceneError: the file cannot be read, has no CRS, or does not meet the pair.
    """
    name = public_name(path)
    if is_vector(path):
        yield _polygons(Polygons(path, grid, layer))
        return
    if layer is not None:
        raise SceneError(f"{name} is a raster, which has no layers: leave layer empty, or use a GPKG.")
    with open_dataset(path) as dataset:
        own, turn = grid_of(dataset, name), Orientation.of(dataset)
        colors = enumerate(dataset.colorinterp, 1)
        bands = [band for band, color in colors if color != ColorInterp.alpha][:3] or [1]
        check_written(dataset, bands, name)
        none = stored_black(dataset) or 0  # what is shown black
        nodata = dataset.nodatavals[bands[0] - 1] or None  # 0 is "no change" even where a file declares it as nodata
        with _on_grid(dataset, name, _placed(name, own, turn, grid), grid) as vrt:

            def read(window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
                with reading(dataset.name), gdal_errors(lambda error: damaged(name, error)):
                    values = vrt.read([*bands, vrt.count], window=window.rasterio)
                unknown = np.isnan(values[:-1])
                if nodata is not None and not np.isnan(nodata):
                    unknown |= values[:-1] == nodata
                known = (values[-1] > 0) & ~unknown.all(0)
                return (values[:-1] != none).any(0) & known, known

            yield Label(read)


def rule_of(path: str) -> str:
    """What counts as change in a file that `open_label` opens, in words."""
    return "inside a polygon" if is_vector(path) else str(LabelRule())


def _polygons(polygons: Polygons) -> Label:
    """Change is what they cover."""
    name, count = polygons.name, polygons.count
    if count and not polygons.meets:
        raise SceneError(f"{name} has {count} shapes, but none within the images: check its CRS and location.")
    warning = "" if count else f"{name} has no polygons: the whole pair is labelled as no change."
    return Label(lambda window: (polygons.burn(window), np.ones((window.height, window.width), np.bool_)), warning)


def _on_grid(dataset: Any, name: str, own: Grid, grid: Grid) -> WarpedVRT:
    """A raster on the pair's grid, by its nearest pixels; its last band marks where it has data."""
    target = {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}
    sampling = {"resampling": Resampling.nearest, "tolerance": 0.02, "src_nodata": None, "nodata": None}
    source = {"src_crs": own.crs, "src_transform": own.transform}
    has_alpha = ColorInterp.alpha in dataset.colorinterp
    with gdal_errors(
        lambda error: SceneError(f"{name} cannot be resampled to the grid of the images: {reason(error)}")
    ):
        _check_meets(name, own, grid)
        return WarpedVRT(dataset, add_alpha=not has_alpha, **source, **target, **sampling)


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
