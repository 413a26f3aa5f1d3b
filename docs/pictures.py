"""Pictures of maps for README and docs, from the rendered scene that `schanger-edge demo -o FOLDER` leaves.

python docs/pictures.py FOLDER [COLUMN ROW]    # the upper left corner of what is shown, in pixels

Real imagery has no place in this repository: these pictures are the only ones it shows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window
from schanger_edge.scene import open_pair

DOCS = Path(__file__).parent
SIZE = (1240, 620)
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]
Picture = NDArray[np.uint8]


def main(folder: Path, col: int = 170, row: int = 120) -> None:
    window = Window(col, row, *SIZE)
    scene, result = folder / "scene", folder / "result"
    with open_pair(scene / "before.tif", scene / "after.tif") as pair:
        pixels = pair.read(window)
    before, after = (_shown(date) for date in (pixels.before, pixels.after))
    change, probability = (_read(result / f"{name}.tif", window) for name in ("change", "probability"))
    truth = _read(scene / "truth.tif", window) > 0
    _save("swipe", _swipe(before, _outlined(after, change == 1)))
    _save("found", _compared(after, truth, change == 1))
    known = np.where(probability == 255, 0, probability).astype(np.uint8)
    _save("probability", cv2.applyColorMap(known, cv2.COLORMAP_INFERNO))
    preview = cv2.imread(str(result / "preview.png"))
    _save("demo", cv2.resize(preview, None, fx=SIZE[0] / preview.shape[1], fy=SIZE[0] / preview.shape[1]))


def _shown(date: Picture) -> Picture:
    """(3, h, w) RGB as OpenCV wants it."""
    return np.ascontiguousarray(date.transpose(1, 2, 0)[:, :, ::-1])


def _read(path: Path, window: Window) -> Picture:
    with rasterio.open(path) as raster:
        values: Picture = raster.read(1, window=window.rasterio)
    return values


def _outlined(image: Picture, change: NDArray[np.bool_]) -> Picture:
    outlines, _ = cv2.findContours(change.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = cv2.drawContours(image.copy(), outlines, -1, (0, 0, 0), 4)
    return cv2.drawContours(drawn, outlines, -1, (0, 225, 255), 2)


def _swipe(before: Picture, after: Picture) -> Picture:
    """Left of the divider before, right of it after."""
    middle, height = before.shape[1] // 2, before.shape[0] // 2
    shown = np.hstack([before[:, :middle], after[:, middle:]])
    cv2.line(shown, (middle, 0), (middle, before.shape[0]), (255, 255, 255), 3)
    cv2.circle(shown, (middle, height), 18, (255, 255, 255), -1, cv2.LINE_AA)
    for side in (-1, 1):
        tip = [(middle + side * x, height + y) for x, y in ((12, 0), (5, -6), (5, 6))]
        cv2.fillConvexPoly(shown, np.array(tip), (40, 40, 40), cv2.LINE_AA)
    for text, x in (("before", 14), ("after", before.shape[1] - 80)):
        cv2.putText(shown, text, (x, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 5, cv2.LINE_AA)
        cv2.putText(shown, text, (x, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2, cv2.LINE_AA)
    return shown


def _compared(image: Picture, truth: NDArray[np.bool_], change: NDArray[np.bool_]) -> Picture:
    """Green: found; red: missed; yellow: a false alarm."""
    shown = (image * 0.45).astype(np.uint8)
    found, missed, alarm = truth & change, truth & ~change, change & ~truth
    for where, color in ((found, (90, 190, 60)), (missed, (50, 50, 220)), (alarm, (40, 210, 240))):
        shown[where] = (0.35 * image[where] + 0.65 * np.array(color)).astype(np.uint8)
    return shown


def _save(name: str, picture: Picture) -> None:
    if not cv2.imwrite(str(DOCS / f"{name}.jpg"), picture, _QUALITY):
        raise SystemExit(f"{name}.jpg could not be written.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
