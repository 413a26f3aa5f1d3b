"""Pictures inside a page: JPEG as data URLs, each within so many bytes, whatever it shows."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products.maps import NODATA, SCALE, opened_map
from schanger_edge.products.thumbnail import fit

_FINE, _COARSE = (82, 72), 55
"""JPEG's qualities. WebP takes 0.75 to 1.05 times the bytes for the same look (SSIM, rendered and real photos), but ten
times the CPU: 50 to 65 ns a pixel, which was a fifth of all that a run does beside the network."""
_HATCH = np.array([[118, 124, 130], [92, 98, 104]], np.uint8)
"""Greys of the stripes that stand for no data."""
_COLORS = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(np.uint8)
"""RGB of probability 0 to 1: lightness rises evenly, so that it can be read in grey and in the sun."""
_OF_STORED = _COLORS[np.minimum(np.rint(np.arange(256) * (255 / SCALE)), 255).astype(np.uint8)]
"""RGB of each stored value of probability.tif."""

Colors = NDArray[np.uint8]


def data_urls(pictures: Mapping[str, Colors], most: Mapping[str, int], *, fine: bool) -> dict[str, str]:
    """Pictures by name as `data_url` gives them."""
    return {name: data_url(picture, most[name], fine=fine) for name, picture in pictures.items()}


def data_url(picture: Colors, most: int, *, fine: bool) -> str:
    """The picture, (h, w, 3) RGB, as a data URL of at most `most` bytes: first fine quality gives way, then size.

    The same picture always gives the same bytes.

    Raises:
        ValueError: not even a picture of one pixel has so few.
    """
    room = (most - len(_PREFIX)) // 4 * 3
    for quality in (*_FINE, _COARSE) if fine else (_COARSE,):
        encoded = _jpeg(picture, quality)
        if len(encoded) <= room:
            break
    while len(encoded) > room:
        scale = max(0.25, min(0.9, math.sqrt(room / len(encoded))))
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        if size == picture.shape[1::-1]:
            raise ValueError(f"no picture has as few as {most} bytes.")
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        encoded = _jpeg(picture, _COARSE)
    return _PREFIX + base64.b64encode(encoded).decode("ascii")


_PREFIX = "data:image/jpeg;base64,"


def _jpeg(picture: Colors, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG.")
    return encoded.tobytes()


def photo(image: NDArray[np.uint8], valid: NDArray[np.bool_], side: int) -> Colors:
    """A date, (3, h, w), for the page: no longer than `side`, (h, w, 3), stripes where not valid."""
    return _hatched(fit(np.ascontiguousarray(np.moveaxis(image, 0, -1)), side), valid)


def probability_overview(probability: Path, width: int, height: int) -> Colors:
    """probability.tif at another size in colours, (height, width, 3), from its overviews.

    Raises:
        ProductError: it could not be read.
    """
    with opened_map(probability) as dataset:
        values = dataset.read(1, out_shape=(height, width), resampling=Resampling.average)
    return colored(values)


def probability_details(probability: Path, grid: Grid, windows: Sequence[Window], side: int) -> list[NDArray[np.uint8]]:
    """Windows of probability.tif as stored, (h, w), none longer than `side`; see `colored`.

    Raises:
        ProductError: it could not be read.
    """
    with opened_map(probability, grid.width) as dataset:
        parts = (dataset.read(1, window=window.rasterio) for window in windows)
        return [fit(values, side, cv2.INTER_NEAREST) for values in parts]


def color_ramp(count: int) -> list[str]:
    """CSS colours of evenly spaced probabilities, 0 first."""
    return ["#" + bytes(_COLORS[round(255 * step / (count - 1))]).hex() for step in range(count)]


def colored(values: NDArray[np.uint8]) -> Colors:
    """Stored values of probability.tif in colours, (h, w, 3), stripes where there is no data."""
    return _hatched(np.asarray(cv2.applyColorMap(values, _OF_STORED[:, None]), np.uint8), values != NODATA)


def _hatched(picture: Colors, valid: NDArray[np.bool_]) -> Colors:
    """The picture with diagonal stripes where it is not valid; `valid` is (h, w) of any size."""
    height, width = picture.shape[:2]
    if valid.all():
        return picture
    if valid.shape != (height, width):
        small = cv2.resize(valid.view(np.uint8) * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
        valid = np.asarray(small >= 128)
    rows, cols = np.ogrid[:height, :width]
    stripes = _HATCH[(rows + cols) // 8 % 2]
    hatched: Colors = np.where(valid[..., None], picture, stripes)
    return hatched
