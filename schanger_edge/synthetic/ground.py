"""Natural surfaces of a chunk: grass and soil in patches, their texture, crop rows, and crowns of trees."""

from __future__ import annotations

import cv2
import numpy as np

from schanger_edge.synthetic.canvas import Canvas
from schanger_edge.synthetic.noise import Floats, key, smooth
from schanger_edge.synthetic.style import DateStyle, SceneStyle


def _noise(style: SceneStyle, name: str, wavelength: float, canvas: Canvas) -> Floats:
    return smooth(key(style.seed, name), max(wavelength, 1.6 * canvas.gsd), canvas.xs, canvas.ys)


def _slopes(image: Floats) -> tuple[Floats, Floats]:
    """Rise per pixel along columns and rows."""
    along_x = np.asarray(cv2.Sobel(image, -1, 1, 0, ksize=1, scale=0.5), np.float32)
    return along_x, np.asarray(cv2.Sobel(image, -1, 0, 1, ksize=1, scale=0.5), np.float32)


def _fraction(values: Floats, factor: float) -> Floats:
    """Another die from a die."""
    scaled = values * np.float32(factor)
    return np.asarray(scaled - np.floor(scaled), np.float32)


def natural(style: SceneStyle, date: DateStyle, canvas: Canvas, when: int) -> Floats:
    """Grass, dry grass and soil in patches that wander, with trodden tracks along lines of equal noise."""
    broad = 0.55 * _noise(style, "broad", 90.0, canvas) + 0.45 * _noise(style, "broad2", 27.0, canvas)
    season = smooth(key(style.seed, "season", when), 60.0, canvas.xs, canvas.ys)
    soil = 0.7 * _noise(style, "soil", 38.0, canvas) + 0.6 * _noise(style, "soil2", 9.0, canvas)
    lush = np.clip(date.green * 0.9 + 0.2 * broad + 0.15 * season - 0.05, 0, 1)[:, :, None]
    bare = np.clip(0.14 + 0.3 * style.relief * soil - 0.12 * date.green, 0, 0.85)
    line = _noise(style, "tracks", 210.0, canvas)
    slope = np.maximum(np.hypot(*_slopes(line)), 1e-4)
    track = np.clip(2.1 - np.abs(line - 0.35) / slope * canvas.gsd, 0, 1) * (
        _noise(style, "trodden", 300.0, canvas) > 0
    )
    bare = np.maximum(bare, track * 0.8)[:, :, None]
    grass, dry, earth = (np.asarray(colour, np.float32) for colour in (date.grass, date.dry, date.soil))
    return np.asarray((dry * (1 - lush) + grass * lush) * (1 - bare) + earth * bare, np.float32)


def textured(style: SceneStyle, image: Floats, canvas: Canvas, rows: Floats | None) -> Floats:
    """The ground with tufts, blotches and crop rows."""
    fine = 0.75 * _noise(style, "tuft", 1.3, canvas) + 0.75 * _noise(style, "speck", 0.75, canvas)
    middle = _noise(style, "blotch", 3.4, canvas)
    slope = _noise(style, "slope", 16.0, canvas)
    factor = 1.0 + 0.085 * fine + 0.05 * middle + 0.05 * slope
    bush = 0.26 * np.clip(_noise(style, "bush", 2.2, canvas) - 1.2, 0, 1)
    factor -= bush if rows is None else bush * (rows[:, :, 3] < 0.5)
    if style.terraces:
        contour = np.sin(14.0 * _noise(style, "contour", 130.0, canvas) + 0.9 * slope + 0.35 * middle)
        factor += style.terraces * contour * np.clip(_noise(style, "contour on", 170.0, canvas), 0, 1)
    if rows is not None:
        phase = rows[:, :, 0] * canvas.xs.astype(np.float32) + rows[:, :, 1] * canvas.ys.astype(np.float32)[:, None]
        factor += rows[:, :, 2] * np.sin(phase + 0.4 * middle) * (1.0 + 0.4 * fine)
    return np.asarray(image * factor[:, :, None], np.float32)


def with_trees(
    style: SceneStyle,
    date: DateStyle,
    canvas: Canvas,
    image: Floats,
    plants: tuple[Floats, Floats, Floats],
    structures: Floats,
) -> tuple[Floats, Floats]:
    """The image with crowns over it where they are taller than what is built, and the height of the visible top.

    `plants` are height, tone and fray as `trees.plant` gives them, `structures` the height of buildings.
    """
    height, tone, fray = plants
    if not height.any():
        return image, structures
    alpha = np.clip(height / 0.75 - 0.25, 0, 1) * (height > structures)
    bare = _fraction(tone, 5.7) < date.leafless
    leaf = _noise(style, "leaf", 1.0, canvas)
    bright = _crown_light(date, canvas, height, fray, leaf) * (1.0 + style.tree_tones * (2.0 * tone - 1.0))
    leaves, grass = np.asarray(date.leaves, np.float32), np.asarray(date.grass, np.float32)
    yellow = np.clip(3.0 * _fraction(tone, 17.3) - 1.6, 0, 0.6)[:, :, None]
    colour = leaves * (1 - yellow) + (0.6 * leaves + 0.4 * grass) * yellow
    colour = np.where(bare[:, :, None], np.asarray((132.0, 124.0, 118.0), np.float32), colour)
    alpha = np.where(bare, np.clip(alpha * (0.5 + 0.3 * leaf), 0, 1), alpha)[:, :, None]
    result = image * (1 - alpha) + colour * (bright[:, :, None] * alpha)
    top = np.maximum(structures, height * (alpha[:, :, 0] > 0.3))
    return np.asarray(result, np.float32), np.asarray(top, np.float32)


def _crown_light(date: DateStyle, canvas: Canvas, height: Floats, fray: Floats, leaf: Floats) -> Floats:
    """Light on crowns: their side towards the sun, twigs, and dark gaps between them."""
    rough = height + np.minimum(height * 0.3, 1.0) * (0.9 * fray + 0.35 * leaf)
    round_ = cv2.GaussianBlur(rough, (0, 0), max(0.5, 0.35 / canvas.gsd))
    slope_x, slope_y = (slope / np.float32(canvas.gsd) for slope in _slopes(round_))
    rise = 1.0 - (slope_x * date.sun[0] + slope_y * date.sun[1]) / max(0.8, date.tan_sun)
    light = np.clip(rise / np.sqrt(1.0 + slope_x**2 + slope_y**2), 0.0, 1.4)
    gaps = np.clip(height / (cv2.GaussianBlur(height, (0, 0), 1.6 / canvas.gsd) + 0.3), 0.4, 1.2)
    return np.asarray((0.42 + 0.5 * light) * (0.35 + 0.65 * gaps) * (1.0 + 0.17 * leaf), np.float32)
