"""Buildings as roof planes: hipped and gabled houses with wings, metal sheds, flat roofs with clutter."""

from __future__ import annotations

import math
import random

import numpy as np

from schanger_edge.synthetic.noise import Doubles
from schanger_edge.synthetic.shapes import FLAT, ROOF, Building, Frame, Normal, bounds_of, box, shape
from schanger_edge.synthetic.style import Colour, jittered, mixed

Plane = tuple[list[tuple[float, float]], Colour, Normal]
Solid = tuple[list[tuple[float, float]], float]


class Plan:
    """A building in its own metres, under construction: planes bottom up, solids, outline."""

    def __init__(self, rng: random.Random, colour: Colour, pitch: float) -> None:
        self.rng, self.colour, self.pitch = rng, colour, pitch
        self.planes: list[Plane] = []
        self.solids: list[Solid] = []
        self.outline: list[list[tuple[float, float]]] = []

    def add(self, points: list[tuple[float, float]], normal: Normal = FLAT, colour: Colour | None = None) -> None:
        """One plane of the roof, in the building's colour with a slight difference."""
        self.planes.append((points, colour or jittered(self.rng, self.colour, 0.035, 0.006), normal))

    def body(self, points: list[tuple[float, float]], height: float) -> None:
        """One part of the outline, with its height."""
        self.outline.append(points)
        self.solids.append((points, height))

    def pitched(self, x0: float, y0: float, x1: float, y1: float, height: float, hip: float) -> None:
        """A pitched roof over a rectangle, ridge along its longer side; `hip` 0 is a gable, 1 a full hip."""
        self.body(box(x0, y0, x1, y1), height + 0.3 * min(x1 - x0, y1 - y0) * math.tan(self.pitch))
        slope, up = math.sin(self.pitch), math.cos(self.pitch)
        wide = x1 - x0 >= y1 - y0
        (first, last), (low, high) = ((x0, x1), (y0, y1)) if wide else ((y0, y1), (x0, x1))

        def at(along: float, across: float) -> tuple[float, float]:
            return (along, across) if wide else (across, along)

        half, middle = (high - low) / 2, (low + high) / 2
        a, b = at(first + half * hip, middle), at(last - half * hip, middle)
        for side, tilt in ((low, -slope), (high, slope)):
            self.add([at(first, side), at(last, side), b, a], (*at(0.0, tilt), up))
        for end, tip, tilt in ((first, a, -slope), (last, b, slope)) if hip > 0 else ():
            self.add([at(end, low), at(end, high), tip], (*at(tilt, 0.0), up))
        self.ridge(a, b, mixed(self.colour, (235, 232, 226), 0.16))

    def ridge(self, a: tuple[float, float], b: tuple[float, float], colour: Colour, width: float = 0.28) -> None:
        """A thin line on the roof."""
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy)
        if length < 0.5:
            return
        nx, ny = -dy / length * width / 2, dx / length * width / 2
        points = [(a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny), (b[0] - nx, b[1] - ny), (a[0] - nx, a[1] - ny)]
        self.planes.append((points, colour, FLAT))

    def wing(self, x0: float, x1: float, eave: float, out: float, height: float, hip: float) -> None:
        """A wing of equal pitch that leaves the main roof's eave at y=`eave` and ends at y=`out`."""
        half, middle = (x1 - x0) / 2, (x0 + x1) / 2
        sign = 1.0 if out > eave else -1.0
        tip, end = (middle, eave - sign * half), (middle, out - sign * half * hip)
        slope, up = math.sin(self.pitch), math.cos(self.pitch)
        self.body(box(x0, min(eave, out), x1, max(eave, out)), height + 0.3 * half * math.tan(self.pitch))
        self.add([(x0, eave), tip, end, (x0, out)], (-slope, 0, up))
        self.add([(x1, eave), tip, end, (x1, out)], (slope, 0, up))
        if hip > 0:
            self.add([(x0, out), end, (x1, out)], (0, sign * slope, up))

    def finish(self, frame: Frame, when: int) -> Building:
        """The building on the ground."""
        lists = [*(plane[0] for plane in self.planes), *(solid[0] for solid in self.solids), *self.outline]
        ends = np.cumsum([len(points) for points in lists]).tolist()
        ground = frame.place([point for points in lists for point in points])
        placed = [ground[end - len(points) : end] for points, end in zip(lists, ends, strict=True)]
        first, last = len(self.planes), len(self.planes) + len(self.solids)
        planes = [
            shape(ROOF, points, colour, when, FLAT if normal is FLAT else frame.turn(normal))
            for points, (_, colour, normal) in zip(placed, self.planes, strict=False)
        ]
        solids = [(points, solid[1]) for points, solid in zip(placed[first:last], self.solids, strict=True)]
        return Building(planes, solids, placed[last:], when, bounds_of(placed[last:]))


