"""What lies on the ground: streets with their marks, fields, meadows, bare soil, ponds, parks."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np

from schanger_edge.synthetic.draft import Block, Content
from schanger_edge.synthetic.noise import Doubles, key, stream, unit
from schanger_edge.synthetic.shapes import (
    FEATURE,
    GROUND,
    KERB,
    MARK,
    PARCEL,
    PATCH,
    PAVED,
    ROAD,
    TRACK,
    Frame,
    Shape,
    across,
    box,
    ribbon,
)
from schanger_edge.synthetic.style import AFTER, BEFORE, BOTH, CROPS, Colour, SceneStyle, jittered, mixed


def column_street(style: SceneStyle, column: int) -> tuple[float, bool, bool]:
    """(width in metres, major, paved) of the street left of a column of blocks."""
    dice = stream(style.seed, "column street", column)
    major = key(style.seed, "major", column) % 4 == 0
    if major:
        return dice.uniform(9.0, 15.0), True, style.paved or dice.random() < 0.6
    return (dice.uniform(6.5, 9.0) if style.paved else dice.uniform(3.5, 6.5)), False, style.paved


def row_street(style: SceneStyle, column: int, row: int) -> tuple[float, bool, bool]:
    """(width, major, paved) of the street above a block."""
    dice = stream(style.seed, "row street", column, row)
    return (dice.uniform(6.0, 8.0) if style.paved else dice.uniform(3.0, 5.5)), False, style.paved


def blob(rng: random.Random, x: float, y: float, radius: float, rough: float = 0.3, points: int = 14) -> Doubles:
    """An irregular round outline."""
    waves = [(rng.uniform(0, rough) / k, rng.uniform(0, math.tau), k) for k in (1, 2, 3, 5)]
    angles = np.linspace(0, math.tau, points + 1)[:-1]
    r = radius * (1 + sum(a * np.cos(k * angles + phase) for a, phase, k in waves))
    return np.stack([x + r * np.cos(angles), y + r * np.sin(angles)], axis=1)


def paint_street(content: Content, line: Doubles, width: float, major: bool, paved: bool, tone: int, when: int) -> None:
    """A street along a line of ground positions; `tone` is the street's own key."""
    rng = random.Random(tone)
    style = content.style
    if not paved:
        content.ground(TRACK, _ragged(rng, line, width), 0.1, rng.uniform(0.7, 1.0), rng.uniform(0.98, 1.12), when)
        if width > 3.5:
            content.ground(TRACK, ribbon(line, width * 0.2), 0.35, 0.45, 0.95, when)
        return
    asphalt = jittered(rng, style.asphalt, 0.16, 0.015)
    if rng.random() < 0.85:
        content.fill(KERB, ribbon(line, width + rng.uniform(0.8, 4.5)), mixed(asphalt, (206, 200, 188), 0.75), when)
    content.fill(ROAD, ribbon(line, width), asphalt, when)
    for side in (-0.25, 0.25):
        lane = line + across(line) * (width * side)
        content.fill(ROAD, ribbon(lane, width * 0.2), mixed(asphalt, (60, 60, 60), 0.05), when)
    if major or rng.random() < 0.15:
        _lane_marks(content, line, width, rng, when)


def _lengths(line: Doubles) -> Doubles:
    """Metres from the line's first point to each of its points."""
    return np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])


def _points(line: Doubles, at: Doubles, positions: Doubles) -> Doubles:
    """Points of a line (N, 2) at values of what `positions` (N) says of its own."""
    return np.stack([np.interp(at, positions, line[:, axis]) for axis in (0, 1)], axis=1)


def _ragged(rng: random.Random, line: Doubles, width: float) -> Doubles:
    n = max(len(line), 9)
    fine = _points(line, np.linspace(0, len(line) - 1, n), np.arange(len(line), dtype=np.float64))
    halves = [np.array([rng.uniform(0.38, 0.62) for _ in range(n)]) * width for _ in range(2)]
    side = across(fine)
    return np.concatenate([fine + side * halves[0][:, None], (fine - side * halves[1][:, None])[::-1]])


def _lane_marks(content: Content, line: Doubles, width: float, rng: random.Random, when: int) -> None:
    colour: Colour = rng.choice([(226, 224, 216), (214, 186, 96)])
    if rng.random() < 0.5:
        content.fill(MARK, ribbon(line, 0.3), colour, when)
    else:
        length = _lengths(line)
        for start in np.arange(2.0, length[-1] - 4, 9.0):
            dash = _points(line, np.array([start, start + 1.5, start + 3]), length)
            content.fill(MARK, ribbon(dash, 0.3), colour, when)
    if width > 9:
        for side in (-0.46, 0.46):
            content.fill(MARK, ribbon(line + across(line) * (width * side), 0.22), (214, 212, 204), when)


