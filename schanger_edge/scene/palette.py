"""Images of palette indices as RGB: GDAL's VRT looks the colours up before anything is resampled."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from rasterio.enums import MaskFlags

from schanger_edge.scene.opening import open_dataset, source_name
from schanger_edge.scene.validity import Nodata


def transparent_entries(dataset: Any, band: int, nodata: Nodata) -> tuple[int, ...]:
    """Indices that mean no data: the nodata value, and unless the user says what it is, entries without opacity."""
    value = dataset.nodatavals[band - 1] if nodata == "auto" else nodata
    declared = set() if value is None or not 0 <= float(value) <= 255 else {round(float(value))}
    if nodata == "auto":
        declared |= {index for index, color in dataset.colormap(band).items() if color[3] == 0}
    return tuple(sorted(declared))


def expand(dataset: Any, band: int, transparent: tuple[int, ...], nodata: Nodata) -> Any:
    """A dataset of red, green, blue and a mask, without georeference, over one band of indices from 0 to 255.

    GDAL's VRT as XML: https://gdal.org/drivers/raster/vrt.html

    Args:
        dataset: an open rasterio dataset.
        band: the one with the palette.
        transparent: indices that are no data.
        nodata: unless it is `auto`, the file's own mask does not count.
    """
    name = f'<SourceFilename relativeToVRT="0">{escape(source_name(dataset))}</SourceFilename>'
    lut = ",".join(f"{index}:{0 if index in transparent else 255}" for index in range(256))
    mask = f"<ComplexSource>{name}<SourceBand>{band}</SourceBand><LUT>{lut}</LUT></ComplexSource>"
    if nodata == "auto" and MaskFlags.per_dataset in dataset.mask_flag_enums[band - 1]:
        # what is 255 in the mask is passed over, so only its zeros are laid over the other ones
        mask += f"<ComplexSource>{name}<SourceBand>mask,{band}</SourceBand><NODATA>255</NODATA></ComplexSource>"
    parts = [f'<VRTDataset rasterXSize="{dataset.width}" rasterYSize="{dataset.height}">']
    for number, color in enumerate(("Red", "Green", "Blue"), 1):
        parts.append(
            f'<VRTRasterBand dataType="Byte" band="{number}"><ColorInterp>{color}</ColorInterp><ComplexSource>{name}'
            f"<SourceBand>{band}</SourceBand><ColorTableComponent>{number}</ColorTableComponent>"
            "</ComplexSource></VRTRasterBand>"
        )
    parts.append(f'<MaskBand><VRTRasterBand dataType="Byte">{mask}</VRTRasterBand></MaskBand></VRTDataset>')
    return open_dataset("".join(parts))
