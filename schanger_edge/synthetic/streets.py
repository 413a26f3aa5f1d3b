"""The street plan: a bent grid of blocks over the endless plane, and which block a ground position belongs to."""

from __future__ import annotations

import math

import numpy as np

from schanger_edge.synthetic.noise import Doubles, Ints, key, lattice, stream
from schanger_edge.synthetic.shapes import Frame
from schanger_edge.synthetic.style import SceneStyle

_JITTER = 0.3


class Streets:
    """Maps street coordinates (u across columns of blocks, v along them, metres) to the ground (x, y) and back.

    Column lines are long streets; each column has its own cross streets, so most junctions are T-shaped.
    """

    def __init__(self, style: SceneStyle) -> None:
        rng = stream(style.seed, "streets")
        self.across, self.along = style.block
        self._column_key, self._row_key = key(style.seed, "column"), key(style.seed, "row")
        self._shift_key = key(style.seed, "shift")
        self._cos, self._sin = math.cos(style.angle), math.sin(style.angle)
        waves = []
        for _ in range(3):
            length, heading = rng.uniform(260, 620), rng.uniform(0, math.tau)
            reach = style.bend * length / math.tau / 2.2
            k = math.tau / length
            waves.append((k * math.cos(heading), k * math.sin(heading), rng.uniform(0, math.tau), reach))
        self._waves = waves
        turn = rng.uniform(0, math.tau)
        self._headings = [(math.cos(turn + 2 * i), math.sin(turn + 2 * i)) for i in range(3)]
        self.reach = sum(wave[3] for wave in waves)

    def _bend(self, u: Doubles, v: Doubles) -> tuple[Doubles, Doubles]:
        du, dv = np.zeros_like(u), np.zeros_like(v)
        for (ku, kv, phase, reach), (hu, hv) in zip(self._waves, self._headings, strict=True):
            value = np.sin(ku * u + kv * v + phase)
            du += reach * hu * value
            dv += reach * hv * value
        return du, dv

    def ground(self, points: Doubles) -> Doubles:
        """Ground positions (N, 2) of street coordinates (N, 2)."""
        u, v = points[:, 0], points[:, 1]
        du, dv = self._bend(u, v)
        u, v = u + du, v + dv
        return np.stack([u * self._cos - v * self._sin, u * self._sin + v * self._cos], axis=1)

    def street(self, points: Doubles) -> Doubles:
        """Street coordinates of ground positions, by a few fixed-point steps."""
        x, y = points[:, 0], points[:, 1]
        target_u, target_v = x * self._cos + y * self._sin, y * self._cos - x * self._sin
        u, v = target_u, target_v
        for _ in range(6 if self.reach else 1):
            du, dv = self._bend(u, v)
            u, v = target_u - du, target_v - dv
        return np.stack([u, v], axis=1)

    def column_line(self, column: Ints) -> Doubles:
        """Coordinate u of the street left of a column."""
        offset = lattice(self._column_key, column, np.zeros_like(column)) - 0.5
        return np.asarray(self.across * (column + _JITTER * offset), np.float64)

    def row_line(self, column: Ints, row: Ints) -> Doubles:
        """Coordinate v of the street above a row of a column."""
        offset = lattice(self._row_key, column, row) - 0.5
        shift = lattice(self._shift_key, column, np.zeros_like(column))
        return np.asarray(self.along * (row + _JITTER * offset + shift), np.float64)

    def extent(self, column: int, row: int) -> tuple[float, float, float, float]:
        """(u0, v0, u1, v1) of a block between the middles of its streets."""
        columns, rows = np.array([column, column + 1]), np.array([row, row + 1])
        u0, u1 = self.column_line(columns)
        v0, v1 = self.row_line(np.array([column, column]), rows)
        return float(u0), float(v0), float(u1), float(v1)

    def block_of(self, street: Doubles) -> tuple[Ints, Ints]:
        """(columns, rows) of the blocks that hold street coordinates."""
        u, v = street[:, 0], street[:, 1]
        column = np.floor(u / self.across).astype(np.int64)
        column -= self.column_line(column) > u
        column += self.column_line(column + 1) <= u
        shift = lattice(self._shift_key, column, np.zeros_like(column))
        row = np.floor(v / self.along - shift).astype(np.int64)
        row -= self.row_line(column, row) > v
        row += self.row_line(column, row + 1) <= v
        return column, row

    def blocks_near(self, bounds: tuple[float, float, float, float], margin: float) -> list[tuple[int, int]]:
        """Blocks whose ground comes within `margin` of a rectangle (left, top, right, bottom), in canonical order."""
        left, top, right, bottom = bounds
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
        u = corners[:, 0] * self._cos + corners[:, 1] * self._sin
        v = corners[:, 1] * self._cos - corners[:, 0] * self._sin
        reach = self.reach + margin
        columns = range(
            math.floor((u.min() - reach) / self.across) - 1, math.floor((u.max() + reach) / self.across) + 2
        )
        rows = range(math.floor((v.min() - reach) / self.along) - 2, math.floor((v.max() + reach) / self.along) + 2)
        cells = np.array([(column, row) for column in columns for row in rows])
        low, high = self._ground_bounds(cells[:, 0], cells[:, 1])
        slack = margin + 0.04 * (self.across + self.along) * (self.reach > 0)
        near = (low[:, 0] < right + slack) & (high[:, 0] > left - slack)
        near &= (low[:, 1] < bottom + slack) & (high[:, 1] > top - slack)
        return [(int(column), int(row)) for column, row in cells[near]]

    def _ground_bounds(self, columns: Ints, rows: Ints) -> tuple[Doubles, Doubles]:
        us = np.stack([self.column_line(columns), self.column_line(columns + 1)], axis=1)
        vs = np.stack([self.row_line(columns, rows), self.row_line(columns, rows + 1)], axis=1)
        steps = ((0, 0), (0.5, 0), (1, 0), (1, 0.5), (1, 1), (0.5, 1), (0, 1), (0, 0.5))
        points = np.stack([np.stack([us @ (1 - s, s), vs @ (1 - t, t)], axis=1) for s, t in steps], axis=1)
        ground = self.ground(points.reshape(-1, 2)).reshape(points.shape)
        return ground.min(axis=1), ground.max(axis=1)

    def frame(self, u: float, v: float, side: int) -> tuple[Frame, float]:
        """A right-angled frame at (u, v): x along the column street, y towards `side` (+1: larger u); and the local
        stretch along the street (ground metres per metre of v)."""
        points = self.ground(np.array([(u, v), (u, v + 1.0), (u + 1.0, v)]))
        along, across = points[1] - points[0], points[2] - points[0]
        stretch = float(np.hypot(along[0], along[1]))
        ex = (float(along[0]) / stretch, float(along[1]) / stretch)
        ey = (-ex[1], ex[0])
        if (ey[0] * across[0] + ey[1] * across[1]) * side < 0:
            ey = (-ey[0], -ey[1])
        return Frame(float(points[0, 0]), float(points[0, 1]), ex, ey), stretch
