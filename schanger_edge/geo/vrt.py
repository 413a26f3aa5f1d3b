"""GDAL's virtual rasters as XML, https://gdal.org/drivers/raster/vrt.html: `rasterio.open` takes the text itself."""

from __future__ import annotations

import html  # the escape of xml.sax would load urllib.request, which takes as long as numpy

GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}
"""What GDAL calls numpy's types."""


def escape(text: str) -> str:
    """Plain text as XML content."""
    return html.escape(text, quote=False)


def element(tag: str, *content: str, **attributes: object) -> str:
    """An XML element; its content is XML, its attributes are plain values."""
    marks = "".join(f' {name}="{quoted(str(value))}"' for name, value in attributes.items())
    return f"<{tag}{marks}>{''.join(content)}</{tag}>"


def source(name: str, band: int | str, *more: str, kind: str = "ComplexSource") -> str:
    """Pixels of a band, taken from a file.

    Args:
        name: the file's path, or another text that GDAL opens.
        band: its number, or `mask,1` for the mask of band 1.
        more: elements that say what becomes of the pixels.
        kind: SimpleSource copies pixels, ComplexSource may alter them.
    """
    file = element("SourceFilename", escape(name), relativeToVRT=0)
    return element(kind, file, element("SourceBand", str(band)), *more)


def raster_band(dtype: str, *content: str, **attributes: object) -> str:
    """A band of a numpy type; its sources are painted over each other in their order."""
    return element("VRTRasterBand", *content, dataType=GDAL_TYPES[dtype], **attributes)


def dataset(width: int, height: int, *content: str) -> str:
    """The whole: bands and what else there is."""
    return element("VRTDataset", *content, rasterXSize=width, rasterYSize=height)


def quoted(text: str) -> str:
    """Plain text as the value of an XML attribute."""
    return html.escape(text).translate({9: "&#9;", 10: "&#10;", 13: "&#13;"})
