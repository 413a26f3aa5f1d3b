"""A picture of the result for a glance: both dates beside each other, the change outlined."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.files import writing
from schanger_edge.geo.grid import Window
from schanger_edge.products import PREVIEW
from schanger_edge.products.maps import NODATA, opened_map
from schanger_edge.products.product import Product

PRODUCT = Product(PREVIEW, "Both dates, the change outlined", "preview", "image/png", "thumbnail")
SIDE = 1024
"""Pixels along the longer side of each date, at most."""
_GAP = 8
_CAPTION = 24
_LEAST_SIDE = 256
_GROUND = 24
_TEXT = (240, 240, 240)
_BRIGHT, _DARK = (255, 235, 0), (10, 10, 10)
"""RGB of the inner and the outer contour: one of the two stands out on any ground."""

Image = NDArray[np.uint8]


def write_preview(path: Path, before: Image, after: Image, change: NDArray[np.bool_], valid: NDArray[np.bool_]) -> None:
    """Write a PNG of both dates with captions; beside each other, or above each other where they are wide.

    Args:
        path: file to write.
        before: (3, h, w) uint8 RGB.
        after: (3, h, w) uint8 RGB; the change is outlined on it.
        change: (h, w) bool.
        valid: (h, w) bool; other pixels are shown as a checkerboard.

    Raises:
        ProductError: the file could not be written.
    """
    height, width = valid.shape
    if not before.shape == after.shape == (3, height, width) or change.shape != valid.shape:
        raise ValueError(f"a preview of {width} x {height} got {before.shape}, {after.shape} and {change.shape}.")
    zoom = max(1, _LEAST_SIDE // max(height, width))
    panels = []
    for caption, image in (("before", before), ("after", after)):
        picture = _checkered(_enlarge(np.moveaxis(image, 0, -1), zoom), _enlarge(valid, zoom))
        if caption == "after":
            _outline(picture, _enlarge(change & valid, zoom))
        panels.append(_captioned(picture, caption))
    stacked = width > 2 * height
    gap = np.full((_GAP, panels[0].shape[1], 3) if stacked else (panels[0].shape[0], _GAP, 3), 255, np.uint8)
    sheet = np.concatenate([panels[0], gap, panels[1]], axis=0 if stacked else 1)
    done, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG.")
    with writing(path):
        path.write_bytes(png.tobytes())


def read_change_thumbnail(change: Path, width: int, height: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Read change.tif at another size, block row by block row; the overviews would lose small changes.

    Args:
        change: change.tif, as `RasterSink` wrote it.
        width: columns of the thumbnail.
        height: rows of the thumbnail.

    Returns:
        (change, valid), both (height, width) bool: change where any pixel under the thumbnail's is change, valid
        where any is valid.

    Raises:
        ProductError: the file could not be read.
    """
    shape = (height, width)
    is_change, valid = np.zeros(shape, bool), np.zeros(shape, bool)
    with opened_map(change) as dataset:
        tops, bottoms = _cells(dataset.height, height)
        lefts, rights = _cells(dataset.width, width)
        step = dataset.block_shapes[0][0]
        for window in Window(0, 0, dataset.width, dataset.height).rows(step):
            values = dataset.read(1, window=window.rasterio)
            strips = (values == 1, values != NODATA)
            touched = np.flatnonzero((bottoms > window.row_off) & (tops < window.row_end))
            for row in touched:
                part = slice(max(tops[row] - window.row_off, 0), bottoms[row] - window.row_off)
                for strip, target in zip(strips, (is_change, valid), strict=True):
                    # Rows first, in whole vectors: the columns are then only a few.
                    target[row] |= _any_between(np.logical_or.reduce(strip[part], axis=0), lefts, rights)
    return is_change, valid


def _cells(size: int, cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and end index, each (cells,), of the pixels under each cell; at least one."""
    edges = np.arange(cells + 1, dtype=np.int64) * size
    starts = edges[:-1] // cells
    return starts, np.maximum(-(-edges[1:] // cells), starts + 1)


def _any_between(flags: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    counts = np.concatenate([[0], np.cumsum(flags)])
    inside: NDArray[np.bool_] = counts[ends] > counts[starts]
    return inside


def _enlarge(array: NDArray[np.generic], zoom: int) -> NDArray[np.generic]:
    return np.repeat(np.repeat(array, zoom, axis=0), zoom, axis=1)


def _checkered(picture: NDArray[np.generic], valid: NDArray[np.generic]) -> Image:
    """A copy of the picture, (h, w, 3), with a grey checkerboard where it is not valid."""
    if valid.all():
        return picture.astype(np.uint8)
    rows, cols = np.ogrid[: valid.shape[0], : valid.shape[1]]
    board = np.where((rows // 8 + cols // 8) % 2, 150, 110).astype(np.uint8)
    return np.where(valid[..., None], picture, board[..., None]).astype(np.uint8)


def _outline(picture: Image, change: NDArray[np.generic]) -> None:
    """Draw a bright line around the change and a dark one around that; the change itself stays visible."""
    inside = change.astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    inner = cv2.dilate(inside, square)
    outer = cv2.dilate(inner, square)
    picture[(outer > 0) & (inner == 0)] = _DARK
    picture[(inner > 0) & (inside == 0)] = _BRIGHT


def _captioned(picture: Image, caption: str) -> Image:
    """The picture under its caption, on a ground wide enough for the words."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    (text_width, _), _ = cv2.getTextSize(caption, font, scale, 1)
    height, width = picture.shape[:2]
    panel = np.full((height + _CAPTION, max(width, text_width + 12), 3), _GROUND, np.uint8)
    left = (panel.shape[1] - width) // 2
    panel[_CAPTION:, left : left + width] = picture
    cv2.putText(panel, caption, (6, _CAPTION - 8), font, scale, _TEXT, 1, cv2.LINE_AA)
    return panel
