"""Blocks of large buildings: halls with yards and parking lots, apartment slabs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from schanger_edge.synthetic.draft import Block, Content
from schanger_edge.synthetic.fate import Fate, stand
from schanger_edge.synthetic.houses import Plan, flat, hall, round_tank, tower
from schanger_edge.synthetic.shapes import FEATURE, KERB, MARK, PARCEL, PAVED, Frame
from schanger_edge.synthetic.style import AFTER, BEFORE, Colour, SceneStyle, jittered


def _inner_box(block: Block) -> tuple[Frame, float, float]:
    """A straight frame in the middle of a block and the half sizes (along x, along y) that are safe from streets."""
    frame, stretch = block.streets.frame((block.u0 + block.u1) / 2, (block.v0 + block.v1) / 2, 1)
    slack = 0.88 if block.streets.reach else 1.0
    half_x = (block.length / 2 * min(stretch, 1.0) - 10) * slack
    half_y = (block.width / 2 * 0.97 - 12) * slack
    return frame, max(half_x, 8.0), max(half_y, 8.0)


def _marked_lot(content: Content, frame: Frame, half_x: float, y0: float, y1: float, full: float, when: int) -> None:
    """A parking lot: asphalt, lines, cars that come and go."""
    rng = content.rng
    content.fill(PAVED, frame.box(-half_x, y0, half_x, y1), jittered(rng, content.style.asphalt, 0.2, 0.02), when)
    bay, y = 2.6, y0 + 0.5
    while y + 5 < y1:
        turn = 1 if round((y - y0) / 5.5) % 2 else -1
        count = int((2 * half_x - 4) / bay)
        for i in range(count):
            x = -half_x + 2 + i * bay
            content.fill(MARK, frame.box(x, y, x + 0.16, y + 4.8), (206, 206, 200), when)
            for date in (BEFORE, AFTER):
                if when & date and rng.random() < full:
                    content.car(frame.moved(x + bay / 2, y + 2.4, turn * math.pi / 2), date)
        y += 5.0 if turn > 0 else 11.5


def add_halls(block: Block, when: int, activity: float) -> None:
    """Large buildings with paved yards and parking lots."""
    rng, style = block.rng, block.style
    fate, content = Fate(block, when, activity), Content(block.style, block.rng)
    frame, half_x, half_y = _inner_box(block)
    yard = block.inner(6)
    if rng.random() < 0.7:
        paving: Colour = rng.choice([(168, 162, 152), (140, 138, 134), (188, 176, 154)])
        content.fill(KERB, yard, jittered(rng, paving, 0.1), when)
    else:
        content.ground(PARCEL, yard, 0.4, rng.uniform(0.2, 0.9), 1.0, when)
    count = max(1, round(half_x / rng.uniform(22, 45)))
    step = 2 * half_x / count
    parking = rng.uniform(11, 19) if half_y > 22 else 0.0
    for i in range(count):
        spot = frame.moved(-half_x + (i + 0.5) * step, -half_y + parking)
        wide, deep = step * rng.uniform(0.6, 0.86), (2 * half_y - parking) * rng.uniform(0.5, 0.92)
        colour = fate.roof(rng, "hall")
        if wide > 9 and deep > 9 and rng.random() < 0.93:
            wide, deep = min(wide, 85.0), min(deep, 70.0)
            stand(content, spot.moved(0, 3), fate, _hall_maker(rng, colour, wide, deep - 3), fate.roll(rng))
    if parking:
        _marked_lot(content, frame, half_x, -half_y - 3, -half_y + parking - 4, rng.uniform(0.1, 0.8), when)
    _yard_goods(content, frame, half_x, half_y, style, when)
    block.whole(content)


def _hall_maker(rng: random.Random, colour: Colour, wide: float, deep: float) -> Callable[[], Plan]:
    if rng.random() < 0.08:
        return lambda: round_tank(rng, min(wide, deep, 26.0) / 2)
    return lambda: hall(rng, colour, wide, deep)


def _yard_goods(content: Content, frame: Frame, half_x: float, half_y: float, style: SceneStyle, when: int) -> None:
    """Containers and lorries along the back of a yard; they move, and are no buildings."""
    rng = content.rng
    for date in (BEFORE, AFTER):
        for _ in range(rng.choice([0, 0, 4, 12]) if when & date else 0):
            spot = frame.moved(rng.uniform(-half_x, half_x), half_y + rng.uniform(1, 4), rng.choice([0.0, 1.571]))
            colours: list[Colour] = [(150, 70, 60), (70, 100, 140), (190, 190, 186), (110, 130, 96), (170, 140, 80)]
            content.fill(FEATURE, spot.box(-6, -1.2, 6, 1.2), jittered(rng, rng.choice(colours), 0.15), date)


def add_slabs(block: Block, when: int, activity: float) -> None:
    """Apartment blocks in parallel, lawns between, parking on one side."""
    rng = block.rng
    fate, content = Fate(block, when, activity * 0.8), Content(block.style, block.rng)
    frame, half_x, half_y = _inner_box(block)
    outline = block.inner(5)
    content.ground(PARCEL, outline, rng.uniform(0.4, 1.0), rng.uniform(0, 0.3), 0.96, when)
    deep, gap = rng.uniform(11, 16), rng.uniform(15, 28)
    height = rng.choice([9.5, 12.5, 15.5, 18.0])
    colour = fate.roof(rng, "concrete" if rng.random() < 0.6 else "tile")
    pitched = rng.random() < 0.35
    count = max(1, int((2 * half_x + gap) / (deep + gap)))
    start = -(count * (deep + gap) - gap) / 2
    for i in range(count):
        spot = frame.moved(start + i * (deep + gap), rng.uniform(-0.1, 0.1) * half_y, -math.pi / 2)
        wide = 2 * half_y * rng.uniform(0.7, 0.95)
        roof = _slab_maker(rng, colour, wide, deep, height, pitched)
        stand(content, spot, fate, roof, fate.roll(rng))
        path = spot.box(-wide / 2, deep + 2, wide / 2, deep + 4.2)
        content.fill(PAVED, path, jittered(rng, (186, 182, 172)), when)
        if gap > 22 and i < count - 1 and rng.random() < 0.7:
            _marked_lot(content, spot, wide * 0.45, deep + 5, deep + 11, rng.uniform(0.2, 0.8), when)
    block.whole(content)


def _slab_maker(
    rng: random.Random, colour: Colour, wide: float, deep: float, height: float, pitched: bool
) -> Callable[[], Plan]:
    def make() -> Plan:
        if not pitched:
            return flat(rng, jittered(rng, colour, 0.06, 0.01), wide, deep, height, rng.uniform(0.3, 1.2))
        plan = Plan(rng, jittered(rng, colour, 0.06, 0.01), math.radians(26))
        plan.pitched(-wide / 2, 0, wide / 2, deep, height, rng.choice([0.0, 1.0]))
        return plan

    return make


def add_towers(block: Block, when: int, activity: float) -> None:
    """High apartment buildings of one kind around lawns, paths and courts."""
    rng = block.rng
    fate, content = Fate(block, when, activity * 0.5), Content(block.style, block.rng)
    frame, half_x, half_y = _inner_box(block)
    content.ground(PARCEL, block.inner(5), rng.uniform(0.4, 1.0), rng.uniform(0, 0.3), 0.96, when)
    wide, deep, height = rng.uniform(18, 42), rng.uniform(14, 22), rng.uniform(24, 72)
    colour = fate.roof(rng, "concrete" if rng.random() < 0.6 else "tile")
    columns, rows = (max(1, int(2 * half / (size * 1.9))) for half, size in ((half_x, wide), (half_y, deep)))
    for column in range(columns):
        for row in range(rows):
            x, y = ((k + 0.5) / n * 2 - 1 for k, n in ((column, columns), (row, rows)))
            spot = frame.moved(x * half_x + rng.gauss(0, 2), y * half_y - deep / 2 + rng.gauss(0, 3))
            path = spot.box(-wide / 2 - 3, -4.2, wide / 2 + 3, -1.5)
            content.fill(PAVED, path, jittered(rng, (190, 182, 168)), when)
            if rng.random() < 0.25:
                _marked_lot(content, spot, wide * 0.45, -12, -5.5, rng.uniform(0.2, 0.8), when)
            else:
                roof = _tower_maker(rng, colour, wide, deep, height + rng.choice([0, 0, 0, -9]))
                stand(content, spot, fate, roof, fate.roll(rng))
    block.whole(content)


def _tower_maker(rng: random.Random, colour: Colour, wide: float, deep: float, height: float) -> Callable[[], Plan]:
    return lambda: tower(rng, jittered(rng, colour, 0.06, 0.01), wide, deep, height)
