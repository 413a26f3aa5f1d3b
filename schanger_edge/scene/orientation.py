"""How a camera held the image: EXIF's orientation, by which every viewer turns it. GDAL reads pixels as stored."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window
from schanger_edge.scene.remote import is_plain

_TAG = 274  # of TIFF, and so of EXIF
_SHORT = 3


@dataclasses.dataclass(frozen=True)
class Orientation:
    """From the stored pixels, `width` x `height`, to those shown: first transposed, then mirrored.

    Attributes:
        transposed: rows become columns.
        rows: the shown rows run upwards.
        cols: the shown columns run to the left.
    """

    transposed: bool = False
    rows: bool = False
    cols: bool = False

    @classmethod
    def of(cls, dataset: Any) -> Orientation:
        """Of an open dataset; upright where it has a place on the ground, which refers to the pixels as stored."""
        if not dataset.transform.is_identity:
            return UPRIGHT
        if dataset.driver == "JPEG":
            text = dataset.tags().get("EXIF_Orientation", "1").strip()
            return _BY_CODE.get(int(text) if text.isdigit() else 1, UPRIGHT)
        find = _FINDERS.get(dataset.driver)
        if find is None or not is_plain(dataset.name):
            return UPRIGHT
        try:
            with open(dataset.name, "rb") as file:
                start = find(file)
                return UPRIGHT if start is None else _BY_CODE.get(_code(file, start), UPRIGHT)
        except (OSError, struct.error):  # GDAL will say what is wrong with the file
            return UPRIGHT

    @property
    def upright(self) -> bool:
        """True where pixels are shown as they are stored."""
        return self == UPRIGHT

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) shown of a stored image; and the other way round."""
        return (width, height) if self.transposed else (height, width)

    def stored(self, window: Window, height: int, width: int) -> Window:
        """The stored pixels behind a window of those shown; `height` and `width` are the stored image's."""
        rows, cols = self.shape(height, width)
        col = cols - window.col_end if self.cols else window.col_off
        row = rows - window.row_end if self.rows else window.row_off
        if self.transposed:
            return Window(row, col, window.height, window.width)
        return Window(col, row, window.width, window.height)

    def shown(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """(..., h, w) as stored -> as shown."""
        if self.transposed:
            pixels = pixels.swapaxes(-1, -2)
        if self.upright:
            return pixels
        return np.ascontiguousarray(pixels[..., :: -1 if self.rows else 1, :: -1 if self.cols else 1])

    def place(self, height: int, width: int) -> Affine:
        """From (column, row) of the stored image, so large, to (column, row) of the one shown."""
        rows, cols = self.shape(height, width)
        turned = Affine(0, 1, 0, 1, 0, 0) if self.transposed else Affine.identity()
        across, down = (-1, cols) if self.cols else (1, 0), (-1, rows) if self.rows else (1, 0)
        return Affine(across[0], 0, across[1], 0, down[0], down[1]) @ turned


UPRIGHT = Orientation()
_BY_CODE = {code: Orientation(code > 4, code in (3, 4, 7, 8), code in (2, 3, 6, 7)) for code in range(2, 9)}
"""EXIF 2.32, 4.6.4 A: what row 0 and column 0 are."""


def _code(file: BinaryIO, start: int) -> int:
    """The tag in the first directory of the TIFF that begins at `start`, which GDAL doesn't tell; 1 where none is."""

    def values(form: str) -> tuple[Any, ...]:
        return struct.unpack(order + form, file.read(struct.calcsize(order + form)))

    file.seek(start)
    order, big = _HEADS.get(file.read(4), ("", False))
    if not order:
        return 1
    if big:
        file.seek(start + 8)
    file.seek(start + values("Q" if big else "I")[0])
    for _ in range(values("Q" if big else "H")[0]):
        tag, kind, _, value = values("HHQH6x" if big else "HHIH2x")
        if (tag, kind) == (_TAG, _SHORT):
            return int(value)
    return 1


_HEADS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
"""Byte order of a TIFF, and whether it is a BigTIFF, by its first bytes."""


def _in_png(file: BinaryIO) -> int | None:
    file.seek(8)
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return file.tell()
        file.seek(size + 4, 1)
    return None


def _in_webp(file: BinaryIO) -> int | None:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        if kind == b"EXIF":
            start = file.tell()
            return start + 6 if file.read(6) == b"Exif\0\0" else start
        file.seek(size + size % 2, 1)
    return None


_FINDERS: dict[str, Callable[[BinaryIO], int | None]] = {"GTiff": lambda _: 0, "PNG": _in_png, "WEBP": _in_webp}
"""Where in a file of GDAL's driver the TIFF with the tag begins; None where it has none."""
