"""Opening one raster and checking that it can be a date of a pair."""

from __future__ import annotations

import contextlib
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import DatasetReader

from schanger_edge.errors import SceneError, SchangerError, raised_by_gdal
from schanger_edge.geo import vrt
from schanger_edge.geo.grid import Grid
from schanger_edge.scene.refusing import check_path, check_vrt
from schanger_edge.scene.remote import is_plain, is_remote, public_name, public_text, reading

PNG_TAIL = 1 << 16  # bytes that may follow the end of a PNG
PLAIN_FORMATS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG", "HFA", "NITF")
"""GDAL's drivers whose files hold their own pixels."""
DESCRIPTIONS = ("VRT", "WMS", "WMTS", "WCS", "GTI", "STACTA", "STACIT", "DERIVED", "PLMosaic", "EEDAI", "TileDB")
"""Those whose files tell where pixels are: in other files, or on other machines."""
MOST_SIDE, MOST_BANDS, MOST_BLOCK = 2_000_000, 10_000, 1 << 30
"""Pixels along a side, bands, and bytes of one decoded block, beyond which a file is refused."""
PATIENCE = 20  # seconds for the first bytes of a remote file
_BESIDE = (".aux.xml", ".ovr", ".msk", ".aux", ".rrd")
_HEAD = 64
_PLAIN = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"EHFA_HEADER_TAG")
_LEADING_AWAY = (b"OVERVIEW_FILE", b"<!ENTITY", b"&#", b"/VSI", b"<VRT")
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_CONNECTION = re.compile(r"<|vrt://|[A-Za-z]\w+:(?!//)")  # XML, a VRT's URL, a driver's prefix


def open_dataset(path: str, formats: Sequence[str] = (), **options: Any) -> Any:
    """A rasterio dataset, without the warning about plain images, which are allowed; `options` are rasterio's.

    Args:
        path: anything GDAL opens.
        formats: GDAL's drivers that may open it; none: all of them. With a list, files beside it and tags inside it may
            not lead to other files either.

    Raises:
        SceneError: there is no such file, it cannot be fetched, it is no image, or of another format.
    """
    name = public_name(path)
    check_path(path)
    with warnings.catch_warnings(), reading(path):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        if _is_cut_png(path):
            raise SceneError(f"{name} is incomplete (its end is missing): get a fresh copy.")
        if formats:
            check_beside(path)
        with gdal_errors(lambda error: _not_opened(path, name, error, formats)):
            dataset = _opened(path, formats, options)
        if formats and dataset.tags(ns="OVERVIEWS"):
            dataset.close()
            raise SceneError(f"{name} names another file that holds its overviews: take that tag out.")
        return dataset


def _opened(path: str, formats: Sequence[str], options: Mapping[str, Any]) -> Any:
    if formats:  # of which rasterio.open takes one only
        return DatasetReader(path, driver=list(formats), **options)
    if is_remote(path) and not path.startswith("<"):  # a description of remote files is no file
        began = time.monotonic()
        try:
            return rasterio.open(path, driver="GTiff", **options)
        except RasterioIOError as error:
            # Each of GDAL's 140 drivers would wait as long once more for a server that doesn't answer.
            took = time.monotonic() - began
            if took > PATIENCE:
                raise RasterioIOError(f"the server sent nothing that can be used in {took:.0f} seconds") from None
            if "not recognized" not in str(error):
                raise
    return rasterio.open(path, **options)


def check_beside(path: str) -> None:
    """Raise a SceneError where a file that GDAL would open beside an image is no plain one, or names others."""
    folder, name = os.path.split(os.path.abspath(path))
    stems = {name.lower(), os.path.splitext(name)[0].lower()}
    for found in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        stem, suffix = _beside(found.lower())
        if stem not in stems or not suffix:
            continue
        with contextlib.suppress(OSError), open(os.path.join(folder, found), "rb") as file:
            head = file.read(_HEAD)
            if suffix == ".aux.xml":
                bad = any(word in (head + file.read()).upper() for word in _LEADING_AWAY)
            else:
                bad = bool(head) and not head.startswith(_PLAIN)
            if bad:
                raise SceneError(f"{path} has a file {found} beside it that leads to other files: remove it.")


