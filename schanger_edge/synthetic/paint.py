"""Painting one chunk of a date: ground, hard surfaces, vegetation, roofs, shadows."""

from __future__ import annotations

import math

import cv2
import numpy as np

from schanger_edge.synthetic import ground, oblique, sensor
from schanger_edge.synthetic.canvas import Canvas
from schanger_edge.synthetic.layout import Bounds, Layout
from schanger_edge.synthetic.noise import Bytes, Floats, key, smooth
from schanger_edge.synthetic.shapes import CAR_SHADOW, FLAT, HARD, ROOF, Shape
from schanger_edge.synthetic.trees import REACH, plant

_PAD = 8
_FINER = 2


class Stage:
    """What is on one chunk on one date: shapes in order of layers, buildings, and the canvases.

    `canvas` is the chunk with a rim for blur; `wide` reaches further towards the sun, for what casts shadows on it.
    """

    def __init__(self, layout: Layout, when: int, chunk: Canvas) -> None:
        self.when, self.date = when, layout.style.date(when)
        self.canvas = chunk.grown(_PAD, _PAD, _PAD, _PAD)
        self.reach = min(layout.style.longest_shadow, layout.style.tallest / self.date.tan_sun) / chunk.gsd
        x, y = self.date.sun
        sides = (max(0.0, -x), max(0.0, -y), max(0.0, x), max(0.0, y))
        self.wide = self.canvas.grown(*(math.ceil(side * self.reach) + 2 for side in sides))
        area = _grown(self.wide.bounds, max(REACH, math.hypot(*self.date.lean) * layout.style.tallest))
        contents = layout.contents(area)
        shapes = [one for content in contents for one in content.shapes if one.colour(when) is not None]
        shapes.sort(key=lambda one: one.layer)
        self.soft = [one for one in shapes if one.layer < HARD]
        self.hard = [one for one in shapes if HARD <= one.layer < ROOF]
        self.buildings = [
            one for content in contents for one in content.buildings if one.when & when and one.is_in(area)
        ]
        self.roofs = [plane for building in self.buildings for plane in building.planes]
        if any(self.date.lean):
            self.buildings = oblique.farthest_first(self.buildings, self.date.lean)
            self.roofs = [one for building in self.buildings for one in oblique.seen(building, self.date.lean, when)]

    def inner(self, image: Floats) -> Floats:
        """The part of an image on the wide canvas that lies on the narrow one."""
        row, col = self.canvas.row - self.wide.row, self.canvas.col - self.wide.col
        return image[row : row + self.canvas.height, col : col + self.canvas.width]

    def paint(self, image: Bytes, shapes: list[Shape], finer: int = 1) -> None:
        """Draw shapes in order, lit, on an image with alpha over the narrow canvas."""

        def colour(index: int) -> tuple[float, float, float, float]:
            shape = shapes[index]
            r, g, b = shape.colour(self.when) or (0.0, 0.0, 0.0)
            light = 1.0 if shape.normal is FLAT else self.date.lit(shape.normal)
            return min(255.0, r * light), min(255.0, g * light), min(255.0, b * light), 255.0

        self.canvas.draw(image, [shape.points for shape in shapes], colour, finer)


def _grown(bounds: Bounds, by: float) -> Bounds:
    left, top, right, bottom = bounds
    return left - by, top - by, right + by, bottom + by


def building_mask(layout: Layout, chunk: Canvas, chosen: dict[int, int]) -> Bytes:
    """1 where a building is seen, sampled at the pixels' middles.

    `chosen` gives, for each of the dates on which a building may stand, the date on which it is looked at.
    """
    image = np.zeros((chunk.height * 3, chunk.width * 3), np.uint8)
    leans = {when: layout.style.date(date).lean for when, date in chosen.items()}
    most = max(math.hypot(*lean) for lean in leans.values()) * layout.style.tallest
    contents = layout.contents(_grown(chunk.bounds, most))
    standing = [building for content in contents for building in content.buildings if building.when in chosen]
    covered = [polygon for building in standing for polygon in oblique.covered(building, leans[building.when])]
    chunk.draw(image, covered, lambda _: (1.0,), 3)
    return np.ascontiguousarray(image[1::3, 1::3])


