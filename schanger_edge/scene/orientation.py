"""How a camera held the image: EXIF's orientation, by which every viewer turns it. GDAL reads pixels as stored."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

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
        if not dataset.transform.is_identity or dataset.driver not in ("JPEG", "GTiff"):
            return UPRIGHT
        if dataset.driver == "JPEG":
            text = dataset.tags().get("EXIF_Orientation", "1").strip()
            return _BY_CODE.get(int(text) if text.isdigit() else 1, UPRIGHT)
        return _BY_CODE.get(_tiff_orientation(dataset.name), UPRIGHT)

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
_BY_CODE = {
    2: Orientation(cols=True),
    3: Orientation(rows=True, cols=True),
    4: Orientation(rows=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, cols=True),
    7: Orientation(transposed=True, rows=True, cols=True),
    8: Orientation(transposed=True, rows=True),
}
"""EXIF 2.32, 4.6.4 A: what row 0 and column 0 are."""


def _tiff_orientation(path: str) -> int:
    """The tag of the first page, which GDAL doesn't tell; 1 where there is none."""
    if not is_plain(path):
        return 1
    try:
        with open(path, "rb") as file:
            order = {b"II*\0": "<", b"MM\0*": ">"}.get(file.read(4))  # a BigTIFF is no photograph
            if order is None:
                return 1
            file.seek(struct.unpack(f"{order}I", file.read(4))[0])
            (count,) = struct.unpack(f"{order}H", file.read(2))
            for _ in range(count):
                tag, kind, _, value = struct.unpack(f"{order}HHIH2x", file.read(12))
                if (tag, kind) == (_TAG, _SHORT):
                    return int(value)
    except (OSError, struct.error):  # GDAL will say what is wrong with the file
        pass
    return 1
