"""From the lit ground to what a camera delivers: air, colour balance, sharpness, noise, compression."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from schanger_edge.synthetic.canvas import Canvas
from schanger_edge.synthetic.noise import Bytes, Floats, lattice, smooth
from schanger_edge.synthetic.style import DateStyle

_WHITE, _LEVELS = 2.0, 8191


def develop(image: Floats, date: DateStyle, seed: int, canvas: Canvas, pad: int) -> Bytes:
    """The delivered image, without the `pad` pixels around it, in 1..255 (0 is left for nodata)."""
    x = image * np.float32(1 / 255)
    grey = x @ np.array((0.3, 0.59, 0.11), np.float32)
    x = grey[:, :, None] + (x - grey[:, :, None]) * np.float32(date.saturation)
    x = (x - 0.4) * np.float32(date.contrast) + np.float32(0.4)
    air = np.asarray(date.haze_colour, np.float32) / 255
    x = x * np.float32(1 - date.haze) + air * np.float32(date.haze)
    drift = 1.0 + 0.02 * smooth(seed, 400.0, canvas.xs, canvas.ys)
    x *= drift[:, :, None] * np.asarray(date.balance, np.float32)
    x = _curve(date.gamma)[np.clip(x * np.float32(_LEVELS / _WHITE), 0, _LEVELS).astype(np.int32)]
    if date.blur > 0.3:
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), date.blur), np.float32)
    if date.sharpen:
        x = x + np.float32(date.sharpen) * (x - cv2.GaussianBlur(x, (0, 0), 1.2))
    x = x[pad:-pad, pad:-pad] + _grain(seed, canvas, pad) * np.float32(date.noise)
    result = np.clip(np.rint(x), 1, 255).astype(np.uint8)
    return _compressed(result, date.jpeg)


@functools.lru_cache(maxsize=64)
def _curve(gamma: float) -> Floats:
    """Output level 0..255 for light 0..2 in fine steps; highlights roll off instead of burning out."""
    x = np.linspace(0.0, _WHITE, _LEVELS + 1) ** gamma
    level = np.where(x > 0.7, 0.7 + 0.32 * (1.0 - np.exp((0.7 - x) / 0.32)), x)
    return np.asarray(255 * level, np.float32)


def _grain(seed: int, canvas: Canvas, pad: int) -> Floats:
    """Sensor noise of deviation about 1 per pixel and band, mostly the same in all bands."""
    cols = np.arange(canvas.col + pad, canvas.col + canvas.width - pad)
    rows = np.arange(canvas.row + pad, canvas.row + canvas.height - pad)
    dice = (lattice(seed, cols[None, :], rows[:, None]) * np.float32(1 << 24)).astype(np.uint32)
    parts = [((dice >> np.uint32(shift)) & np.uint32(255)).astype(np.float32) / 255 - 0.5 for shift in (0, 8, 16)]
    grey = (parts[0] + parts[1]) * np.float32(2.2)
    colour = parts[2] * np.float32(1.2)
    return np.stack([grey + colour, grey, grey - colour], axis=2)


def _compressed(image: Bytes, quality: int) -> Bytes:
    """The image after JPEG of this quality (0: untouched); chunks are multiples of its blocks."""
    if not quality:
        return image
    _, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.maximum(decoded[:, :, ::-1], 1)
