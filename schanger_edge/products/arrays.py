"""Arrays in and out: images given as arrays are kept beside the results, and maps are read as arrays."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from schanger_edge.errors import ProductError, SceneError
from schanger_edge.files import replacing
from schanger_edge.products.journal import unfinished
from schanger_edge.products.maps import SCALE

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@contextlib.contextmanager
def kept_arrays(
    images: tuple[Any, Any], folder: Path, transform: Sequence[float] | None, crs: Any
) -> Iterator[tuple[Any, Any]]:
    """Both images as files: arrays among them are written to `folder`, each under a name that its content decides.

    So a run of the same arrays can be resumed, and other results in the folder keep theirs. Where the block fails and
    leaves no unfinished run, what was written is removed.

    Args:
        images: files, which are left as they are, or arrays (3, H, W).
        folder: of the results; made where it does not exist.
        transform: of the arrays.
        crs: of the arrays.

    Raises:
        SceneError: an array is none of an image, or transform or CRS don't make sense.
        ProductError: an array cannot be written.
    """
    files = dict(zip(("before", "after"), images, strict=True))
    arrays = {name: image for name, image in files.items() if isinstance(image, np.ndarray)}
    place = _place(transform, crs)
    if place and not arrays:
        raise SceneError("transform and crs are those of arrays: a file has its own; omit them.")
    made = [path for path in (folder, *folder.parents) if not path.exists()] if arrays else []
    for name, array in arrays.items():
        _check(name, array)
    try:
        for name, array in arrays.items():
            files[name] = file = folder / f"{name}-{_digest(array, place)}.tif"
            if not file.exists():
                made.insert(0, file)
                _write(file, array, place)
        yield files["before"], files["after"]
    except BaseException:
        if unfinished(folder) is None:
            for path in made:
                with contextlib.suppress(OSError):  # there is something in the folder
                    path.rmdir() if path.is_dir() else path.unlink()
        raise


def read_probability(path: Path) -> NDArray[np.float32]:
    """probability.tif as (H, W), 0-1, NaN where there is no data."""
    try:
        with rasterio.open(path) as dataset:
            values: NDArray[np.uint8] = dataset.read(1)
    except rasterio.RasterioIOError as error:
        raise ProductError(f"{path} cannot be read ({error}): run the pair again.") from error
    probability: NDArray[np.float32] = values.astype(np.float32) / np.float32(SCALE)
    probability[values > SCALE] = np.nan
    return probability


def _place(transform: Sequence[float] | None, crs: Any) -> dict[str, Any]:
    """Transform and CRS as rasterio writes them; empty where there are none."""
    if (transform is None) != (crs is None):
        raise SceneError("an array needs transform and crs together, or neither.")
    if transform is None:
        return {}
    try:
        return {"transform": Affine(*tuple(transform)[:6]), "crs": CRS.from_user_input(crs)}
    except CRSError as error:
        raise SceneError(f"crs {crs!r} is not known: give a code such as EPSG:32631.") from error
    except (TypeError, ValueError) as error:
        raise SceneError(f"transform must be six numbers, as of affine.Affine, not {transform!r}.") from error


def _check(name: str, array: NDArray[Any]) -> None:
    if array.ndim != 3 or array.shape[0] != 3 or 0 in array.shape:
        turn = "; numpy.moveaxis(array, -1, 0) brings it there" if array.ndim == 3 and array.shape[-1] == 3 else ""
        raise SceneError(
            f"the {name} array must hold red, green and blue as (3, height, width), not {array.shape}{turn}."
        )
    if array.dtype.name not in _DTYPES:
        raise SceneError(f"the {name} array is {array.dtype}: convert it to one of {', '.join(_DTYPES)}.")


def _digest(array: NDArray[Any], place: dict[str, Any]) -> str:
    found = hashlib.sha256(f"{array.dtype} {array.shape} {place}".encode())
    found.update(np.ascontiguousarray(np.ma.getdata(array)).data)
    if np.ma.isMaskedArray(array):
        found.update(np.ascontiguousarray(np.ma.getmaskarray(array)).data)
    return found.hexdigest()[:12]


def _write(path: Path, array: NDArray[Any], place: dict[str, Any]) -> None:
    _, height, width = array.shape
    profile = {"driver": "GTiff", "count": 3, "height": height, "width": width, "dtype": array.dtype, "tiled": True}
    profile |= {"compress": "deflate", "photometric": "rgb", "bigtiff": "if_safer"}
    with (
        replacing(path, ProductError) as temporary,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(temporary, "w", **profile, **place) as dataset,
    ):
        dataset.write(np.ma.getdata(array))
        if np.ma.isMaskedArray(array):
            dataset.write_mask(~np.ma.getmaskarray(array).all(axis=0))