def add_streets(block: Block, when: int, paved_when: int) -> None:
    """The four streets around a block, on the dates `when`; before they are paved they are dirt."""
    style, content = block.style, Content(block.style, block.rng)
    lines = [_column_line(block, block.column, block.u0), _column_line(block, block.column + 1, block.u1)]
    for row, v in ((block.row, block.v0), (block.row + 1, block.v1)):
        width, major, paved = row_street(style, block.column, row)
        tone = key(style.seed, "tone", block.column, row)
        lines.append((block.line(block.u0, v, block.u1, v), width, major, paved, tone))
    for line, width, major, paved, tone in lines:
        if paved and when & ~paved_when:
            paint_street(content, line, width, major, False, tone, when & ~paved_when)
        now = when & paved_when if paved else when
        if now:
            paint_street(content, line, width, major, paved, tone, now)
            _street_cars(content, line, width, 0.012 if major else 0.006, now)
    block.whole(content)


def add_major_street(block: Block) -> None:
    """The long street on a block's left where it passes open land, or perhaps a track."""
    line, width, major, paved, tone = _column_line(block, block.column, block.u0)
    track = unit(block.style.seed, "track", block.column) < 0.3
    if not (major or track):
        return
    content = Content(block.style, block.rng)
    paint_street(content, line, width if major else 3.2, major, paved and major, tone, BOTH)
    if major:
        _street_cars(content, line, width, 0.01, BOTH)
    block.whole(content)


def _column_line(block: Block, column: int, u: float) -> tuple[Doubles, float, bool, bool, int]:
    """(line, width, major, paved, own key) of the street left of a column, at u along the block."""
    width, major, paved = column_street(block.style, column)
    line = block.line(u, block.v0 - width / 2, u, block.v1 + width / 2)
    return line, width, major, paved, key(block.style.seed, "tone", column)


def _street_cars(content: Content, line: Doubles, width: float, density: float, dates: int) -> None:
    rng, length = content.rng, _lengths(line)
    for when in (BEFORE, AFTER):
        if not when & dates:
            continue
        for _ in range(int(length[-1] * density * rng.uniform(0, 2) + rng.random())):
            at = np.array([0.0, 1.0]) + rng.uniform(3, max(4.0, float(length[-1]) - 4))
            a, b = _points(line, at, length)
            ex = (float(b[0] - a[0]), float(b[1] - a[1]))
            norm = math.hypot(*ex) or 1.0
            ex = (ex[0] / norm, ex[1] / norm)
            lane = rng.choice([-1, 1]) * width * rng.choice([0.23, 0.23, 0.4])
            content.car(Frame(float(a[0]), float(a[1]), ex, (-ex[1], ex[0])).moved(0, lane), when)


def add_field(block: Block) -> None:
    """Crop fields: strips with their own crop, rows and season."""
    rng, content = block.rng, Content(block.style, block.rng)
    count = rng.choice([1, 1, 2, 3, 4])
    cuts = sorted([0.0, 1.0] + [(i + 1 + rng.uniform(-0.2, 0.2)) / count for i in range(count - 1)])
    along = rng.random() < 0.5
    for first, last in itertools.pairwise(cuts):
        gap = rng.choice([0.0, 0.6, 1.5, 3.0])
        if along:
            u0, v0, u1, v1 = block.u0 + 4, block.v0 + first * block.length, block.u1 - 4, block.v0 + last * block.length
            points = block.quad(u0, v0 + gap, u1, v1 - gap)
        else:
            u0, v0, u1, v1 = block.u0 + first * block.width, block.v0 + 4, block.u0 + last * block.width, block.v1 - 4
            points = block.quad(u0 + gap, v0, u1 - gap, v1)
        frame, _ = block.streets.frame((u0 + u1) / 2, (v0 + v1) / 2, 1)
        colours = _crop_colours(block, rng)
        k = math.tau / rng.choice([1.6, 2.2, 3.0, 4.5, 7.0])
        axis = frame.ex if along else frame.ey
        strength = [rng.choice([0.0, 0.03, 0.06, 0.1, 0.16]) for _ in range(2)]
        rows = (k * axis[0], k * axis[1], strength[0], strength[1])
        content.shapes.append(Shape(PARCEL, points, *colours, rows=rows))
    block.whole(content)


def _crop_colours(block: Block, rng: random.Random) -> tuple[Colour, Colour]:
    same = rng.random() < 0.35
    pair = [rng.choice(CROPS) for _ in range(2)]
    if same:
        pair[1] = pair[0]
    result = []
    for date, crop in zip((BEFORE, AFTER), pair, strict=True):
        ground = block.style.date(date).ground(0.5, rng.uniform(0, 0.8))
        result.append(jittered(rng, mixed(mixed(crop[0], crop[1], rng.random()), ground, 0.5), 0.1, 0.03))
    return result[0], result[1]


def add_meadow(block: Block) -> None:
    """Grass of one tone per parcel, perhaps with a pond."""
    rng, content = block.rng, Content(block.style, block.rng)
    content.ground(GROUND, block.inner(0), rng.uniform(0.2, 0.9), 0.0, rng.uniform(0.9, 1.08))
    if rng.random() < 0.16:
        add_pond(block, content)
    block.whole(content)


