"""Trees and shrubs as a height field with a tone per crown."""

from __future__ import annotations

import numpy as np

from schanger_edge.synthetic.canvas import Canvas
from schanger_edge.synthetic.layout import Layout
from schanger_edge.synthetic.noise import Bytes, Doubles, Floats, key, lattice, smooth

# Name, metres between candidate places; radius: least, spread and its power; height over radius: least and spread.
_KINDS = (("large", 6.4, 1.8, 3.2, 1.4, 1.5, 0.9), ("shrub", 3.1, 0.6, 1.2, 1.0, 0.9, 0.8))
REACH = 6.0
_STEPS = 64.0


def _candidates(seed: int, name: str, spacing: float, canvas: Canvas, pad: float) -> tuple[Doubles, Floats]:
    """Jittered lattice positions (N, 2) in metres around a canvas, and five dice per position (N, 5)."""
    left, top, right, bottom = canvas.bounds
    cols = np.arange(int((left - pad) // spacing) - 1, int((right + pad) // spacing) + 2)
    rows = np.arange(int((top - pad) // spacing) - 1, int((bottom + pad) // spacing) + 2)
    col, row = (grid.ravel() for grid in np.meshgrid(cols, rows))
    dice = np.stack([lattice(key(seed, name, n), col, row) for n in range(5)], axis=1)
    points = (np.stack([col, row], axis=1) + 0.5 + 0.84 * (dice[:, :2] - 0.5)) * spacing
    return points, dice


def plant(
    layout: Layout, canvas: Canvas, blocked: Bytes, blocked_canvas: Canvas, when: int
) -> tuple[Floats, Floats, Floats]:
    """Height (m) and tone (0..1) of vegetation on a canvas, and the noise that frays its crowns.

    No tree stands where `blocked` is set at its foot.
    """
    style = layout.style
    packed = np.zeros((canvas.height, canvas.width), np.float32)
    grain = max(1.0, 1.0 * canvas.gsd / 0.6)
    fray = 0.62 * smooth(key(style.seed, "fray"), 1.9 * grain, canvas.xs, canvas.ys)
    fray += 0.55 * smooth(key(style.seed, "fray2"), 4.3 * grain, canvas.xs, canvas.ys)
    for kind, (name, spacing, least, spread, power, low, slender) in enumerate(_KINDS):
        if spacing < 2.5 * canvas.gsd:
            continue
        points, dice = _candidates(style.seed, name, spacing, canvas, REACH)
        # A tree of the second lattice is kept only where the chance at its foot beats its die.
        chance = layout.trees_at(points, when)[:, kind]
        pixel = np.floor(blocked_canvas.pixels(points) + 0.5).astype(np.int64)
        inside = (pixel >= 0).all(axis=1) & (pixel[:, 0] < blocked_canvas.width) & (pixel[:, 1] < blocked_canvas.height)
        keep = inside & (dice[:, 2] < chance)
        keep[keep] &= blocked[pixel[keep, 1], pixel[keep, 0]] == 0
        points, dice = points[keep], dice[keep]
        radius = style.tree_size * (least + spread * dice[:, 3] ** power)
        height = radius * (low + slender * dice[:, 4])
        tone = (dice[:, 4] * 7.13 + dice[:, 3]) % 1.0
        for limit0, limit1 in ((0.0, 1.2), (1.2, 2.4), (2.4, 3.6), (3.6, 9.0)):
            group = (radius >= limit0) & (radius < limit1)
            if group.any():
                _domes(packed, canvas, fray, points[group], radius[group], height[group], tone[group])
    steps = np.floor(packed)
    return np.asarray(steps / np.float32(_STEPS), np.float32), packed - steps, np.asarray(fray, np.float32)


def _domes(
    packed: Floats, canvas: Canvas, fray: Floats, points: Doubles, radius: Floats, height: Floats, tone: Floats
) -> None:
    """Raise frayed crowns; height and tone are packed in one number so that the tallest crown keeps its tone."""
    pixels = canvas.pixels(points)
    half = int(np.ceil(1.15 * radius.max() / canvas.gsd)) + 1
    corner = np.floor(pixels).astype(np.int64) - half
    offsets = np.arange(2 * half + 2)
    dx = ((corner[:, :1] + offsets) - pixels[:, :1]).astype(np.float32) * np.float32(canvas.gsd)
    dy = ((corner[:, 1:] + offsets) - pixels[:, 1:]).astype(np.float32) * np.float32(canvas.gsd)
    inverse = (1.0 / radius.astype(np.float32) ** 2)[:, None]
    rest = 1.0 - (dx**2 * inverse)[:, None, :] - (dy**2 * inverse)[:, :, None]
    cols = np.clip(corner[:, :1] + offsets, 0, canvas.width - 1)
    rows = np.clip(corner[:, 1:] + offsets, 0, canvas.height - 1)
    rest += 0.36 * fray[rows[:, :, None], cols[:, None, :]]
    dome = np.clip(rest * 1.3, 0.0, 1.0) ** 0.8 * height.astype(np.float32)[:, None, None]
    values = np.floor(dome * np.float32(_STEPS))
    values += np.where(values > 0, tone.astype(np.float32)[:, None, None] * np.float32(0.98), np.float32(0))
    size = 2 * half + 2
    for value, (col, row) in zip(values, corner.tolist(), strict=True):
        x0, y0 = max(col, 0), max(row, 0)
        x1, y1 = min(col + size, canvas.width), min(row + size, canvas.height)
        if x0 < x1 and y0 < y1:
            target = packed[y0:y1, x0:x1]
            np.maximum(target, value[y0 - row : y1 - row, x0 - col : x1 - col], out=target)
