"""Virtual rasters as text."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import rasterio

from schanger_edge.geo import vrt


def test_a_raster_of_two_files(make_tiff) -> None:
    """Names, also such that XML would take for its own, come through; a lookup alters pixels on the way."""
    one = make_tiff("a & 'b'.tif", np.array([[[1, 2], [3, 0]]], np.uint8), crs=None)
    two = make_tiff("<c>.tif", np.array([[[7, 0], [0, 9]]], np.uint8), crs=None)
    plain = vrt.source(str(one), 1, kind="SimpleSource")
    over = vrt.source(str(two), 1, vrt.element("NODATA", "0"), vrt.element("LUT", "0:0,255:510"))
    text = vrt.dataset(2, 2, vrt.raster_band("uint16", plain, over, band=1))
    with rasterio.open(text) as dataset:
        assert dataset.dtypes == ("uint16",)
        assert dataset.read(1).tolist() == [[14, 2], [3, 18]]


def test_attributes_are_escaped() -> None:
    """A reader of XML gets the very value back, white space too, and the content stays XML."""
    value = "\"'<&>\t\n\r "
    parsed = ElementTree.fromstring(vrt.element("A", "<B/>", name=value))
    assert parsed.attrib == {"name": value}
    assert [child.tag for child in parsed] == ["B"]
