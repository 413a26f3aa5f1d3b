"""What one seed decides for a whole scene: climate, settlement, streets, and the look of each date."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

from schanger_edge.synthetic.noise import stream

Colour = tuple[float, float, float]
Lean = tuple[float, float]
"""Metres (right, down) by which a top lies off its ground per metre of height."""

BEFORE, AFTER, BOTH = 1, 2, 3


def _colours(text: str) -> tuple[Colour, ...]:
    """Of words such as `76706c`: red, green and blue."""
    return tuple((r, g, b) for r, g, b in map(bytes.fromhex, text.split()))


_TABLES = json.loads(Path(__file__).with_name("tables.json").read_text(encoding="utf-8"))
# Ground (grass, dry grass, soil) and leaves, as a sensor in full sun would see them.
_CLIMATES = {name: _colours(text) for name, text in _TABLES["climates"].items()}
_ROOFS = {name: _colours(text) for name, text in _TABLES["roofs"].items()}
CARS = _colours(_TABLES["cars"])
CROPS = [_colours(text) for text in _TABLES["crops"]]
"""Of each crop, two colours that a field lies between."""
BUILT: dict[str, dict[str, float]] = _TABLES["built"]
NATURE: dict[str, dict[str, float]] = _TABLES["nature"]
"""Shares of built kinds and of natural kinds per kind of settlement."""
TREES: dict[str, tuple[float, float]] = _TABLES["trees"]
"""Chances that a tree stands at a candidate place of a kind of land: (large trees, shrubs)."""


def mixed(a: Colour, b: Colour, share: float, gain: float = 1.0) -> Colour:
    """Colour between `a` and `b`, times `gain`."""
    red, green, blue = ((one * (1 - share) + other * share) * gain for one, other in zip(a, b, strict=True))
    return red, green, blue


def jittered(rng: random.Random, colour: Colour, bright: float = 0.12, hue: float = 0.04) -> Colour:
    """The colour made lighter or darker by up to `bright` and tinted by up to `hue`."""
    gain = 1 + rng.uniform(-bright, bright)
    red, green, blue = (min(250.0, one * gain * (1 + rng.uniform(-hue, hue))) for one in colour)
    return red, green, blue


class DateStyle:
    """One date: season, sun, air and sensor.

    Attributes:
        sun: unit vector on the ground towards the sun, in image axes (right, down).
        tan_sun: tangent of the sun's elevation.
        ambient: what is left of the light in shadow, per band.
        green: how green grass is, 0..1.
        leafless: share of trees without leaves.
        lean: how far off nadir the camera looks.
    """

    def __init__(self, rng: random.Random, climate: Sequence[Colour], south: bool) -> None:
        self.grass, self.dry, self.soil, leaves = (jittered(rng, colour, 0.08, 0.05) for colour in climate)
        elevation = math.radians(rng.uniform(36, 72))
        azimuth = math.radians(rng.gauss(165, 38) + (180 if south else 0))
        shade = rng.uniform(0.24, 0.5)
        self.haze = rng.random() ** 3 * 0.26
        level, warm = rng.uniform(0.6, 1.02), rng.gauss(0, 0.045)
        self.leaves = jittered(rng, leaves, 0.16, 0.05)
        self.green = rng.uniform(0.05, 1.0)
        self.leafless = rng.choice([0.0, 0.0, 0.0, 0.15, 0.5])
        self.sun, self.tan_sun = (math.sin(azimuth), -math.cos(azimuth)), math.tan(elevation)
        self.ambient = (shade * 0.9, shade * 0.97, shade * rng.uniform(1.05, 1.25))
        self.haze_colour = jittered(rng, (168, 176, 190), 0.1, 0.04)
        self.balance = (level * (1 + warm), level * (1 + rng.gauss(0, 0.015)), level * (1 - warm))
        self.gamma, self.contrast = rng.uniform(0.86, 1.18), rng.uniform(0.9, 1.35)
        self.saturation = rng.uniform(0.45, 1.08)
        self.blur = rng.choice([0.0, rng.uniform(0.3, 0.8)])
        self.sharpen = rng.choice([0.0, 0.0, rng.uniform(0.2, 0.9)])
        self.noise = rng.uniform(0.6, 3.2)
        self.jpeg = rng.choice([0, 0, 95, 90, 85, 78, 70])
        self.lean: Lean = (0.0, 0.0)

    def ground(self, green: float, soil: float, gain: float = 1.0) -> Colour:
        """Ground colour: `green` moves from dry to lush grass around this date's season, `soil` towards bare earth."""
        lush = min(1.0, max(0.0, green + self.green - 0.5))
        return mixed(mixed(self.dry, self.grass, lush), self.soil, min(1.0, max(0.0, soil)), gain)

    def lit(self, normal: tuple[float, float, float]) -> float:
        """Light on a plane with this normal, 1 for flat ground."""
        sun_z = self.tan_sun / math.hypot(1.0, self.tan_sun)
        flat = sun_z / self.tan_sun
        direct = (normal[0] * self.sun[0] + normal[1] * self.sun[1]) * flat + normal[2] * sun_z
        return 0.42 + 0.58 * max(0.0, direct) / sun_z