def _beside(name: str) -> tuple[str, str]:
    """(name of the image, suffix) of a file that GDAL opens beside an image; an empty suffix for others."""
    suffix = next((suffix for suffix in _BESIDE if name.endswith(suffix)), "")
    stem = name.removesuffix(suffix)
    while suffix and suffix != ".aux.xml" and (inner := next((s for s in _BESIDE if stem.endswith(s)), "")):
        stem = stem.removesuffix(inner)  # a.tif.msk.ovr
    return stem, suffix


@contextlib.contextmanager
def gdal_errors(explain: Callable[[Exception], SchangerError]) -> Iterator[None]:
    """Turn what rasterio and GDAL raise inside the block into the error that `explain` makes of it."""
    try:
        yield
    except Exception as error:
        if not raised_by_gdal(error):
            raise
        raise explain(error) from error


def _not_opened(path: str, name: str, error: Exception, formats: Sequence[str] = ()) -> SceneError:
    if is_remote(path):
        return _not_fetched(name, error)
    if is_plain(path) and not os.path.exists(path):
        return SceneError(f"{path or 'an empty path'} does not exist: check the path.")
    if is_plain(path) and os.path.isdir(path):
        return SceneError(f"{path} is a folder: give an image file.")
    if formats:
        return SceneError(
            f"{name} cannot be opened as an image of the formats {', '.join(formats)} ({reason(error)}): convert it to "
            "GeoTIFF, or name its format with --format."
        )
    return SceneError(f"{name} cannot be opened as an image ({reason(error)}): use GeoTIFF, PNG or JPEG.")


def _is_cut_png(path: str) -> bool:
    """True for a PNG without an end: GDAL would read noise from where it was cut, without an error."""
    if not path.lower().endswith(".png"):
        return False
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - PNG_TAIL, 0))
            return b"IEND" not in file.read()
    except OSError:  # absent, or not on this disk: opening it will say so
        return False


def grid_of(dataset: Any, name: str) -> Grid:
    """The grid of a dataset; one with a CRS but no geotransform is a plain image.

    Raises:
        SceneError: it has no usable georeference of the kind it claims.
    """
    if not dataset.count:
        parts = public_text(", ".join(dataset.subdatasets)) or "none"
        raise SceneError(f"{name} is a container without bands of its own: use one of its subdatasets ({parts}).")
    _check_size(dataset, name)
    check_vrt(dataset, name)
    placed = dataset.transform != Affine.identity()  # a CRS alone says nowhere where the pixels lie, nor their size
    grid = Grid(dataset.crs if placed else None, dataset.transform, dataset.width, dataset.height)
    if not grid.georeferenced and (dataset.gcps[0] or dataset.rpcs):
        raise SceneError(f"{name} has only ground control points or RPCs: rectify it first with gdalwarp.")
    if grid.transform.is_degenerate:
        raise SceneError(f"{name} has a degenerate transform: fix its georeference with gdal_edit.")
    return grid


def _check_size(dataset: Any, name: str) -> None:
    """Refuse what would take any amount of memory to read, whatever the size of the file."""
    if max(dataset.width, dataset.height) > MOST_SIDE:
        raise SceneError(
            f"{name} says it has {dataset.width} x {dataset.height} pixels, more than {MOST_SIDE} a side: cut it into "
            "parts with gdal_translate -srcwin."
        )
    if dataset.count > MOST_BANDS:
        raise SceneError(
            f"{name} says it has {dataset.count} bands, more than {MOST_BANDS}: take three with gdal_translate -b."
        )
    height, width = dataset.block_shapes[0]
    together = dataset.count if dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL" else 1
    size = height * width * together * max(np.dtype(_numpy_name(kind)).itemsize for kind in set(dataset.dtypes))
    if size > MOST_BLOCK:
        raise SceneError(
            f"{name} has blocks of {width} x {height} pixels, which take {size / 1e9:.1f} GB each: write it anew with "
            "gdal_translate -co TILED=YES."
        )


def _numpy_name(kind: str) -> str:
    return "complex64" if kind.startswith("complex_int") else kind


