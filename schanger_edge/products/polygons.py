"""The change map as polygons in a GeoPackage: exact pixel outlines, measured on the ground."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
from numpy.typing import NDArray

from schanger_edge.files import reading, writing
from schanger_edge.geo.areas import run_area
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products import POLYGONS
from schanger_edge.products.components import Components, Measures, find_components, strips
from schanger_edge.products.exchange import count, errors, torn
from schanger_edge.products.maps import SCALE, STORAGE, describe_map, join_map, quiet, small_cache
from schanger_edge.products.product import Product
from schanger_edge.products.shaping import Shapes, Shaping, shaper
from schanger_edge.products.style import add_style

PRODUCT = Product(POLYGONS, "Changed areas as polygons", "polygons", "application/geopackage+sqlite3")
LAYER = "changes"
_FIELDS = ("id", "area_m2", "pixels", "probability_mean", "probability_max")
GEOPACKAGE = "1.2"
"""The version: GDAL before 3.7 warns about 1.4, and QGIS with it; nothing here needs more."""
_CHUNK = 20_000
_POINTS = 100_000
MOST = 3_000_000
"""GDAL holds every outline at once, about 0.8 kB for a single pixel; a noisy map would take the machine's memory."""


@dataclasses.dataclass(frozen=True)
class PolygonCount:
    """What became of the areas of change.

    Attributes:
        written: polygons.
        left_out: how many more there are than the layer takes; they are the smallest.
        small: areas below the minimum, which are no change any more.
        small_pixels: theirs, all together.
        sha256: of the polygons and their fields: what is said of their ids holds where it is the same.
    """

    written: int
    left_out: int
    small: int
    small_pixels: int
    sha256: str


def write_polygons(
    change: Path,
    probability: Path,
    grid: Grid,
    target: Path,
    shaping: Shaping,
    *,
    parts: Mapping[Window, Path] | None = None,
) -> PolygonCount:
    """Write each 4-connected area of change.tif == 1 as one polygon, largest first.

    Fields: `id` (1..n, by falling area), `area_m2` (planar in projected CRS; on the ellipsoid in geographic CRS and
    in Mercator, where planar areas are badly wrong; null without a CRS), `pixels`, `probability_mean` and
    `probability_max` (0-1). They tell of the pixels of change.tif, whatever is done to the outlines: a filled hole, in
    which another polygon may lie, adds nothing to them. Memory grows with the number of areas of change (also those
    left out) and with the outlines of the polygons, not with the scene.

    Args:
        change: change.tif, as `RasterSink` wrote it; written anew where areas are below the minimum.
        probability: probability.tif of the same run.
        grid: the grid of both.
        target: GeoPackage to write; replaced where it exists.
        shaping: which areas become polygons, and how their outlines are shaped.
        parts: files that change.tif is to be made of, see `RasterSink.parts`; None where it is there.

    Raises:
        ProductError: a raster could not be read or the GeoPackage not be written.
    """
    with quiet(), small_cache(grid.width), contextlib.ExitStack() as temporary:

        def beside(name: str) -> Path:
            path = change.with_name(f".{change.name}.{name}")
            temporary.callback(path.unlink, missing_ok=True)
            return path

        source = change
        if parts is not None:
            source = beside("parts.vrt")
            with writing(change):
                describe_map(parts, grid, "change", source)
        with reading(source), rasterio.open(source) as labels, rasterio.open(probability) as values:
            if not labels.shape == values.shape == (grid.height, grid.width):
                raise ValueError(f"{change.name} and {probability.name} do not lie on the scene's grid.")
            found = find_components(labels, values, run_area(grid))
        measures, keep = found.measures, shaping.kept(found.measures.area)
        small = ~keep
        order = np.lexsort((measures.first, -measures.area))
        order = order[keep[order]]
        left_out = max(order.size - MOST, 0)
        keep[order[MOST:]] = False
        order = order[:MOST]
        whole = source
        if small.any():
            parts = {grid.window: beside("sieved.tif")}
            whole = parts[grid.window]
            with writing(whole):
                _write_kept(source, whole, found, ~small, nodata=True)
        outlined = whole
        if found.nodata or left_out:  # GDAL would hold their outlines, too: of either a map may have millions
            outlined = beside("kept.tif")
            with writing(outlined):
                _write_kept(source, outlined, found, keep)
        geometry, outlines = _outline(outlined, grid, measures, shaper(grid, shaping))
        if parts is not None:
            join_map(parts, grid, "change", change)
    if outlines != order.size:
        raise RuntimeError(f"{outlines} outlines for {order.size} areas of change.")
    digest = _write_layer(target, grid, measures, order, geometry)
    return PolygonCount(outlines, left_out, int(small.sum()), int(measures.pixels[small].sum()), digest)


class _Geometry:
    """WKB of many polygons end to end: a Python object for each would take several times the memory."""

    def __init__(self, count: int) -> None:
        self._bytes = bytearray()
        self._start = np.zeros(count, np.int64)
        self._size = np.zeros(count, np.int64)

    def put(self, indices: NDArray[np.int64], wkb: NDArray[np.object_]) -> None:
        sizes = np.array([len(one) for one in wkb], np.int64)
        self._start[indices] = len(self._bytes) + np.cumsum(sizes) - sizes
        self._size[indices] = sizes
        self._bytes += b"".join(wkb)

    def get(self, indices: NDArray[np.int64]) -> NDArray[np.object_]:
        wkb = np.empty(indices.size, object)
        with memoryview(self._bytes) as view:
            for position, (start, size) in enumerate(zip(self._start[indices], self._size[indices], strict=True)):
                wkb[position] = bytes(view[start : start + size])
        return wkb