def house(rng: random.Random, colour: Colour, pitch: float, width: float, depth: float, hipped: float) -> Plan:
    """A detached house of about width x depth around (0, depth / 2), its front at y=0, with up to three wings."""
    plan = Plan(rng, colour, pitch * rng.uniform(0.9, 1.1))
    hip = 1.0 if rng.random() < hipped else 0.0
    height = rng.choice([3.0, 3.2, 5.6, 6.0])
    w, d = width / 2, depth
    front = d * rng.uniform(0.12, 0.3) if rng.random() < 0.75 else 0.0
    back = d * rng.uniform(0.12, 0.3) if rng.random() < 0.5 else 0.0
    plan.pitched(-w, front, w, d - back, height, hip)
    body = d - back - front
    for eave, out, wanted in ((front, 0.0, front > 0), (d - back, d, back > 0)):
        if not wanted:
            continue
        span = min(2 * w * rng.uniform(0.3, 0.55), body * 0.95)
        x0 = rng.choice([-w, w - span, rng.uniform(-w, w - span)])
        plan.wing(x0, x0 + span, eave, out, height, 1.0 if rng.random() < hipped else 0.0)
    if rng.random() < 0.3 and front > 0:
        span = rng.uniform(2.2, 4.0)
        x0 = rng.uniform(-w, w - span)
        plan.wing(x0, x0 + span, front, front - rng.uniform(0.6, 1.2), height - 0.4, 0.0)
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        x, y = rng.uniform(-w * 0.6, w * 0.6), d * rng.uniform(0.35, 0.65)
        plan.add(box(x, y, x + 0.7, y + 0.7), colour=rng.choice([(70, 66, 64), (150, 110, 95), (190, 190, 186)]))
    if rng.random() < 0.07:
        x, y = rng.uniform(-w * 0.7, 0), d * rng.uniform(0.35, 0.5)
        plan.add(box(x, y, x + rng.uniform(2, 5), y + rng.uniform(1.6, 3.2)), colour=(48, 54, 76))
    return plan


def shed(rng: random.Random, colour: Colour, width: float, depth: float, height: float) -> Plan:
    """A metal roof of one, two or four low planes, in sheets of slightly different age."""
    plan = Plan(rng, colour, math.radians(rng.uniform(8, 20)))
    kind = rng.random()
    w = width / 2
    if kind < 0.62:
        plan.pitched(-w, 0, w, depth, height, 0.0)
    elif kind < 0.8:
        plan.pitched(-w, 0, w, depth, height, 1.0)
    else:
        plan.body(box(-w, 0, w, depth), height)
        plan.add(box(-w, 0, w, depth), (0, math.sin(plan.pitch) * rng.choice([-1, 1]), math.cos(plan.pitch)))
    if kind < 0.62 or kind > 0.8:
        _sheets(plan, w, depth)
    return plan


def _sheets(plan: Plan, w: float, depth: float) -> None:
    """Strips across the roof that lie over its planes: new, rusty or faded sheets."""
    rng, slope, up = plan.rng, math.sin(plan.pitch), math.cos(plan.pitch)
    wide = 2 * w >= depth
    rust = rng.random() < 0.35
    for _ in range(rng.randint(0, 5) if depth < 18 else rng.randint(2, 12)):
        tone = jittered(rng, mixed(plan.colour, (132, 92, 68), rng.uniform(0.1, 0.7) if rust else 0.04), 0.08, 0.02)
        size, first = rng.uniform(0.8, 2.4), rng.random() < 0.5
        if wide:
            x = rng.uniform(-w, w - size)
            y0 = 0.0 if first else depth / 2
            plan.add(box(x, y0, x + size, y0 + depth / 2), (0.0, -slope if first else slope, up), tone)
        else:
            y = rng.uniform(0, depth - size)
            x0 = -w if first else 0.0
            plan.add(box(x0, y, x0 + w, y + size), (-slope if first else slope, 0.0, up), tone)


def flat(rng: random.Random, colour: Colour, width: float, depth: float, height: float, clutter: float) -> Plan:
    """A flat roof with parapet, sections, stains and rooftop boxes; `clutter` is about one item per 60 m2 at 1."""
    plan = Plan(rng, colour, 0.2)
    w = width / 2
    inset = rng.uniform(0.25, 0.5)
    plan.body(box(-w, 0, w, depth), height)
    rim = mixed(colour, rng.choice([(230, 228, 222), (90, 88, 84)]), rng.uniform(0.15, 0.5))
    plan.add(box(-w, 0, w, depth), colour=rim)
    plan.add(box(-w + inset, inset, w - inset, depth - inset))
    if rng.random() < 0.6 and min(width, depth) > 7:
        cut = rng.uniform(-0.5, 0.5) * w
        tone = jittered(rng, colour, 0.12, 0.03)
        plan.add(box(cut, inset, w - inset, depth - inset), colour=tone)
        if rng.random() < 0.35:
            part = box(cut, 0.2 * depth, w * 0.96, depth * 0.97)
            plan.solids.append((part, height + rng.uniform(2.6, 3.4)))
            plan.add(part, colour=jittered(rng, colour, 0.1, 0.03))
    for _ in range(min(40, int(width * depth / 60 * clutter * rng.uniform(0.4, 1.6)))):
        _roof_item(plan, w, depth, height, inset)
    return plan