def add_pond(block: Block, content: Content) -> None:
    """A pond, muddy or clear, with a bright or muddy rim."""
    rng = block.rng
    middle = block.streets.ground(np.array([((block.u0 + block.u1) / 2, (block.v0 + block.v1) / 2)]))[0]
    radius = rng.uniform(6, 0.3 * min(block.width, block.length))
    outline = blob(rng, float(middle[0]), float(middle[1]), radius, 0.5, 28)
    centre = outline.mean(axis=0)
    content.ground(PATCH, (outline - centre) * rng.uniform(1.05, 1.25) + centre, 0.3, 0.7)
    waters: list[Colour] = [(52, 62, 62), (104, 92, 70), (60, 80, 84), (74, 84, 66)]
    water = rng.choice(waters)
    for when in (BEFORE, AFTER):
        level = rng.uniform(0.9, 1.0)
        content.fill(FEATURE, (outline - centre) * level + centre, jittered(rng, water, 0.25, 0.06), when)


def add_bare(block: Block, when: int, cover: float = 1.0) -> None:
    """Cleared or worked ground: bright soil with patches, heaps and tracks."""
    rng, content = block.rng, Content(block.style, block.rng)
    if cover >= 1:
        content.ground(GROUND, block.inner(3), 0.2, rng.uniform(0.5, 0.95), 1.05, when)
    for _ in range(rng.randint(3, 9)):
        spot = (rng.uniform(block.u0 + 8, block.u1 - 8), rng.uniform(block.v0 + 8, block.v1 - 8))
        x, y = block.streets.ground(np.array([spot]))[0]
        outline = blob(rng, float(x), float(y), rng.uniform(3, 16), 0.5)
        content.ground(PATCH, outline, rng.uniform(0, 0.5), rng.uniform(0.3, 1.0), rng.uniform(0.8, 1.25), when)
    for _ in range(rng.randint(0, 3)):
        ends = [(rng.uniform(block.u0, block.u1), rng.uniform(block.v0, block.v1)) for _ in range(2)]
        content.ground(PATCH, _ragged(rng, block.line(*ends[0], *ends[1]), 3.5), 0.1, 1.0, 1.1, when)
    block.whole(content)


def add_park(block: Block, when: int) -> None:
    """Lawn with sports grounds and paths: large man-made shapes without a building."""
    rng, content = block.rng, Content(block.style, block.rng)
    content.ground(GROUND, block.inner(4), rng.uniform(0.6, 1.1), 0.0, 1.0, when)
    frame, _ = block.streets.frame((block.u0 + block.u1) / 2, (block.v0 + block.v1) / 2, 1)
    room = min(block.width, block.length) - 30
    if room > 45 and rng.random() < 0.6:
        _pitch(content, frame, min(100.0, block.length - 30) / 2, min(64.0, block.width - 30) / 2, when)
    else:
        for _ in range(rng.randint(1, 4)):
            place = frame.moved(rng.uniform(-0.3, 0.3) * block.length, rng.uniform(-0.3, 0.3) * block.width)
            _court(content, place, when)
    a, b = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
    path = block.line(block.u0, block.v0 + a * block.length, block.u1, block.v0 + b * block.length)
    content.fill(PAVED, ribbon(path, rng.uniform(1.5, 2.8)), jittered(rng, (190, 182, 166)), when)
    block.whole(content)


def _pitch(content: Content, frame: Frame, half_x: float, half_y: float, when: int) -> None:
    rng = content.rng
    content.ground(PARCEL, frame.box(-half_x, -half_y, half_x, half_y), 1.0, 0.0, 0.95, when)
    for i in range(-4, 4, 2):
        x = i * half_x / 4
        content.ground(PATCH, frame.box(x, -half_y, x + half_x / 4, half_y), 1.0, 0.0, 1.04, when)
    white: Colour = (214, 218, 206)
    edge = frame.place([*box(-half_x, -half_y, half_x, half_y), (-half_x, -half_y)])
    for a, b in itertools.pairwise(edge):
        content.fill(MARK, ribbon(np.array([a, (a + b) / 2, b]), 0.25), white, when)
    content.fill(MARK, ribbon(frame.place([(0, -half_y), (0, 0), (0, half_y)]), 0.25), white, when)
    for x in (-half_x, half_x):
        goal = frame.moved(x * 0.95, 0)
        content.ground(PATCH, blob(rng, goal.x, goal.y, 3.0), 0.3, 0.7, 1.0, when)


def _court(content: Content, frame: Frame, when: int) -> None:
    rng = content.rng
    surfaces: list[Colour] = [(86, 122, 92), (150, 92, 74), (84, 108, 140), (150, 150, 148)]
    colour = jittered(rng, rng.choice(surfaces))
    content.fill(PAVED, frame.box(-18, -9, 18, 9), mixed(colour, (120, 120, 110), 0.4), when)
    content.fill(FEATURE, frame.box(-12, -5.5, 12, 5.5), colour, when)
    for x in (-12.0, 0.0, 12.0):
        content.fill(FEATURE, frame.box(x - 0.12, -5.5, x + 0.12, 5.5), (220, 222, 218), when)
    for y in (-5.5, 5.5):
        content.fill(FEATURE, frame.box(-12, y - 0.12, 12, y + 0.12), (220, 222, 218), when)