def chunk_image(layout: Layout, when: int, chunk: Canvas) -> Bytes:
    """The image (H, W, 3) of one chunk on BEFORE or AFTER."""
    style = layout.style
    stage = Stage(layout, when, chunk)
    image = ground.natural(style, stage.date, stage.canvas, when)
    image = _over(image, _soft_layer(stage))
    image = ground.textured(style, image, stage.canvas, _crop_rows(stage))
    image = _over(image, _grained(_fine_layer(stage, stage.hard), style.seed, stage.canvas, 0.04))

    blocked_canvas = stage.wide.grown(*[math.ceil(REACH / stage.canvas.gsd)] * 4)
    height, tone, fray = plant(layout, stage.wide, _blocked(stage, blocked_canvas), blocked_canvas, when)
    structures = np.zeros_like(height)
    solids = [solid for building in stage.buildings for solid in building.solids]
    stage.wide.draw(structures, [solid[0] for solid in solids], lambda index: (solids[index][1],))

    image = _over(image, _grained(_fine_layer(stage, stage.roofs), style.seed, stage.canvas, 0.045))
    seen = stage.inner(height), stage.inner(tone), stage.inner(fray)
    image, crowns = ground.with_trees(style, stage.date, stage.canvas, image, seen, _tops(stage, structures))
    shadow = _shadow(stage, np.maximum(structures, height * np.float32(0.9)), crowns)
    if shadow.any():
        image *= 1.0 - shadow[:, :, None] * (1.0 - np.asarray(stage.date.ambient, np.float32))
    return sensor.develop(image, stage.date, key(style.seed, "sensor", when), stage.canvas, _PAD)


def _tops(stage: Stage, structures: Floats) -> Floats:
    """The height of the building that is seen at each pixel; `structures` has that of the one which stands there."""
    lean = stage.date.lean
    if not any(lean):
        return stage.inner(structures)
    heights = np.zeros((stage.canvas.height, stage.canvas.width), np.float32)
    tops = [(polygon, one.height) for one in stage.buildings for polygon in oblique.covered(one, lean)]
    stage.canvas.draw(heights, [polygon for polygon, _ in tops], lambda index: (tops[index][1],))
    return heights


def _soft_layer(stage: Stage) -> Floats:
    image = np.zeros((stage.canvas.height, stage.canvas.width, 4), np.uint8)
    stage.paint(image, stage.soft)
    sigma = 0.45 / stage.canvas.gsd
    return cv2.GaussianBlur(image, (0, 0), min(2.5, max(0.6, sigma))).astype(np.float32)


def _fine_layer(stage: Stage, shapes: list[Shape]) -> Floats:
    canvas = stage.canvas
    image = np.zeros((canvas.height * _FINER, canvas.width * _FINER, 4), np.uint8)
    stage.paint(image, shapes, _FINER)
    return cv2.resize(image, (canvas.width, canvas.height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _crop_rows(stage: Stage) -> Floats | None:
    fields = [shape for shape in stage.soft if shape.rows is not None]
    if not fields:
        return None
    image = np.zeros((stage.canvas.height, stage.canvas.width, 4), np.float32)
    at = 2 if stage.when == 1 else 3
    rows = [(s.rows[0], s.rows[1], s.rows[at], 1.0) for s in fields if s.rows]
    stage.canvas.draw(image, [shape.points for shape in fields], lambda index: rows[index])
    return image


def _over(image: Floats, layer: Floats) -> Floats:
    """A layer with premultiplied alpha (0..255) over an image."""
    rest = 1.0 - layer[:, :, 3:] * np.float32(1 / 255)
    return np.asarray(image * rest + layer[:, :, :3], np.float32)


def _grained(layer: Floats, seed: int, canvas: Canvas, strength: float) -> Floats:
    """Slight stains and grain on man-made surfaces."""
    xs, ys = canvas.xs, canvas.ys
    grain = smooth(key(seed, "grain"), max(0.9, 1.6 * canvas.gsd), xs, ys) + smooth(key(seed, "stain"), 5.0, xs, ys)
    layer[:, :, :3] *= (1.0 + strength * grain)[:, :, None]
    return layer


def _blocked(stage: Stage, canvas: Canvas) -> Bytes:
    """1 where no tree can stand: buildings and hard surfaces."""
    image = np.zeros((canvas.height, canvas.width), np.uint8)
    polygons = [shape.points for shape in stage.hard if shape.layer < CAR_SHADOW]
    polygons += [part for building in stage.buildings for part in building.outline]
    canvas.draw(image, polygons, lambda _: (1.0,))
    return np.asarray(cv2.dilate(image, np.ones((3, 3), np.uint8)), np.uint8) if canvas.gsd < 0.7 else image


def _shadow(stage: Stage, casters: Floats, receivers: Floats) -> Floats:
    """How deep (0..1) each pixel of the canvas lies in shadow: walk from it towards the sun over the casters."""
    canvas, wide, date = stage.canvas, stage.wide, stage.date
    row0, col0 = canvas.row - wide.row, canvas.col - wide.col
    fall = canvas.gsd * date.tan_sun
    steps = min(stage.reach, float(casters.max()) / fall)
    stride = max(1, round(0.4 / canvas.gsd))
    line = np.zeros((canvas.height, canvas.width), np.float32)
    for step in range(1, math.ceil(steps) + 1, stride):
        row, col = row0 + round(step * date.sun[1]), col0 + round(step * date.sun[0])
        part = casters[row : row + canvas.height, col : col + canvas.width] - np.float32(step * fall)
        np.maximum(line, part, out=line)
    depth = np.clip((line - receivers - 0.3) / 0.8, 0, 1)
    return np.asarray(cv2.GaussianBlur(depth, (3, 3), 0.6), np.float32)
