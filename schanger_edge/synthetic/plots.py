"""Built-up blocks of lots along streets: detached houses, villages, dense towns."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import numpy as np

from schanger_edge.synthetic.draft import Block, Content, Item
from schanger_edge.synthetic.fate import Fate, stand
from schanger_edge.synthetic.houses import Plan, flat, house, shed
from schanger_edge.synthetic.land import blob, column_street, paint_street, row_street
from schanger_edge.synthetic.noise import key, stream
from schanger_edge.synthetic.shapes import FEATURE, KERB, PARCEL, PATCH, PAVED, ROAD, Frame, ribbon
from schanger_edge.synthetic.style import AFTER, BEFORE, BOTH, Colour, jittered

Maker = Callable[[Content, Frame, float, float, Fate], None]


def _lots(
    block: Block, lot_width: float, depth: float, street: float
) -> Iterator[tuple[float, float, int, float, float]]:
    """(u of the front, v, side, width, depth) of the lots of a block; also the inner streets between double rows."""
    halves = [column_street(block.style, column)[0] / 2 for column in (block.column, block.column + 1)]
    ends = [row_street(block.style, block.column, row)[0] / 2 for row in (block.row, block.row + 1)]
    pairs = max(1, round(block.width / (2 * depth + street)))
    edges = [block.u0 + block.width * k / pairs for k in range(pairs + 1)]
    low, high = block.v0 + ends[0] + 2.5, block.v1 - ends[1] - 2.5
    count = max(1, int((high - low) / lot_width))
    step = (high - low) / count
    for k in range(pairs):
        left = edges[k] + (halves[0] if k == 0 else street / 2) + 1.5
        right = edges[k + 1] - (halves[1] if k == pairs - 1 else street / 2) - 1.5
        middle = (left + right) / 2
        for i in range(count):
            v = low + (i + 0.5) * step
            yield left, v, 1, step, middle - left
            yield right, v, -1, step, right - middle


def _inner_streets(block: Block, depth: float, street: float, when: int, paved: bool) -> None:
    pairs = max(1, round(block.width / (2 * depth + street)))
    content = Content(block.style, block.rng)
    for k in range(1, pairs):
        u = block.u0 + block.width * k / pairs
        tone = key(block.style.seed, "inner", block.column, block.row, k)
        dead_end = block.rng.random() < 0.5
        stop = block.v1 - (28 if dead_end else 0)
        line = block.line(u, block.v0, u, stop)
        paint_street(content, line, street - 1.5, False, paved, tone, when)
        if dead_end and paved:
            x, y = line[-1]
            colour = jittered(random.Random(tone), block.style.asphalt, 0.16, 0.015)
            content.fill(KERB, blob(block.rng, x, y, 11.5, 0.0, 24), (200, 195, 184), when)
            content.fill(ROAD, blob(block.rng, x, y, 10, 0.0, 24), colour, when)
    if content.shapes:
        block.whole(content)


def _add_lots(block: Block, fate: Fate, maker: Maker, lot_width: float, depth: float, street: float) -> None:
    lots = list(_lots(block, lot_width, depth, street))
    points = np.array([(u, v) for u, v, *_ in lots])
    ground = block.streets.ground(points)
    ahead = block.streets.ground(points + np.array((0.0, 1.0))) - ground
    inward = block.streets.ground(points + np.array((1.0, 0.0))) - ground
    for n, (_, _, side, lot_along, lot_deep) in enumerate(lots):
        stretch = math.hypot(*ahead[n])
        ex = (float(ahead[n, 0]) / stretch, float(ahead[n, 1]) / stretch)
        ey = (-ex[1], ex[0])
        across = float(ey[0] * inward[n, 0] + ey[1] * inward[n, 1])
        if across * side < 0:
            ey = (-ey[0], -ey[1])
        frame = Frame(float(ground[n, 0]), float(ground[n, 1]), ex, ey)
        width, deep = lot_along * min(stretch, 1.25), lot_deep * min(abs(across), 1.25)
        centre = frame.moved(0, deep / 2)

        def make(frame: Frame = frame, width: float = width, deep: float = deep, n: int = n) -> Content:
            content = Content(block.style, stream(block.style.seed, "lot", block.column, block.row, n))
            maker(content, frame, width, deep, fate)
            return content

        block.items.append(Item(centre.x, centre.y, math.hypot(width, deep) / 2 + 6, make))


def add_houses(block: Block, when: int, streets_when: int, activity: float) -> None:
    """A neighbourhood of detached houses with gardens."""
    rng, style = block.rng, block.style
    depth, street = rng.uniform(24, 38), rng.uniform(8.5, 11)
    fate = Fate(block, when, activity)
    _inner_streets(block, depth, street, streets_when, style.paved)
    lot_width = max(13.0, style.lot_width * rng.uniform(0.85, 1.2))
    _add_lots(block, fate, _house_lot, lot_width, depth, street)


def _house_lot(content: Content, frame: Frame, width: float, deep: float, fate: Fate) -> None:
    rng, style = content.rng, content.style
    if deep < 11:
        return
    empty = rng.random() < 0.05
    when = 0 if empty else fate.roll(rng)
    _lot_ground(content, frame, width, deep, fate, when)
    if empty:
        return
    setback = min(rng.uniform(4.5, 8), deep * 0.3)
    wide = min(width * rng.uniform(0.7, 0.9), 24.0)
    long = min(max(rng.uniform(0.75, 1.15) * wide, 9.0), rng.uniform(12, 20), deep - setback - 2)
    place = frame.moved(rng.uniform(-0.5, 0.5) * (width - wide) * 0.6, setback, rng.gauss(0, 0.03))
    kind = "tile" if key(style.seed, "roofs") % 3 == 0 else "shingle"
    colour = fate.roof(rng, kind)
    stand(content, place, fate, lambda: house(rng, colour, style.pitch, wide, long, style.hipped), when)
    drive, side = rng.uniform(2.8, 5.8), rng.choice([-1, 1])
    x = side * (wide / 2 - drive / 2 - rng.uniform(0, 1))
    paving: Colour = rng.choice([(206, 200, 188), (190, 184, 172), (150, 148, 144), (176, 160, 142)])
    content.fill(PAVED, place.box(x - drive / 2, -setback - 2.5, x + drive / 2, 2.5), jittered(rng, paving), when)
    for lane in (-0.25, 0.25) if drive > 4.6 else (0.0,):
        spot = place.moved(x + lane * drive, -rng.uniform(1.5, 4.0), math.pi / 2)
        for date in (BEFORE, AFTER):
            if when & date and rng.random() < 0.24:
                content.car(spot, date)
    _backyard(content, frame, width, deep, setback + long, fate, when)


def _lot_ground(content: Content, frame: Frame, width: float, deep: float, fate: Fate, when: int) -> None:
    """Lawn where somebody lives; before that natural ground, or a cleared lot."""
    rng = content.rng
    lot = frame.box(-width / 2, -1.5, width / 2, deep)
    green = rng.gauss(0.75, 0.22)
    fresh = rng.random() < (0.25 if when == AFTER else 0.03)
    soil = rng.uniform(0.5, 1.0) if fresh else rng.uniform(0, 0.15)
    content.ground(PARCEL, lot, green, soil, rng.uniform(0.9, 1.06), when)
    if fate.stage >= 1 and not when & BEFORE:
        content.ground(PARCEL, lot, 0.2, rng.uniform(0.4, 1.0), rng.uniform(0.95, 1.15), BEFORE)


def _backyard(content: Content, frame: Frame, width: float, deep: float, back: float, fate: Fate, when: int) -> None:
    rng = content.rng
    room = deep - back
    if rng.random() < 0.75:
        tone = jittered(rng, rng.choice([(96, 84, 72), (124, 110, 94), (70, 66, 60)]), 0.15)
        for a, b in (((-width / 2, back - 4), (-width / 2, deep)), ((-width / 2, deep), (width / 2, deep))):
            middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
            content.fill(FEATURE, ribbon(frame.place([a, middle, b]), 0.3), tone, when)
    if room < 6:
        return
    if rng.random() < 0.5:
        x = rng.uniform(-0.3, 0.3) * width
        terrace = frame.box(x - 2.5, back - 1, x + 2.5, back + rng.uniform(2, 4))
        content.fill(PAVED, terrace, jittered(rng, (188, 180, 168)), when)
    if rng.random() < 0.09 and content.style.paved:
        spot = frame.moved(rng.uniform(-0.2, 0.2) * width, back + room * 0.5, rng.uniform(0, 3))
        pool = blob(rng, spot.x, spot.y, rng.uniform(2.2, 3.8), 0.5, 18)
        centre = pool.mean(axis=0)
        content.fill(PAVED, (pool - centre) * 1.5 + centre, jittered(rng, (206, 198, 184)), when)
        content.fill(FEATURE, pool, jittered(rng, (84, 176, 204), 0.15, 0.05), when)
    if rng.random() < 0.08 and room > 9:
        spot = frame.moved(rng.choice([-1, 1]) * width * 0.3, deep - 5.5, rng.gauss(0, 0.1))
        plan = shed(rng, fate.roof(rng, "metal"), rng.uniform(3, 5), rng.uniform(3, 4.5), 2.4)
        stand(content, spot, fate, lambda: plan, when if when == AFTER else fate.roll(rng))


def add_village(block: Block, when: int, activity: float) -> None:
    """Scattered houses under metal roofs in yards of trodden soil."""
    rng = block.rng
    fate = Fate(block, when, activity)
    density = rng.uniform(0.45, 0.95)

    def lot(content: Content, frame: Frame, width: float, deep: float, fate: Fate) -> None:
        if content.rng.random() < density:
            _village_lot(content, frame, width, deep, fate)

    size = rng.uniform(15, 24)
    _add_lots(block, fate, lot, size, size * rng.uniform(0.9, 1.3), 3.0)


def _village_lot(content: Content, frame: Frame, width: float, deep: float, fate: Fate) -> None:
    rng = content.rng
    when = fate.roll(rng)
    yard = frame.moved(0, deep / 2)
    outline = blob(rng, yard.x, yard.y, 0.5 * min(width, deep) * rng.uniform(0.9, 1.35), 0.4, 18)
    content.ground(PARCEL, outline, rng.uniform(0, 0.4), rng.uniform(0.5, 1.0), rng.uniform(0.95, 1.12), when)
    turn = rng.choice([0.0, math.pi / 2]) + rng.gauss(0, 0.12)
    wide, long = rng.uniform(6, min(15.0, width * 0.8)), rng.uniform(5, 9)
    place = yard.moved(rng.uniform(-1, 1), rng.uniform(-1, 1), turn).moved(0, -long / 2)
    colour = fate.roof(rng, "metal")
    stand(content, place, fate, lambda: _village_house(rng, colour, wide, long), when)
    if rng.random() < 0.4 and min(width, deep) > 15:
        spot = frame.moved(rng.choice([-1, 1]) * (width / 2 - 2.6), deep - 3.6, rng.gauss(0, 0.2))
        plan = shed(rng, fate.roof(rng, "metal"), rng.uniform(2.5, 4.0), rng.uniform(2.2, 3.2), 2.3)
        stand(content, spot, fate, lambda: plan, when if when != BOTH else fate.roll(rng))
    for _ in range(rng.choice([0, 0, 1, 3])):
        x, y = outline[rng.randrange(len(outline))]
        content.fill(FEATURE, blob(rng, x, y, rng.uniform(0.3, 1.1), 0.6, 6), jittered(rng, (150, 146, 140), 0.4), when)


def _village_house(rng: random.Random, colour: Colour, wide: float, long: float) -> Plan:
    height = rng.uniform(2.6, 3.6)
    if rng.random() < 0.3:
        return house(rng, colour, math.radians(rng.uniform(14, 26)), wide, max(long, 7.0), 0.7)
    return shed(rng, colour, wide, long, height)


def add_town(block: Block, when: int, activity: float) -> None:
    """Houses wall to wall: flat concrete roofs and metal sheets, small courtyards."""
    rng, style = block.rng, block.style
    ground = Content(style, rng)
    inner = block.inner(3)
    ground.ground(PARCEL, inner, rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.9), 0.92, when)
    block.whole(ground)
    fate = Fate(block, when, activity)
    _add_lots(block, fate, _town_lot, style.lot_width if style.lot_width < 13 else 10.0, rng.uniform(10, 17), 3.0)


def _town_lot(content: Content, frame: Frame, width: float, deep: float, fate: Fate) -> None:
    rng = content.rng
    if rng.random() < 0.12 or deep < 5:
        yard = frame.box(-width / 2, 0, width / 2, deep)
        content.ground(PATCH, yard, rng.uniform(0.2, 1.0), rng.uniform(0, 0.8), 0.95)
        return
    when = fate.roll(rng)
    wide, long = width * rng.uniform(0.78, 0.98), deep * rng.uniform(0.55, 0.94)
    place = frame.moved(0, rng.uniform(0.1, 1.5), rng.gauss(0, 0.03))
    stand(content, place, fate, lambda: _town_house(rng, fate, wide, long), when)
    left = deep - long
    if left > 3.5 and rng.random() < 0.6:
        plan = shed(rng, fate.roof(rng, "metal"), wide * rng.uniform(0.4, 0.9), left - 1.8, 2.6)
        stand(content, place.moved(0, long + 0.3), fate, lambda: plan, fate.roll(rng))


def _town_house(rng: random.Random, fate: Fate, wide: float, long: float) -> Plan:
    height = rng.choice([3.2, 3.4, 6.2, 6.5, 9.5, 12.5])
    chance = rng.random()
    if chance < 0.64:
        return flat(rng, fate.roof(rng, "concrete"), wide, long, height, rng.uniform(0.8, 3.5))
    if chance < 0.9:
        return shed(rng, fate.roof(rng, "metal"), wide, long, min(height, 6.5))
    plan = Plan(rng, fate.roof(rng, "tile"), math.radians(24))
    plan.pitched(-wide / 2, 0, wide / 2, long, min(height, 6.5), rng.choice([0.0, 1.0]))
    return plan
