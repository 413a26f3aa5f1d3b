"""Buildings seen at an angle: walls, and roofs that lie off their ground by their height."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from schanger_edge.synthetic.noise import Doubles
from schanger_edge.synthetic.shapes import ROOF, Building, Shape, shape
from schanger_edge.synthetic.style import Colour, Lean, mixed

_STOREY, _BAY = 3.1, 6.5
_WALLS: tuple[Colour, ...] = ((206, 198, 184), (176, 168, 158), (188, 150, 126), (150, 152, 156), (214, 208, 200))
_GLASS: Colour = (74, 80, 88)


def farthest_first(buildings: list[Building], lean: Lean) -> list[Building]:
    """Buildings in the order in which they cover each other: roofs lean away from the camera."""
    return sorted(buildings, key=lambda one: -float(one.outline[0].mean(axis=0) @ lean))


def covered(building: Building, lean: Lean) -> Iterator[Doubles]:
    """Polygons that a building covers of the image: its ground and, where it leans, its sides and its top."""
    reach = np.asarray(lean) * building.height
    for outline in building.outline:
        yield outline
        if reach.any():
            following = np.roll(outline, -1, axis=0)
            yield from np.stack([outline, following, following + reach, outline + reach], axis=1)
            yield outline + reach


def seen(building: Building, lean: Lean, when: int) -> list[Shape]:
    """Walls that face the camera, storey by storey, and the roof above them, in the order to paint them."""
    reach = np.asarray(lean) * building.height
    wall = _WALLS[int(abs(building.bounds[0] * 7 + building.bounds[1])) % len(_WALLS)]
    shapes = [one for outline in building.outline for one in _walls(outline, reach, building.height, wall, when)]
    shapes += [shape(ROOF, outline + reach, mixed(wall, _GLASS, 0.1), when) for outline in building.outline]
    return shapes + [dataclasses.replace(plane, points=plane.points + reach) for plane in building.planes]


def _walls(outline: Doubles, reach: Doubles, height: float, wall: Colour, when: int) -> Iterator[Shape]:
    following = np.roll(outline, -1, axis=0)
    turn = np.sign(np.sum(outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]))
    for start, side in zip(outline, following - outline, strict=True):
        length = max(float(np.hypot(*side)), 1e-9)
        normal = turn * np.array((side[1], -side[0])) / length
        if normal @ reach < 0:
            for (left, right, low, high), glass in _parts(length, max(1, round(height / _STOREY))):
                corners = np.array([(left, low), (right, low), (right, high), (left, high)])
                points = start + corners[:, :1] * side + corners[:, 1:] * reach
                yield shape(ROOF, points, mixed(wall, _GLASS, glass), when, (float(normal[0]), float(normal[1]), 0.0))


def _parts(length: float, storeys: int) -> Iterator[tuple[tuple[float, float, float, float], float]]:
    """Of a wall: (left, right, low, high) as shares of its length and height, and how much of it is glass."""
    yield (0, 1, 0, 1), 0.0
    for storey in range(storeys):
        yield (0.03, 0.97, (storey + 0.3) / storeys, (storey + 0.72) / storeys), 0.6
    bays = max(1, int(length / _BAY))
    for pier in range(1, bays):
        yield (pier / bays - 0.8 / length, pier / bays + 0.8 / length, 0, 1), 0.12