def check_types(dataset: Any, bands: Sequence[int], name: str) -> None:
    """Raise a SceneError where the bands differ in type, or it is not one of `vrt.GDAL_TYPES`."""
    types = {dataset.dtypes[band - 1] for band in bands}
    if len(types) > 1 or not types <= vrt.GDAL_TYPES.keys():
        raise SceneError(f"{name} has pixels of type {', '.join(sorted(types))}: convert it to one real type.")


def palette_band(dataset: Any, bands: Sequence[int], name: str) -> int | None:
    """The band with a palette, if the chosen ones are all that band; None if none has a palette.

    Raises:
        SceneError: a palette stands beside other bands, or its indices are no bytes.
    """
    if not any(dataset.colorinterp[band - 1] == ColorInterp.palette for band in bands):
        return None
    if len(set(bands)) > 1 or dataset.dtypes[bands[0] - 1] != "uint8":
        raise SceneError(
            f"{name} has a palette that cannot be used directly: expand it with `gdal_translate -expand rgb`."
        )
    return bands[0]


def source_name(dataset: Any) -> str:
    """How a VRT refers to an open file: by GDAL's connection string if that says more than the file's name."""
    opened: str = dataset.name
    if _CONNECTION.match(opened) and not os.path.exists(opened):
        return opened
    name: str = dataset.files[0] if dataset.files else dataset.name
    return name if name.startswith("/vsi") or not os.path.exists(name) else os.path.abspath(name)


def band_subset(dataset: Any, bands: Sequence[int], hiding: str | None = None, nodata: float | None = None) -> Any:
    """Some bands of a file as a dataset of their own, without alpha, mask and georeference.

    Args:
        dataset: an open rasterio dataset.
        bands: their numbers.
        hiding: the band whose zeros hide pixels, as a VRT calls it: a number, or `mask,1`.
        nodata: what hidden pixels hold in all bands.
    """
    name, size, hidden = source_name(dataset), (dataset.width, dataset.height), ""
    if hiding is not None:
        lut = vrt.element("LUT", "0:0,1:255")  # of 0 and 255, also where alpha is soft
        mask = vrt.dataset(*size, vrt.raster_band("uint8", vrt.source(name, hiding, lut)))
        # what is 255 in the mask is passed over, so only its zeros are laid over the band, as 0 * 0 + nodata
        offset, ratio = vrt.element("ScaleOffset", repr(nodata)), vrt.element("ScaleRatio", "0")
        hidden = vrt.source(mask, 1, vrt.element("NODATA", "255"), offset, ratio)
    parts = [
        vrt.raster_band(dataset.dtypes[band - 1], vrt.source(name, band, kind="SimpleSource"), hidden) for band in bands
    ]
    return open_dataset(vrt.dataset(*size, *parts))


def date_of(dataset: Any) -> str | None:
    """Acquisition time from the file's tags: `2021-06-03T10:20:30`, without a time zone; None if they have none.

    The IMAGERY domain's ACQUISITIONDATETIME comes first; TIFF's own date may be that of later processing.
    """
    stated = (dataset.tags(ns="IMAGERY").get("ACQUISITIONDATETIME", ""), dataset.tags().get("TIFFTAG_DATETIME", ""))
    for text, form in zip(stated, ("%Y-%m-%d %H:%M:%S", "%Y:%m:%d %H:%M:%S"), strict=True):
        with contextlib.suppress(ValueError):
            return datetime.strptime(text.strip(), form).isoformat()
    return None


def damaged(name: str, error: Exception) -> SceneError:
    """The error for a file that opens but cannot be read."""
    if is_remote(name):
        return _not_fetched(name, error)
    return SceneError(f"{name} cannot be read: it is damaged or incomplete ({reason(error)}). Get a fresh copy.")


def _not_fetched(name: str, error: Exception) -> SceneError:
    return SceneError(f"{name} cannot be fetched as an image ({reason(error)}): check the address and the network.")


def reason(error: Exception) -> str:
    """The first line of GDAL's message, without credentials."""
    return public_text(str(error.__cause__ or error).splitlines()[0].rstrip("."))


def dtype_of(dataset: Any, bands: Sequence[int]) -> np.dtype[Any]:
    """The common type of the chosen bands."""
    dtype: np.dtype[Any] = np.dtype(dataset.dtypes[bands[0] - 1])
    return dtype
