"""Sections of a map as one raster: GDAL's virtual format as text, so that no pixel is copied."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from rasterio.crs import CRS

from schanger_edge.geo import vrt
from schanger_edge.geo.grid import Grid, Window


@dataclasses.dataclass(frozen=True)
class Band:
    """What is said of the single uint8 band of a map.

    Attributes:
        description: of the band.
        nodata: value of pixels without data.
        scale: of a stored value; None where values mean themselves.
    """

    description: str
    nodata: int
    scale: float | None = None


def mosaic(parts: Mapping[Window, Path], grid: Grid, band: Band, block: int) -> str:
    """A dataset for `rasterio.open`.

    Args:
        parts: windows of the grid, and single-band uint8 rasters of their size in blocks of `block`.
        grid: of the whole.
        band: what the whole says of its band.
        block: side of the files' blocks in pixels.
    """
    placed = []
    for window, path in parts.items():
        size = {"xSize": window.width, "ySize": window.height}
        properties = vrt.element(
            "SourceProperties",
            RasterXSize=window.width,
            RasterYSize=window.height,
            DataType="Byte",
            BlockXSize=block,
            BlockYSize=block,
        )
        source = vrt.element("SrcRect", xOff=0, yOff=0, **size)
        target = vrt.element("DstRect", xOff=window.col_off, yOff=window.row_off, **size)
        placed.append(vrt.source(str(path.absolute()), 1, properties, source, target, kind="SimpleSource"))
    return vrt.dataset(
        grid.width, grid.height, *_georeference(grid), vrt.raster_band("uint8", *_described(band), *placed, band=1)
    )


def _georeference(grid: Grid) -> Iterator[str]:
    if grid.crs is not None:
        epsg = grid.crs.to_epsg()
        same = epsg is not None and CRS.from_epsg(epsg) == grid.crs  # a code may only be near it
        text = f"EPSG:{epsg}" if same else grid.crs.to_wkt(version="WKT2_2019")
        yield vrt.element("SRS", vrt.escape(text), dataAxisToSRSAxisMapping="2,1")
    if grid.georeferenced:
        yield vrt.element("GeoTransform", ", ".join(repr(float(value)) for value in grid.transform.to_gdal()))


def _described(band: Band) -> Iterator[str]:
    yield vrt.element("Description", vrt.escape(band.description))
    yield vrt.element("NoDataValue", str(band.nodata))
    if band.scale is not None:
        yield vrt.element("Offset", "0")
        yield vrt.element("Scale", repr(band.scale))
