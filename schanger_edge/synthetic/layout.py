"""Which kind of land every block is on each date, its contents, and where trees may stand."""

from __future__ import annotations

import functools
import statistics

import numpy as np

from schanger_edge.synthetic import land, plots, yards
from schanger_edge.synthetic.draft import Block, Content, Kind
from schanger_edge.synthetic.noise import Doubles, Floats, key, smooth_at, smooth_one, stream, unit
from schanger_edge.synthetic.streets import Streets
from schanger_edge.synthetic.style import AFTER, BEFORE, BOTH, TREES, SceneStyle

Bounds = tuple[float, float, float, float]

RAGGED = ("wood", "scrub", "meadow", "bare")
_FILLED = {
    "village": plots.add_village,
    "town": plots.add_town,
    "halls": yards.add_halls,
    "slabs": yards.add_slabs,
    "towers": yards.add_towers,
}
BUILT = ("houses", "park", *_FILLED)


class Layout:
    """The plan of one scene over the endless plane."""

    def __init__(self, style: SceneStyle) -> None:
        self.style = style
        self.streets = Streets(style)
        self.kind = functools.lru_cache(maxsize=4096)(self._kind)
        self.block = functools.lru_cache(maxsize=96)(self._block)
        normal = statistics.NormalDist()
        self._grows_above = normal.inv_cdf(1 - style.growth)
        self._shrinks_below = normal.inv_cdf(0.025)

    def _kind(self, column: int, row: int) -> Kind:
        style, seed = self.style, self.style.seed
        u0, v0, u1, v1 = self.streets.extent(column, row)
        x, y = self.streets.ground(np.array([((u0 + u1) / 2, (v0 + v1) / 2)]))[0].tolist()
        town = 0.7 * smooth_one(key(seed, "town"), 520.0, x, y) + 0.55 * smooth_one(key(seed, "town2"), 210.0, x, y)
        growth = smooth_one(key(seed, "growth"), 300.0, x, y)
        area = (int(x // 330), int(y // 330))
        dice = stream(seed, "kind", column, row)
        shared = stream(seed, "area", *area)
        nature = self._pick(style.nature, (shared if dice.random() < 0.5 else dice).random())
        if town + style.urbanity < 0.1:
            later = "bare" if growth > 1.5 and dice.random() < 0.4 else nature
            return Kind(nature, later, 0)
        built = self._pick(style.built, (shared if dice.random() < 0.7 else dice).random())
        if growth > self._grows_above:
            stage = dice.choice([0, 0, 0, 1, 2, 2])
            return Kind("cleared" if stage == 1 else nature, built, stage)
        if growth < self._shrinks_below:
            return Kind(built, "cleared", 0)
        return Kind(built, built, 0)

    @staticmethod
    def _pick(shares: dict[str, float], chance: float) -> str:
        for name, share in shares.items():
            chance -= share
            if chance < 0:
                return name
        return next(iter(shares))

    def _block(self, column: int, row: int) -> Block:
        kind = self.kind(column, row)
        block = Block(column, row, kind, self.streets, self.style)
        if kind.after in BUILT:
            growing = kind.before not in BUILT
            when = AFTER if growing else BOTH
            if growing:
                self._fill_open(block, kind.before, BEFORE)
            self._fill_built(block, kind.after, when)
        elif kind.before in BUILT:
            self._fill_built(block, kind.before, BEFORE)
            land.add_bare(block, AFTER, block.rng.choice([0.0, 1.0]))
        else:
            self._fill_open(block, kind.before, BOTH)
            if kind.after != kind.before:
                land.add_bare(block, AFTER)
        return block

    def _fill_open(self, block: Block, kind: str, when: int) -> None:
        land.add_major_street(block)
        if kind == "field" and when == BOTH:
            land.add_field(block)
        elif kind in ("field", "meadow"):
            land.add_meadow(block)
        elif kind in ("bare", "cleared"):
            land.add_bare(block, when)

    def _fill_built(self, block: Block, kind: str, when: int) -> None:
        style, stage = self.style, block.kind.stage
        streets_when = BOTH if stage or when != AFTER else AFTER
        paved_when = BOTH if stage == 2 or when != AFTER else AFTER
        land.add_streets(block, streets_when, paved_when)
        area = unit(style.seed, "activity", block.column // 2, block.row // 2)
        activity = style.activity * (0.0 if area < 0.4 else 1.2 * area)
        if kind == "houses":
            plots.add_houses(block, when, paved_when, activity)
        elif kind == "park":
            land.add_park(block, when)
        else:
            _FILLED[kind](block, when, activity)

    def contents(self, bounds: Bounds) -> list[Content]:
        """Everything whose ground may touch a rectangle (left, top, right, bottom), in canonical order."""
        left, top, right, bottom = bounds
        found = []
        for column, row in self.streets.blocks_near(bounds, 10.0):
            for item in self.block(column, row).items:
                r = item.radius
                if left - r < item.x < right + r and top - r < item.y < bottom + r:
                    found.append(item.content)
        return found

    def trees_at(self, points: Doubles, when: int) -> Floats:
        """Chances (N, 2) of a large tree and of a shrub at ground positions (N, 2) on a date."""
        street = self.streets.street(points)
        column, row = self.streets.block_of(street)
        chances = self._block_chances(column, row, when)
        # Borders of woods wander: look the block up again at a place some metres off, unless it is built up.
        seed = self.style.seed
        x, y = points[:, 0], points[:, 1]
        shift = np.stack([smooth_at(key(seed, name), 26.0, x, y) for name in ("wander x", "wander y")], axis=1) * 7.0
        other = self._block_chances(*self.streets.block_of(street + shift), when)
        open_land = (chances[:, 2] > 0) & (other[:, 2] > 0)
        result = np.where(open_land[:, None], other[:, :2], chances[:, :2])
        clump = smooth_at(key(seed, "clump"), 24.0, x, y) + 0.7 * smooth_at(key(seed, "clump2"), 70.0, x, y)
        factor = np.where(open_land, np.clip(1.0 + 0.75 * clump, 0.05, 2.4), np.clip(1.0 + 0.35 * clump, 0.2, 2.0))
        return np.asarray(result * factor[:, None], np.float32)

    def _block_chances(
        self, column: np.typing.NDArray[np.int64], row: np.typing.NDArray[np.int64], when: int
    ) -> Floats:
        """(large, shrub, 1 where open land) for blocks given by arrays."""
        codes = column * 1_000_003 + row
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        table = np.zeros((len(first), 3), np.float32)
        for n, at in enumerate(first):
            kind = self.kind(int(column[at]), int(row[at]))
            name = kind.before if when == BEFORE else kind.after
            gain = 0.5 + 1.1 * unit(self.style.seed, "trees", int(column[at]), int(row[at]))
            large, shrub = TREES[name]
            open_land = name in RAGGED
            table[n] = (large * (gain if name != "wood" else 1.0), shrub * gain, float(open_land))
        return np.asarray(table[inverse.reshape(-1)], np.float32)
