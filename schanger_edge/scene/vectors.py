"""Polygons from a file, brought onto a pair's grid and burnt window by window."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import rasterio.features
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.errors import SceneError
from schanger_edge.geo.crs import horizontal_crs, transformer
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.refusing import check_path
from schanger_edge.scene.remote import is_connection, is_plain, is_remote, public_name, public_text, remote_settings

VECTOR_SUFFIXES = {".gpkg", ".geojson", ".json", ".geojsonl", ".shp", ".fgb", ".gml", ".kml", ".sqlite"}
SEGMENT = 64  # pixels: longer edges get points between, so that they bend as the reprojection bends them
_POLYGONAL = (3, 6)  # shapely's numbers of Polygon and MultiPolygon
_COLLECTION = 7
_BOUND_POINTS = 64  # points on each side of the grid from which its bounds in another CRS are taken


class Polygons:
    """The polygons of one layer that meet a grid, in memory.

    Attributes:
        name: the file's, without what gives access to a URL.
        count: features of the layer, also those that lie elsewhere.
        meets: True where any of them covers ground of the grid.

    Args:
        path: GeoPackage, GeoJSON, Shapefile or another vector file GDAL opens.
        grid: of the pair, with a CRS.
        layer: name of the layer; None takes the only one with geometry.

    Raises:
        SceneError: the file cannot be read, has no CRS, or holds something else than polygons.
    """

    def __init__(self, path: str, grid: Grid, layer: str | None = None) -> None:
        import shapely

        info = _describe(path, layer)
        self.name, self.count = public_name(path), int(info["features"])
        self._shapes: NDArray[np.object_] = np.empty(0, object)
        if self.count:
            try:
                self._shapes = _on_grid(path, info, grid)
            except shapely.errors.GEOSException as error:
                raise SceneError(
                    f"{self.name} has outlines that cannot be computed with ({error}): mend it."
                ) from error
        self._tree = shapely.STRtree(self._shapes)
        self.meets = bool(self._shapes.size)

    def burn(self, window: Window) -> NDArray[np.bool_]:
        """(h, w) True where a pixel's centre lies in a polygon."""
        import shapely

        shape = (window.height, window.width)
        box = shapely.box(window.col_off, window.row_off, window.col_end, window.row_end)
        near = self._shapes[self._tree.query(box, predicate="intersects")]
        parts = shapely.get_parts(shapely.intersection(near, box))  # small, for rasterize takes them as Python lists
        parts = parts[shapely.get_type_id(parts) == _POLYGONAL[0]]
        if not parts.size:
            return np.zeros(shape, np.bool_)
        place = Affine.translation(window.col_off, window.row_off)
        burnt = rasterio.features.rasterize(list(parts), shape, transform=place, dtype="uint8")
        return np.asarray(burnt, np.bool_)

    def bounds(self) -> Window:
        """The smallest window that holds all of them; it may reach beyond the grid."""
        import shapely

        left, top, right, bottom = shapely.total_bounds(self._shapes)
        col, row = math.floor(left), math.floor(top)
        return Window(col, row, math.ceil(right) - col, math.ceil(bottom) - row)

    def sha256(self) -> str:
        """Of the polygons as they lie on the grid."""
        import shapely

        return hashlib.sha256(b"".join(shapely.to_wkb(self._shapes))).hexdigest()


def is_vector(path: str) -> bool:
    """True for files that are read as polygons, by suffix."""
    return os.path.splitext(path)[1].lower() in VECTOR_SUFFIXES


def _on_grid(path: str, info: dict[str, Any], grid: Grid) -> NDArray[np.object_]:
    """The polygons of the layer that `info` describes, as far as they meet the grid: in (column, row), valid."""
    import pyproj
    import shapely

    name = public_name(path)
    try:
        own, target = pyproj.CRS.from_user_input(info["crs"]), horizontal_crs(grid.crs)
        forth = transformer(own, target)
    except pyproj.exceptions.ProjError as error:
        raise SceneError(f"{name} cannot be reprojected to the CRS of the images: {error}") from error
    forth = None if own == target else forth
    bounds = _bounds(grid, forth)
    shapes = _polygons_of(_read(path, info["layer_name"], bounds))
    if bounds is not None:  # what lies far off may not be reprojectable, and its edges need no points
        shapes = shapely.intersection(shapes, shapely.box(*bounds))
    if forth is not None:
        shapes = shapely.segmentize(shapes, _segment(grid, forth, name))

    def onto(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Any, Any]:
        x, y = (x, y) if forth is None else forth.transform(x, y)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise SceneError(f"{name} has polygons outside the valid area of the images' CRS: clip it to the images.")
        return grid.pixel(x, y)

    shapes = shapely.transform(shapes, onto, interleaved=False)
    shapes = _polygons_of(shapes)  # points that moved may make an outline cross itself
    inside = shapely.intersection(shapes, shapely.box(0, 0, grid.width, grid.height))
    there: NDArray[np.object_] = shapes[shapely.area(inside) > 0]
    return there


