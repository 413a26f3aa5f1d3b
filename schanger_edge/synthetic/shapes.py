"""Values that the layout hands to the painter: coloured polygons on the ground and buildings, in metres."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from schanger_edge.synthetic.noise import Doubles
from schanger_edge.synthetic.style import AFTER, BEFORE, BOTH, Colour

# Layers of the painter, bottom up. Below HARD edges are soft and natural texture lies over the colour.
GROUND, PARCEL, PATCH = 0, 1, 2
HARD = 10
TRACK, KERB, PAVED, ROAD, MARK, FEATURE, CAR_SHADOW, CAR = 10, 11, 12, 13, 14, 15, 16, 17
ROOF = 20

Normal = tuple[float, float, float]
FLAT: Normal = (0.0, 0.0, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """A filled polygon (N, 2) with its colour on each date; None where it is absent on that date.

    `rows` are crop rows: (wave vector x, wave vector y, strength before, strength after).
    """

    layer: int
    points: Doubles
    before: Colour | None
    after: Colour | None
    normal: Normal = FLAT
    rows: tuple[float, float, float, float] | None = None

    def colour(self, when: int) -> Colour | None:
        """Colour on BEFORE or AFTER."""
        return self.before if when == BEFORE else self.after


def shape(layer: int, points: Doubles, colour: Colour, when: int = BOTH, normal: Normal = FLAT) -> Shape:
    """A shape with one colour on the dates `when`."""
    return Shape(layer, points, colour if when & BEFORE else None, colour if when & AFTER else None, normal)


@dataclasses.dataclass(frozen=True, eq=False)
class Building:
    """One building: roof planes to paint, solids (outline, height in metres) that cast shadows, outline as parts."""

    planes: list[Shape]
    solids: list[tuple[Doubles, float]]
    outline: list[Doubles]
    when: int
    bounds: tuple[float, float, float, float]

    @property
    def height(self) -> float:
        """Metres from the ground to the roof."""
        return self.solids[0][1]

    def is_in(self, area: tuple[float, float, float, float]) -> bool:
        """Whether its bounds meet those of an area."""
        left, top, right, bottom = self.bounds
        return left < area[2] and right > area[0] and top < area[3] and bottom > area[1]


@dataclasses.dataclass(frozen=True)
class Frame:
    """A place on the ground with its own axes: x along the street, y away from it; local metres to scene metres."""

    x: float
    y: float
    ex: tuple[float, float]
    ey: tuple[float, float]

    def place(self, local: list[tuple[float, float]] | Doubles) -> Doubles:
        """Scene coordinates (N, 2) of local points."""
        points = np.asarray(local, np.float64)
        axes = np.array((self.ex, self.ey))
        return np.asarray(points @ axes + (self.x, self.y), np.float64)

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Doubles:
        """A rectangle on the ground, by its local corners."""
        return self.place(box(x0, y0, x1, y1))

    def turn(self, normal: Normal) -> Normal:
        """A local normal in scene axes."""
        x, y = (normal[0] * self.ex[axis] + normal[1] * self.ey[axis] for axis in (0, 1))
        return x, y, normal[2]

    def moved(self, dx: float, dy: float, angle: float = 0.0) -> Frame:
        """This frame moved in its own axes, then turned."""
        cos, sin = math.cos(angle), math.sin(angle)
        ex = (self.ex[0] * cos + self.ey[0] * sin, self.ex[1] * cos + self.ey[1] * sin)
        ey = (self.ey[0] * cos - self.ex[0] * sin, self.ey[1] * cos - self.ex[1] * sin)
        x = self.x + dx * self.ex[0] + dy * self.ey[0]
        y = self.y + dx * self.ex[1] + dy * self.ey[1]
        return Frame(x, y, ex, ey)


def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    """Corners of a rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def ribbon(line: Doubles, width: float) -> Doubles:
    """Outline (2N, 2) of a line (N, 2) drawn `width` metres wide."""
    side = across(line) * (width / 2)
    return np.concatenate([line + side, (line - side)[::-1]])


def across(line: Doubles) -> Doubles:
    """Unit vectors (N, 2) at right angles to a line (N, 2)."""
    side = np.empty_like(line)
    side[1:-1] = line[2:, ::-1] - line[:-2, ::-1]
    side[0], side[-1] = line[1, ::-1] - line[0, ::-1], line[-1, ::-1] - line[-2, ::-1]
    side[:, 0] *= -1
    side /= np.maximum(np.hypot(side[:, 0], side[:, 1]), 1e-9)[:, None]
    return side


def bounds_of(polygons: list[Doubles]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of polygons."""
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
