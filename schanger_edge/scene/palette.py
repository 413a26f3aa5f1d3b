"""Images of palette indices as RGB: GDAL's VRT looks the colours up before anything is resampled."""

from __future__ import annotations

from typing import Any

from rasterio.enums import MaskFlags

from schanger_edge.geo import vrt
from schanger_edge.scene.opening import open_dataset, source_name
from schanger_edge.scene.validity import Nodata


def transparent_entries(dataset: Any, band: int, nodata: Nodata) -> tuple[int, ...]:
    """Indices that mean no data: the nodata value and, unless the user gives one, fully transparent entries."""
    value = dataset.nodatavals[band - 1] if nodata == "auto" else nodata
    declared = set() if value is None or not 0 <= float(value) <= 255 else {round(float(value))}
    if nodata == "auto":
        declared |= {index for index, color in dataset.colormap(band).items() if color[3] == 0}
    return tuple(sorted(declared))


def expand(dataset: Any, band: int, transparent: tuple[int, ...], nodata: Nodata) -> Any:
    """A dataset of red, green, blue and a mask, without georeference, over one band of indices from 0 to 255.

    Args:
        dataset: an open rasterio dataset.
        band: the one with the palette.
        transparent: indices that are no data.
        nodata: unless it is `auto`, the file's own mask does not count.
    """
    name = source_name(dataset)
    lut = ",".join(f"{index}:{0 if index in transparent else 255}" for index in range(256))
    mask = [vrt.source(name, band, vrt.element("LUT", lut))]
    if nodata == "auto" and MaskFlags.per_dataset in dataset.mask_flag_enums[band - 1]:
        # what is 255 in the mask is passed over, so only its zeros are laid over the other ones
        mask.append(vrt.source(name, f"mask,{band}", vrt.element("NODATA", "255")))
    colors = (
        vrt.raster_band(
            "uint8",
            vrt.element("ColorInterp", color),
            vrt.source(name, band, vrt.element("ColorTableComponent", str(number))),
            band=number,
        )
        for number, color in enumerate(("Red", "Green", "Blue"), 1)
    )
    masked = vrt.element("MaskBand", vrt.raster_band("uint8", *mask))
    return open_dataset(vrt.dataset(dataset.width, dataset.height, *colors, masked))
