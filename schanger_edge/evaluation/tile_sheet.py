"""A picture of the tiles on which two models differ most: both dates, both maps, and the difference."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROWS = 8
SIDE = 224
HEAD, CAPTION, GAP = 26, 18, 6
COLUMNS = 5
INK, PAPER = (40, 40, 40), 255

Image = NDArray[np.uint8]


class TileSheet:
    """Keeps the eight tiles with the largest mean difference."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, int, str, list[Image]]] = []
        self._count = 0

    def add(
        self,
        mean: float,
        name: str,
        before: NDArray[np.uint8],
        after: NDArray[np.uint8],
        first: NDArray[np.float32],
        second: NDArray[np.float32],
    ) -> None:
        """Take a tile: its mean difference, both dates (3, T, T), and both probabilities (T, T)."""
        self._count += 1
        if len(self._kept) == ROWS and mean <= self._kept[0][0]:
            return
        difference = np.abs(first - second)
        pictures = [
            *(_small(image[::-1].transpose(1, 2, 0)) for image in (before, after)),
            *(_small(_grey(map_)) for map_ in (first, second)),
            _small(cv2.applyColorMap(_bytes(difference), cv2.COLORMAP_INFERNO)),
        ]
        entry = (mean, -self._count, name, pictures)
        if len(self._kept) < ROWS:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heapreplace(self._kept, entry)

    def write(self, path: Path, names: tuple[str, str]) -> None:
        """Write the sheet as PNG, the worst tile first; `names` are the models'."""
        rows = sorted(self._kept, key=lambda entry: -entry[0])
        height = HEAD + len(rows) * (SIDE + CAPTION + GAP)
        sheet: Any = np.full((height, COLUMNS * (SIDE + GAP) + GAP, 3), PAPER, np.uint8)
        titles = ("before", "after", names[0], names[1], "difference, 0 to 1")
        for column, title in enumerate(titles):
            _write(sheet, title[:32], (GAP + column * (SIDE + GAP), HEAD - 9))
        for row, (mean, _, name, pictures) in enumerate(rows):
            top = HEAD + row * (SIDE + CAPTION + GAP)
            for column, picture in enumerate(pictures):
                left = GAP + column * (SIDE + GAP)
                sheet[top : top + SIDE, left : left + SIDE] = picture
            _write(sheet, f"mean difference {mean:.4f}   {name[-110:]}", (GAP, top + SIDE + CAPTION - 4))
        ok, encoded = cv2.imencode(".png", sheet)
        assert ok
        path.write_bytes(encoded.tobytes())


def _bytes(values: NDArray[np.float32]) -> Image:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _grey(values: NDArray[np.float32]) -> Image:
    return np.repeat(_bytes(values)[:, :, None], 3, axis=2)


def _small(image: Any) -> Image:
    resized: Image = cv2.resize(np.ascontiguousarray(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return resized


def _write(sheet: Any, text: str, place: tuple[int, int]) -> None:
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