def _bounds(grid: Grid, forth: Any) -> tuple[float, float, float, float] | None:
    """Of the grid in the layer's CRS, a little larger; None where it has none, as across the antimeridian.

    `forth` leads from the layer's CRS to the grid's; None where they are one.
    """
    box = grid.bounds
    if forth is not None:
        box = forth.transform_bounds(*box, densify_pts=_BOUND_POINTS, direction="INVERSE")
    left, bottom, right, top = box
    if not np.isfinite(box).all() or left >= right:
        return None
    margin = 0.05 * max(right - left, top - bottom)
    return left - margin, bottom - margin, right + margin, top + margin


def _segment(grid: Grid, forth: Any, name: str) -> float:
    """Length of `SEGMENT` pixels in units of the layer's CRS."""
    step = np.array([0, 1])
    ends = grid.xy(grid.width / 2 + step, grid.height / 2 + step)
    (x0, x1), (y0, y1) = forth.transform(*ends, direction="INVERSE")
    length = float(np.hypot(x1 - x0, y1 - y0)) * SEGMENT
    if not 0 < length < np.inf:
        raise SceneError(f"{name} cannot be reprojected to the CRS of the images: check both CRSs.")
    return length


def _describe(path: str, layer: str | None) -> dict[str, Any]:
    """pyogrio's description of the layer.

    Raises:
        SceneError: there is no such file or layer, more than one, or it has no CRS.
    """
    import pyogrio

    name = public_name(path)
    check_path(path, "vector file")
    if is_plain(path) and not is_connection(path) and not os.path.exists(path):
        raise SceneError(f"{name} does not exist: check the path.")
    if is_remote(path):
        pyogrio.set_gdal_config_options(remote_settings())
    with _reading(name):
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        names = ", ".join(layers) or "none"
        if layer is not None and layer not in layers:
            raise SceneError(f"{name} has no layer {layer!r} with geometry: choose one of {names}.")
        if layer is None and len(layers) != 1:
            raise SceneError(f"{name} has {len(layers)} layers with geometry ({names}): choose one.")
        info: dict[str, Any] = pyogrio.read_info(path, layer=layer or layers[0], force_feature_count=True)
    if info["crs"] is None:
        raise SceneError(f"{name} has no CRS: set it in QGIS, or with ogr2ogr -a_srs.")
    return info


def _read(path: str, layer: str, bounds: tuple[float, float, float, float] | None) -> NDArray[np.object_]:
    """The layer's geometries that touch the bounds."""
    import pyogrio.raw
    import shapely

    name = public_name(path)
    with _reading(name):
        _, _, wkb, _ = pyogrio.raw.read(path, layer=layer, columns=[], force_2d=True, bbox=bounds)
    try:
        shapes: NDArray[np.object_] = shapely.from_wkb(wkb)
    except shapely.errors.GEOSException as error:
        raise SceneError(f"{name} holds curves: turn them into lines with ogr2ogr -nlt CONVERT_TO_LINEAR.") from error
    shapes = shapes[~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)]
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise SceneError(f"{name} has coordinates that are no numbers: draw its areas anew.")
    if not np.isin(shapely.get_type_id(shapes), (*_POLYGONAL, _COLLECTION)).all():
        raise SceneError(f"{name} holds points or lines: draw areas as polygons, in a layer of their own.")
    return shapes


def _polygons_of(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Valid single polygons; what mending leaves of lines and points is dropped."""
    import shapely

    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(shapes)))  # of collections, then of their parts
    valid: NDArray[np.object_] = parts[shapely.get_type_id(parts) == _POLYGONAL[0]]
    return valid


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what pyogrio raises into one sentence on the file."""
    from pyogrio import errors

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they show the whole address, with its keys
            yield
    except (errors.DataSourceError, errors.DataLayerError, errors.FeatureError, errors.GeometryError) as error:
        why = public_text(" ".join(str(error).split()).rstrip("."))
        raise SceneError(f"{name} cannot be read as a vector file ({why}): use GPKG, GeoJSON or Shapefile.") from error