def _write_kept(
    change: Path, target: Path, found: Components, keep: NDArray[np.bool_], *, nodata: bool = False
) -> None:
    """change.tif with only the areas to keep, and with nodata or without."""
    with rasterio.open(change) as source:
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": source.width, "height": source.height}
        profile |= {"transform": source.transform, "bigtiff": "IF_SAFER", **STORAGE}
        labels_before = 0
        with rasterio.open(target, "w", **profile) as kept:
            for strip in strips(source):
                of_label = found.of_label[labels_before : labels_before + strip.count]
                lookup = np.concatenate([[False], keep[of_label]]).astype(np.uint8)
                values = lookup[strip.labels]
                if nodata and strip.nodata:
                    stored = source.read(1, window=strip.window.rasterio)
                    np.copyto(values, stored, where=stored > 1)
                kept.write(values, 1, window=strip.window.rasterio)
                labels_before += strip.count


def _outline(source: Path, grid: Grid, measures: Measures, shape: Callable[[Shapes], Shapes]) -> tuple[_Geometry, int]:
    """Outlines of the areas of change in a raster, and how many there are."""
    geometry, outlines = _Geometry(measures.first.size), 0
    with reading(source), rasterio.open(source) as dataset:
        band = rasterio.band(dataset, 1)
        # As its own mask the band leaves out the zeros. GDAL reads it row by row.
        shapes = rasterio.features.shapes(band, mask=band, connectivity=4)
        changed = (outline["coordinates"] for outline, _ in shapes)
        for batch in _batches(changed):
            first, wkb = _encode(batch, ~dataset.transform, grid, shape)
            geometry.put(np.searchsorted(measures.first, first), wkb)
            outlines += len(batch)
    return geometry, outlines


def _batches(polygons: Iterator[Any]) -> Iterator[list[Any]]:
    """Lists of polygons of a bounded number of points: a point as a Python tuple takes over 100 bytes."""
    batch, points = [], 0
    for polygon in polygons:
        batch.append(polygon)
        points += sum(map(len, polygon))
        if points > _POINTS:
            yield batch
            batch, points = [], 0
    if batch:
        yield batch


def _encode(
    polygons: list[Any], to_pixel: Any, grid: Grid, shape: Callable[[Shapes], Shapes]
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """(index of the first pixel, WKB) of polygons given as rings in the file's coordinates, the outer ring first."""
    import shapely

    rings = [ring for polygon in polygons for ring in polygon]
    xy = np.array([point for ring in rings for point in ring])
    col, row = (np.rint(values) for values in to_pixel @ (xy[:, 0], xy[:, 1]))  # pixel corners are whole
    ring_sizes = np.array([len(ring) for ring in rings])
    polygon_sizes = np.array([len(polygon) for polygon in polygons])
    starts = (np.cumsum(ring_sizes) - ring_sizes)[np.cumsum(polygon_sizes) - polygon_sizes]
    # An area's first pixel is below and right of the first of its topmost corners.
    corner = np.minimum.reduceat((row * (grid.width + 1) + col).astype(np.int64), starts)
    first = corner // (grid.width + 1) * grid.width + corner % (grid.width + 1)
    corners = np.column_stack((col, row))
    linear_rings = shapely.linearrings(corners, indices=np.repeat(np.arange(ring_sizes.size), ring_sizes))
    of_polygon = np.repeat(np.arange(polygon_sizes.size), polygon_sizes)
    shapes = shape(shapely.polygons(linear_rings, indices=of_polygon))
    onto_ground = shapely.transform(shapes, lambda xy: np.column_stack(grid.xy(*xy.T)))
    return first, shapely.to_wkb(onto_ground)


def _write_layer(target: Path, grid: Grid, measures: Measures, order: NDArray[np.int64], geometry: _Geometry) -> str:
    """Write the polygons; their sha256, see `PolygonCount`."""
    digest = hashlib.sha256()

    def batches() -> Iterator[Rows]:
        for start in range(0, max(order.size, 1), _CHUNK):
            chunk = order[start : start + _CHUNK]
            pixels = measures.pixels[chunk]
            area = measures.area[chunk] if grid.crs is not None else np.full(chunk.size, np.nan)
            numbers = np.arange(start + 1, start + 1 + chunk.size)
            mean = measures.total[chunk] / np.maximum(pixels, 1) / SCALE
            wkb, fields = geometry.get(chunk), (numbers, area, pixels, mean, measures.peak[chunk] / SCALE)
            digest.update(b"".join((*wkb, *(field.tobytes() for field in fields))))
            yield wkb, dict(zip(_FIELDS, fields, strict=True))

    write_rows(target, LAYER, grid, batches())
    return digest.hexdigest()


Rows = tuple[NDArray[np.object_], Mapping[str, NDArray[Any]]]
"""WKB of some polygons, and their fields by name."""


def write_rows(target: Path, layer: str, grid: Grid, batches: Iterable[Rows]) -> None:
    """Write polygons as the only layer of a GeoPackage, batch by batch, at least one; replaced where it exists.

    Raises:
        ProductError: it could not be written.
    """
    import pyogrio.raw

    written = 0
    with writing(target, *errors()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")  # plain images have none
        target.unlink(missing_ok=True)
        for wkb, fields in batches:
            pyogrio.raw.write(
                target,
                wkb,
                field_data=list(fields.values()),
                fields=list(fields),
                layer=layer,
                driver="GPKG",
                geometry_type="Polygon",
                VERSION=GEOPACKAGE,
                crs=None if grid.crs is None else grid.crs.to_wkt(),
                append=target.exists(),
            )
            written += len(wkb)
        add_style(target, layer)
        if count(target, layer) != written:
            raise torn()
