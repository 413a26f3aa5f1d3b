"""Which buildings stand on which date, and what the ground looks like where one is not there."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from schanger_edge.synthetic.draft import Block, Content
from schanger_edge.synthetic.houses import Plan
from schanger_edge.synthetic.land import blob
from schanger_edge.synthetic.noise import stream
from schanger_edge.synthetic.shapes import FEATURE, PATCH, PAVED, Frame
from schanger_edge.synthetic.style import AFTER, BEFORE, BOTH, Colour, jittered


class Fate:
    """On which dates the buildings of a block stand, and how bare the ground is where they do not yet."""

    def __init__(self, block: Block, when: int, activity: float) -> None:
        self.when, self.stage, self.activity = when, block.kind.stage, activity
        dice = stream(block.style.seed, "palette", block.column // 3, block.row // 2)
        self.roofs = {kind: tuple(dice.sample(pool, min(len(pool), 3))) for kind, pool in block.style.roofs.items()}
        self.all_roofs = block.style.roofs

    def roll(self, rng: random.Random) -> int:
        """Dates on which one building stands."""
        chance = rng.random()
        if self.when == AFTER:
            return BOTH if chance < (0.0, 0.06, 0.3)[self.stage] else AFTER
        if self.when == BEFORE:
            return BEFORE if chance < 0.9 else BOTH
        if chance < 0.045 * self.activity:
            return AFTER
        return BEFORE if chance < 0.07 * self.activity else BOTH

    def replaced(self, rng: random.Random) -> bool:
        """Whether a standing building gives way to another one."""
        return rng.random() < 0.012 * self.activity

    def roof(self, rng: random.Random, kind: str) -> Colour:
        """A roof colour: mostly one of the neighbourhood's."""
        pool = self.roofs[kind] if rng.random() < 0.8 else self.all_roofs[kind]
        return jittered(rng, rng.choice(pool), 0.1, 0.025)


def stand(content: Content, frame: Frame, fate: Fate, make: Callable[[], Plan], when: int) -> None:
    """Put a building, or two after each other where it is replaced, and what is left on the other date."""
    rng = content.rng
    if when == BOTH and fate.replaced(rng):
        content.buildings.append(make().finish(frame, BEFORE))
        place = frame.moved(rng.uniform(-2, 2), rng.uniform(0, 2))
        content.buildings.append(make().finish(place, AFTER))
        return
    plan = make()
    if when != BOTH:
        _traces(content, frame, plan, fate, BOTH & ~when)
    content.buildings.append(plan.finish(frame, when))


def _traces(content: Content, frame: Frame, plan: Plan, fate: Fate, when: int) -> None:
    """The ground of a building that is not there: nothing, worked soil, a slab, or rubble."""
    rng, chance = content.rng, content.rng.random()
    outline = frame.place(plan.outline[0])
    centre = outline.mean(axis=0)
    untouched = 0.35 if when == AFTER else 0.9 if fate.when == AFTER and fate.stage == 0 else 0.65
    if chance < untouched:
        return
    if chance >= 0.95:
        content.fill(PAVED, (outline - centre) * rng.uniform(0.75, 0.98) + centre, jittered(rng, (186, 180, 168)), when)
        return
    radius = float(np.hypot(*(outline - centre).T).max())
    spot = blob(rng, float(centre[0]), float(centre[1]), radius * rng.uniform(0.9, 1.3), 0.4)
    content.ground(PATCH, spot, rng.uniform(0, 0.4), rng.uniform(0.4, 1.0), rng.uniform(0.95, 1.12), when)
    for _ in range(rng.choice([0, 8, 30]) if when == AFTER else 0):
        x, y = float(centre[0]) + rng.gauss(0, 4), float(centre[1]) + rng.gauss(0, 4)
        tone = rng.choice([(196, 188, 176), (120, 108, 96), (150, 96, 76), (90, 86, 82)])
        content.fill(FEATURE, blob(rng, x, y, rng.uniform(0.3, 0.9), 0.6, 5), tone, when)