def _roof_item(plan: Plan, w: float, depth: float, height: float, inset: float) -> None:
    rng = plan.rng
    size_x, size_y = rng.uniform(0.7, min(3.5, w)), rng.uniform(0.7, min(3.0, depth / 3))
    x = rng.uniform(-w + inset, max(-w + inset, w - inset - size_x))
    y = rng.uniform(inset, max(inset, depth - inset - size_y))
    item = box(x, y, x + size_x, y + size_y)
    kind = rng.random()
    if kind < 0.3:
        plan.add(item, colour=mixed(plan.colour, (88, 84, 80), rng.uniform(0.1, 0.5)))
    elif kind < 0.75:
        tone: Colour = rng.choice([(200, 200, 198), (170, 170, 170), (110, 112, 116), (150, 140, 130)])
        plan.add(item, colour=tone)
        plan.solids.append((item, height + rng.uniform(0.8, 2.4)))
    elif kind < 0.9:
        ring = [(x + 0.8 * math.cos(a), y + 0.8 * math.sin(a)) for a in np.linspace(0, math.tau, 9)[:-1]]
        plan.add(ring, colour=rng.choice([(40, 42, 46), (60, 110, 170), (225, 225, 225)]))
        plan.solids.append((ring, height + 1.6))
    else:
        plan.add(item, colour=(44, 52, 78))


def hall(rng: random.Random, colour: Colour, width: float, depth: float) -> Plan:
    """A large industrial or market building: low metal gables in bays, or a flat roof with skylights and units."""
    height = rng.uniform(5.5, 11)
    if rng.random() < 0.45:
        return shed(rng, colour, width, depth, height)
    plan = flat(rng, colour, width, depth, height, rng.uniform(0.1, 0.55))
    if rng.random() < 0.5:
        rows, columns = max(1, int(depth / rng.uniform(7, 12))), max(1, int(width / rng.uniform(7, 14)))
        tone = mixed(colour, (240, 244, 246), 0.6) if sum(colour) < 560 else mixed(colour, (120, 126, 130), 0.5)
        for row in range(rows):
            for column in range(columns):
                x, y = -width / 2 + (column + 0.5) * width / columns, (row + 0.5) * depth / rows
                plan.add(box(x - 0.6, y - 1.2, x + 0.6, y + 1.2), colour=tone)
    if rng.random() < 0.35:
        w, out = width * rng.uniform(0.12, 0.3), depth * rng.uniform(0.1, 0.25)
        x0 = rng.uniform(-width / 2, width / 2 - w)
        annex = box(x0, -out, x0 + w, 0.0)
        plan.body(annex, height * 0.6)
        plan.add(annex, colour=jittered(rng, colour, 0.15, 0.04))
    return plan


def round_tank(rng: random.Random, radius: float) -> Plan:
    """A round tank or silo."""
    plan = Plan(rng, rng.choice([(214, 214, 208), (180, 182, 184), (150, 120, 100)]), 0.2)
    angles: Doubles = np.linspace(0, math.tau, 25)[:-1]
    ring = [(radius * math.cos(a), radius + radius * math.sin(a)) for a in angles]
    plan.body(ring, rng.uniform(4, 10))
    tilt = math.sin(0.18)
    for i in range(24):
        a = float(angles[i]) + math.tau / 48
        normal = (tilt * math.cos(a), tilt * math.sin(a), math.cos(0.18))
        plan.planes.append(([ring[i], ring[(i + 1) % 24], (0.0, radius)], plan.colour, normal))
    return plan


def tower(rng: random.Random, colour: Colour, width: float, depth: float, height: float) -> Plan:
    """A high building: a flat roof, perhaps in the form of a cross, with a machine room."""
    plan = flat(rng, colour, width, depth, height, rng.uniform(0.3, 1.2))
    if rng.random() < 0.6:
        cut, out = width * rng.uniform(0.15, 0.32), depth * rng.uniform(0.15, 0.4)
        wing = box(-cut, -out, cut, depth + out)
        plan.body(wing, height)
        plan.add(wing, colour=jittered(rng, colour, 0.06, 0.01))
    room = box(-width * 0.18, depth * 0.3, width * 0.18, depth * 0.7)
    plan.solids.append((room, height + rng.uniform(3, 6)))
    plan.add(room, colour=rng.choice([(150, 88, 72), (128, 120, 112), (84, 108, 150), colour]))
    return plan
