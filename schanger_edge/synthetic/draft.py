"""A block under construction: its place, its dice, and the shapes and buildings collected so far."""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from collections.abc import Callable

import numpy as np

from schanger_edge.synthetic.noise import Doubles, stream
from schanger_edge.synthetic.shapes import CAR, CAR_SHADOW, Building, Frame, Shape, box, shape
from schanger_edge.synthetic.streets import Streets
from schanger_edge.synthetic.style import AFTER, BEFORE, CARS, Colour, SceneStyle, jittered


class Content:
    """Shapes and buildings of one part of a block."""

    def __init__(self, style: SceneStyle, rng: random.Random) -> None:
        self.style, self.rng = style, rng
        self.shapes: list[Shape] = []
        self.buildings: list[Building] = []

    def fill(self, layer: int, points: Doubles, colour: Colour, when: int = 3) -> None:
        """Paint a polygon."""
        self.shapes.append(shape(layer, points, colour, when))

    def ground(
        self, layer: int, points: Doubles, green: float, soil: float = 0.0, gain: float = 1.0, when: int = 3
    ) -> None:
        """Paint natural ground whose colour follows each date's season."""
        before, after = (self.style.date(date).ground(green, soil, gain) for date in (BEFORE, AFTER))
        self.shapes.append(Shape(layer, points, before if when & BEFORE else None, after if when & AFTER else None))

    def car(self, frame: Frame, when: int) -> None:
        """A car (sometimes a van) along the frame's x axis, with its own shadow on that date."""
        rng = self.rng
        length, width, height = (4.4, 1.85, 1.5) if rng.random() < 0.88 else (6.5, 2.2, 2.6)
        parts = (
            box(-length / 2, -width / 2, length / 2, width / 2),
            box(length * 0.12, -width * 0.42, length * 0.26, width * 0.42),
            box(-length * 0.42, -width * 0.4, -length * 0.3, width * 0.4),
        )
        placed = frame.place(parts[0] + parts[1] + parts[2])
        date = self.style.date(when)
        reach = 0.8 * min(3.0, height / date.tan_sun)
        fall = np.array((-date.sun[0] * reach, -date.sun[1] * reach))
        self.fill(CAR_SHADOW, placed[:4] + fall, (48, 50, 56), when)
        self.fill(CAR, placed[:4], jittered(rng, rng.choice(CARS), 0.12, 0.03), when)
        for window in (placed[4:8], placed[8:]):
            self.fill(CAR, window, (46, 52, 60), when)


@dataclasses.dataclass(eq=False)
class Item:
    """A part of a block that is made only when a window comes near: centre, radius (metres), and how to make it."""

    x: float
    y: float
    radius: float
    make: Callable[[], Content]

    @functools.cached_property
    def content(self) -> Content:
        """The part itself."""
        return self.make()


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a block is on each date.

    Attributes:
        before, after: kinds of land, such as "houses" or "wood".
        stage: of a block that is built up between the dates: 0 untouched before, 1 cleared, 2 streets are there.
    """

    before: str
    after: str
    stage: int


class Block:
    """One block: where it lies in street coordinates, what it is, and its parts.

    Attributes:
        width: metres across, between street middles.
        length: metres along, between street middles.
    """

    def __init__(self, column: int, row: int, kind: Kind, streets: Streets, style: SceneStyle) -> None:
        self.column, self.row, self.kind, self.streets, self.style = column, row, kind, streets, style
        self.u0, self.v0, self.u1, self.v1 = streets.extent(column, row)
        self.width, self.length = self.u1 - self.u0, self.v1 - self.v0
        self.rng = stream(style.seed, "block", column, row)
        self.items: list[Item] = []

    def quad(self, u0: float, v0: float, u1: float, v1: float) -> Doubles:
        """Ground outline of a rectangle in street coordinates, following the bends."""
        if not self.streets.reach:
            return self.streets.ground(np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)]))
        n = max(2, math.ceil((v1 - v0) / 12) + 1)
        m = max(2, math.ceil((u1 - u0) / 20) + 1)
        v, u = np.linspace(v0, v1, n), np.linspace(u0, u1, m)
        left, right = np.stack([np.full(n, u0), v], axis=1), np.stack([np.full(n, u1), v[::-1]], axis=1)
        low, high = np.stack([u[::-1], np.full(m, v0)], axis=1), np.stack([u, np.full(m, v1)], axis=1)
        return self.streets.ground(np.concatenate([left, high, right, low]))

    def inner(self, margin: float) -> Doubles:
        """Ground outline of the block without a margin, in metres from the street middles."""
        return self.quad(self.u0 + margin, self.v0 + margin, self.u1 - margin, self.v1 - margin)

    def line(self, u0: float, v0: float, u1: float, v1: float) -> Doubles:
        """Ground positions of a straight line in street coordinates, about every 7 m."""
        n = max(3, math.ceil(math.hypot(u1 - u0, v1 - v0) / 7) + 1) if self.streets.reach else 3
        t = np.linspace(0, 1, n)[:, None]
        return self.streets.ground(np.array((u0, v0)) * (1 - t) + np.array((u1, v1)) * t)

    def whole(self, content: Content, pad: float = 15.0) -> None:
        """Add content that spans the whole block."""
        ground = self.inner(0)
        centre = (ground.min(axis=0) + ground.max(axis=0)) / 2
        radius = float(np.hypot(*(ground - centre).T).max()) + pad
        self.items.append(Item(float(centre[0]), float(centre[1]), radius, lambda: content))
