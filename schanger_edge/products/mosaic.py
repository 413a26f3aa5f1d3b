"""Sections of a map as one raster: GDAL's virtual format as text, so that no pixel is copied."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from rasterio.crs import CRS

from schanger_edge.geo.grid import Grid, Window


@dataclasses.dataclass(frozen=True)
class Band:
    """What is said of the single uint8 band of a map.

    Attributes:
        description: of the band.
        nodata: value of pixels without data.
        scale: of a stored value; None where values mean themselves.
        colors: RGBA of values.
    """

    description: str
    nodata: int
    scale: float | None = None
    colors: dict[int, tuple[int, int, int, int]] | None = None


def mosaic(parts: Mapping[Window, Path], grid: Grid, band: Band, block: int) -> str:
    """A dataset for `rasterio.open`: XML after https://gdal.org/drivers/raster/vrt.html.

    Args:
        parts: windows of the grid, and single-band uint8 rasters of their size in blocks of `block`.
        grid: of the whole.
        band: what the whole says of its band.
        block: side of the files' blocks in pixels.
    """
    lines = [f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">']
    if grid.crs is not None:
        epsg = grid.crs.to_epsg()
        same = epsg is not None and CRS.from_epsg(epsg) == grid.crs  # a code may only be near it
        text = f"EPSG:{epsg}" if same else grid.crs.to_wkt(version="WKT2_2019")
        lines.append(f'<SRS dataAxisToSRSAxisMapping="2,1">{escape(text)}</SRS>')
    if grid.georeferenced:
        t = grid.transform
        numbers = ", ".join(repr(float(value)) for value in (t.c, t.a, t.b, t.f, t.d, t.e))
        lines.append(f"<GeoTransform>{numbers}</GeoTransform>")
    lines.append('<VRTRasterBand dataType="Byte" band="1">')
    lines.append(f"<Description>{escape(band.description)}</Description><NoDataValue>{band.nodata}</NoDataValue>")
    if band.scale is not None:
        lines.append(f"<Offset>0</Offset><Scale>{band.scale!r}</Scale>")
    if band.colors is not None:
        entries = (band.colors.get(value, (0, 0, 0, 255)) for value in range(256))
        table = "".join('<Entry c1="{}" c2="{}" c3="{}" c4="{}"/>'.format(*entry) for entry in entries)
        lines.append(f"<ColorInterp>Palette</ColorInterp><ColorTable>{table}</ColorTable>")
    for window, path in parts.items():
        size = f'xSize="{window.width}" ySize="{window.height}"'
        lines.append(
            f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(str(path.absolute()))}</SourceFilename>'
            f"<SourceBand>1</SourceBand>"
            f'<SourceProperties RasterXSize="{window.width}" RasterYSize="{window.height}" DataType="Byte" '
            f'BlockXSize="{block}" BlockYSize="{block}"/><SrcRect xOff="0" yOff="0" {size}/>'
            f'<DstRect xOff="{window.col_off}" yOff="{window.row_off}" {size}/></SimpleSource>'
        )
    lines.append("</VRTRasterBand></VRTDataset>")
    return "".join(lines)