class SceneStyle:
    """Everything that the seed decides for a whole scene: climate, settlement, streets and its two dates.

    Args:
        seed: decides everything.
        city: high buildings, seen from another angle on each date; little is built.

    Attributes:
        tallest: metres that no building is higher than.
        longest_shadow: metres from what casts a shadow within which it is drawn.
    """

    def __init__(self, seed: int, city: bool = False) -> None:
        rng = stream(seed, "style")
        self.seed = seed
        settlement = rng.choices(["suburb", "village", "town", "mixed"], [0.42, 0.18, 0.16, 0.24])[0]
        climate = _CLIMATES[rng.choice(list(_CLIMATES))]
        south = rng.random() < 0.2
        self.roofs = _roof_pools(rng)
        self.built, self.nature = _reweighted(rng, BUILT[settlement]), _reweighted(rng, NATURE[settlement])
        self.urbanity, self.growth = rng.uniform(0.0, 0.95), rng.uniform(0.15, 0.6)
        self.activity, self.angle = rng.uniform(0.3, 1.2), rng.uniform(0, math.pi)
        self.block = (rng.uniform(62, 135), rng.uniform(90, 190))
        self.bend = rng.choice([0.0, 0.05, 0.2, 0.3, 0.36])
        self.lot_width = rng.uniform(7.5, 12) if settlement in ("village", "town") else rng.uniform(14.5, 24)
        self.tree_size, self.tree_tones = rng.uniform(0.75, 1.25), rng.uniform(0.08, 0.3)
        self.relief = rng.uniform(0.0, 1.0)
        self.terraces = rng.choice([0.0, 0.0, 0.05, 0.1])
        self.paved = settlement in ("suburb", "mixed") or (settlement == "town" and rng.random() < 0.7)
        self.pitch = math.radians(rng.uniform(18, 42))
        self.hipped = rng.choice([0.1, 0.5, 0.85])
        self.asphalt = jittered(rng, (138, 138, 138), 0.24, 0.02)
        self.dates = (DateStyle(rng, climate, south), DateStyle(rng, climate, south))
        self.tallest, self.longest_shadow = (80.0, 120.0) if city else (20.0, 34.0)
        if city:
            self._make_city(stream(seed, "city"))

    def _make_city(self, rng: random.Random) -> None:
        self.built, self.nature = _reweighted(rng, BUILT["city"]), _reweighted(rng, NATURE["town"])
        self.urbanity, self.growth = rng.uniform(0.7, 1.6), rng.uniform(0.02, 0.25)
        self.activity *= 0.6
        for date in self.dates:
            away, tangent = rng.uniform(0, math.tau), math.tan(math.radians(rng.uniform(0, 28)))
            date.lean = (tangent * math.cos(away), tangent * math.sin(away))

    def date(self, when: int) -> DateStyle:
        """Style of BEFORE or AFTER."""
        return self.dates[0 if when == BEFORE else 1]


def _reweighted(rng: random.Random, shares: dict[str, float]) -> dict[str, float]:
    weights = {name: share * rng.uniform(0.3, 1.7) for name, share in shares.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _roof_pools(rng: random.Random) -> dict[str, tuple[Colour, ...]]:
    return {
        kind: tuple(jittered(rng, colour, 0.15, 0.035) for colour in rng.sample(pool, rng.randint(3, len(pool))))
        for kind, pool in _ROOFS.items()
    }
