"""Where a file has pixels at all: nodata that differs by band, and blocks that were never written, as one mask band."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from schanger_edge.errors import SceneError
from schanger_edge.geo import vrt
from schanger_edge.scene.opening import open_dataset, source_name

_HIDES = vrt.element("NODATA", "255")  # what is 255 in a mask is passed over, so only its zeros are painted
_SHOWS = vrt.element("NODATA", "0")  # the other way round


def missing_blocks(dataset: Any, bands: Sequence[int]) -> NDArray[np.bool_] | None:
    """(rows, columns) of blocks, True where one of the bands was never written; None where all were.

    Only of GeoTIFFs, whose writer may have been killed; asking for offsets reads no pixels.
    """
    if dataset.driver != "GTiff":
        return None
    height, width = dataset.block_shapes[0]
    rows, cols = math.ceil(dataset.height / height), math.ceil(dataset.width / width)
    apart = sorted(set(bands)) if dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "BAND" else [bands[0]]
    missing = np.zeros((rows, cols), np.bool_)
    for band in apart:
        for row in range(rows):
            for col in range(cols):
                missing[row, col] |= dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band) is None
    return missing if missing.any() else None


def check_written(dataset: Any, bands: Sequence[int], name: str) -> None:
    """Raise a SceneError where blocks of a label were never written, which read as no change, and none is declared."""
    missing = missing_blocks(dataset, bands)
    if missing is not None and dataset.nodatavals[bands[0] - 1] is None:
        raise SceneError(
            f"{missing.mean():.1%} of the blocks of {name} were never written; its writer may have been stopped: get a "
            "fresh copy, or declare with gdal_edit -a_nodata 0 that they are no change."
        )


def covered(
    dataset: Any,
    bands: Sequence[int],
    opened: contextlib.ExitStack,
    *,
    masked: bool,
    missing: NDArray[np.bool_] | None = None,
) -> Any:
    """A dataset of the same bands whose mask band hides what has no data; a VRT, without georeference.

    Args:
        dataset: an open rasterio dataset.
        bands: that are read; a pixel has data where the mask of any of them says so.
        opened: closes it.
        masked: whether the file's own masks count.
        missing: see `missing_blocks`.
    """
    name, size = source_name(dataset), (dataset.width, dataset.height)
    sources = []
    if masked:
        shown = [vrt.source(name, f"mask,{band}", _SHOWS) for band in dict.fromkeys(bands)]
        sources.append(vrt.source(vrt.dataset(*size, vrt.raster_band("uint8", *shown)), 1))
    if missing is not None:
        height, width = dataset.block_shapes[0]
        rows, cols = missing.shape
        blocks = MemoryFile()
        opened.callback(blocks.close)
        with blocks.open(driver="GTiff", count=1, dtype="uint8", height=rows, width=cols) as file:
            file.write(np.where(missing, np.uint8(0), np.uint8(255))[None])
        place = (
            vrt.element("SrcRect", xOff=0, yOff=0, xSize=cols, ySize=rows),
            vrt.element("DstRect", xOff=0, yOff=0, xSize=cols * width, ySize=rows * height),
        )
        sources.append(vrt.source(blocks.name, 1, *place, *([_HIDES] if sources else [])))
    parts = [
        vrt.raster_band(kind, vrt.source(name, band, kind="SimpleSource"), band=band)
        for band, kind in enumerate(dataset.dtypes[: max(bands)], 1)
    ]
    cover = open_dataset(vrt.dataset(*size, *parts, vrt.element("MaskBand", vrt.raster_band("uint8", *sources))))
    opened.callback(cover.close)
    return cover
