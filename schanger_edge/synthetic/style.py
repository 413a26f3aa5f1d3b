"""What one seed decides for a whole scene: climate, settlement, streets, and the look of each date."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from schanger_edge.synthetic.noise import stream

Colour = tuple[float, float, float]

BEFORE, AFTER, BOTH = 1, 2, 3

# Colours of ground (grass, dry grass, soil) and of leaves, as a sensor in full sun would see them.
_CLIMATES: dict[str, tuple[Colour, Colour, Colour, Colour]] = {
    "temperate": ((88, 104, 62), (142, 132, 96), (152, 130, 102), (58, 78, 44)),
    "dry": ((112, 112, 76), (164, 143, 108), (192, 168, 134), (62, 76, 50)),
    "tropical": ((92, 116, 62), (142, 130, 86), (176, 120, 84), (66, 94, 46)),
    "sandy": ((124, 122, 88), (184, 164, 130), (212, 190, 156), (76, 86, 58)),
    "grey": ((98, 102, 78), (134, 124, 110), (164, 152, 138), (60, 68, 52)),
}


def _colours(text: str) -> list[Colour]:
    """Of words such as `76706c`: red, green and blue."""
    return [(r, g, b) for r, g, b in map(bytes.fromhex, text.split())]


_ROOFS = {
    "shingle": _colours("76706c 625c58 887c70 585456 7a6254 968e86 686e76"),
    "tile": _colours("ac6248 985440 804c3e ba785c 6c686c 8c6454"),
    "metal": _colours("c4c8cc a8acb0 946c54 9e4238 527eb2 5c8064 785c4e"),
    "concrete": _colours("aca69c 928c84 bcb6ac 7c7670 a48a78 4678be"),
    "hall": _colours("dededa bec0c2 8c8e92 5e6064 788ca8 a89682 cec8ba"),
}
# Shares of built kinds and of natural kinds per kind of settlement.
_BUILT: dict[str, dict[str, float]] = {
    "suburb": {"houses": 0.86, "halls": 0.06, "slabs": 0.05, "park": 0.03},
    "village": {"village": 0.76, "town": 0.12, "houses": 0.06, "halls": 0.06},
    "town": {"town": 0.6, "village": 0.12, "slabs": 0.12, "halls": 0.12, "park": 0.04},
    "mixed": {"houses": 0.44, "slabs": 0.17, "halls": 0.2, "town": 0.1, "village": 0.03, "park": 0.06},
}
_NATURE: dict[str, dict[str, float]] = {
    "suburb": {"wood": 0.3, "scrub": 0.32, "meadow": 0.26, "field": 0.06, "bare": 0.06},
    "village": {"wood": 0.12, "scrub": 0.28, "meadow": 0.16, "field": 0.38, "bare": 0.06},
    "town": {"wood": 0.14, "scrub": 0.14, "meadow": 0.26, "field": 0.36, "bare": 0.1},
    "mixed": {"wood": 0.24, "scrub": 0.14, "meadow": 0.24, "field": 0.3, "bare": 0.08},
}


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
    """Everything that the seed decides for a whole scene: climate, settlement, streets and its two dates."""

    def __init__(self, seed: int) -> None:
        rng = stream(seed, "style")
        self.seed = seed
        settlement = rng.choices(["suburb", "village", "town", "mixed"], [0.42, 0.18, 0.16, 0.24])[0]
        climate = _CLIMATES[rng.choice(list(_CLIMATES))]
        south = rng.random() < 0.2
        self.roofs = _roof_pools(rng)
        self.built, self.nature = _reweighted(rng, _BUILT[settlement]), _reweighted(rng, _NATURE[settlement])
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
