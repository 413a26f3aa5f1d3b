"""Values that mean no data though the file doesn't say so: sentinels far from all others, collars of one colour."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_SENTINELS = (-9999, -999, -99999, -32768, -32767, 32767, 65535, -2147483648, 2147483647, 4294967295)
_ABSURD = 1e15  # no sensor measures so much
_FEW = 1e-4  # of the samples: less may be a defect of the sensor
_OF_BORDER, _OF_AREA = 0.1, 0.01  # shares from which one colour at the border is taken for a collar


def find_sentinel(samples: NDArray[Any]) -> tuple[float, float] | None:
    """(value, share) of a sentinel in (3, n) stored values: in all channels, and farther off than the rest is wide."""
    if samples.dtype == np.uint8 or not samples.size:
        return None
    for value in np.unique([samples[0].min(), samples[0].max()]):
        number = float(value)
        if number not in _SENTINELS and not abs(number) >= _ABSURD:
            continue
        alike = (samples == value).all(0)
        share = float(alike.mean())
        rest = samples[:, ~alike].astype(np.float64)
        if share < _FEW or not rest.size:
            continue
        low, high = np.percentile(rest, (1, 99))
        if max(low - number, number - high) > high - low:
            return number, share
    return None


def find_collar(image: NDArray[Any], valid: NDArray[np.bool_] | None) -> tuple[tuple[float, ...], float] | None:
    """(colour, share of the image) of a collar in (3, h, w) stored values: one colour from the border inwards."""
    edge = np.zeros(image.shape[1:], np.bool_)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    border = image[:, edge if valid is None else edge & valid]
    if not border.size:
        return None
    colors, counts = np.unique(border, axis=1, return_counts=True)
    color = colors[:, counts.argmax()]
    if counts.max() < _OF_BORDER * edge.sum():
        return None
    alike = (image == color[:, None, None]).all(0)
    _, parts = cv2.connectedComponents(alike.astype(np.uint8), connectivity=4)
    at_border = np.unique(parts[edge & alike])
    share = float(np.isin(parts, at_border).mean())
    return (tuple(float(value) for value in color), share) if share >= _OF_AREA else None
