"""Where tiles lie on the ground: blocks of a world-wide grid, splits dealt block by block, ground that splits share.

Pure arithmetic on values, no files. All of it happens in one equal-area plane for the whole world, so that pairs in
different CRSs agree on what is the same ground.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SceneError
from schanger_edge.geo.crs import transformer
from schanger_edge.geo.grid import Grid, Window

SPLITS = ("train", "val", "test")
PLANE = "EPSG:6933"
WORLD_WIDTH = 2 * 17_367_530.445  # metres of the plane from antimeridian to antimeridian
ORDERS = 32  # in which the blocks are dealt on trial
EDGE_POINTS = 8  # parts of a tile's side that are taken as straight in the plane

Block = tuple[int, int]
"""Column and row of a square of the world-wide grid."""


@dataclasses.dataclass(frozen=True)
class Footprint:
    """What a tile covers of the plane, in metres: its centre and its outline (a shapely geometry)."""

    center: tuple[float, float]
    outline: Any

    def block(self, side: float) -> Block:
        """The square of `side` metres that holds the centre."""
        x, y = self.center
        return int(np.floor(x / side)), int(np.floor(y / side))


class Ground:
    """Brings windows of one georeferenced grid onto the plane; SceneError where its CRS has no place on Earth."""

    def __init__(self, grid: Grid) -> None:
        from pyproj.exceptions import ProjError

        try:
            self._to_plane = transformer(grid.crs, PLANE)
        except ProjError as error:
            raise SceneError(
                f"the CRS of the grid has no known location on Earth ({error}): use one such as a UTM zone."
            ) from error
        self._grid = grid

    def footprint(self, window: Window) -> Footprint:
        """What a window covers; SceneError where it lies outside the area of its CRS."""
        import shapely
        import shapely.affinity

        x, y = self._to_plane.transform(*self._grid.xy(*_outline(window)))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise SceneError("a tile lies outside the area of its CRS: check the georeference of the before image.")
        middle, *ring_x = x
        ring = middle + (np.array(ring_x) - middle + WORLD_WIDTH / 2) % WORLD_WIDTH - WORLD_WIDTH / 2
        outline = shapely.polygons(np.column_stack((ring, y[1:])))
        if np.abs(ring).max() > WORLD_WIDTH / 2:  # across the antimeridian: once at either end of the world
            other = shapely.affinity.translate(outline, -np.sign(middle) * WORLD_WIDTH)
            outline = shapely.multipolygons([outline, other])
        return Footprint((float(middle), float(y[0])), outline)


def _outline(window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(columns, rows) of a window's centre, then of points around it."""
    steps = np.arange(EDGE_POINTS) / EDGE_POINTS
    none = np.zeros(EDGE_POINTS)
    across = np.concatenate(([0.5], steps, none + 1, 1 - steps, none))
    down = np.concatenate(([0.5], none, steps, none + 1, 1 - steps))
    return window.col_off + across * window.width, window.row_off + down * window.height


def deal(tiles: Mapping[Block, int], shares: Mapping[str, float], seed: int) -> dict[Block, str]:
    """Which split each block goes to.

    In an order that follows from the seed, each block goes to the split that lacks most tiles of its quota; every
    split with a share gets a block, as long as there are blocks. Of several such orders the one that meets the quotas
    best is taken: with a handful of blocks of unequal size the first would often give train the smallest.

    Args:
        tiles: number of tiles of each block.
        shares: share of the tiles each split should get; they sum up to 1.
        seed: decides the orders.
    """
    blocks, rng = sorted(tiles), np.random.default_rng(seed)
    quotas = {split: share * sum(tiles.values()) for split, share in shares.items() if share > 0}
    best: dict[Block, str] = {}
    least = np.inf
    for _ in range(ORDERS):
        dealt, lacking = _dealt([blocks[index] for index in rng.permutation(len(blocks))], tiles, quotas)
        missed = sum(map(abs, lacking.values()))
        if missed < least - 1e-9:
            best, least = dealt, missed
    return best


def _dealt(
    order: Sequence[Block], tiles: Mapping[Block, int], quotas: Mapping[str, float]
) -> tuple[dict[Block, str], dict[str, float]]:
    """Block -> split, and what each split lacks of its quota in the end."""
    lacking, empty, dealt = dict(quotas), list(quotas), {}
    for left, block in zip(range(len(order), 0, -1), order, strict=True):
        split = max(empty if left <= len(empty) else lacking, key=lambda name: lacking[name])
        lacking[split] -= tiles[block]
        empty = [name for name in empty if name != split]
        dealt[block] = split
    return dealt, lacking


def shared_ground(outlines: Sequence[Any], splits: Sequence[str], slack: Sequence[float]) -> NDArray[np.bool_]:
    """(n,) True for tiles to drop, so that no ground is in two splits: test stays, val yields to it, train to both.

    The slack is square metres of each of the n footprints that may be shared: rounding alone makes neighbours overlap a
    little.
    """
    names, allowed = np.array(splits), np.array(slack, np.float64)
    dropped = np.zeros(names.size, np.bool_)
    for weaker, stronger in (("val", ("test",)), ("train", ("val", "test"))):
        weak = np.flatnonzero(names == weaker)
        strong = np.flatnonzero(np.isin(names, stronger) & ~dropped)
        first, _ = _overlaps(outlines, weak, strong, allowed)
        dropped[first] = True
    return dropped


def repeated_ground(
    outlines: Sequence[Any], groups: Sequence[Hashable | None], slack: Sequence[float]
) -> NDArray[np.bool_]:
    """(n,) True for tiles to drop, so that no ground comes twice in one group; tiles of group None all stay.

    Of two of the n footprints that overlap the earlier one stays; for the slack see `shared_ground`.
    """
    dropped = np.zeros(len(groups), np.bool_)
    grouped = np.array([index for index, group in enumerate(groups) if group is not None], np.int64)
    first, second = _overlaps(outlines, grouped, grouped, np.array(slack, np.float64))
    for later, earlier in sorted(zip(first.tolist(), second.tolist(), strict=True)):
        if earlier < later and groups[earlier] == groups[later] and not dropped[earlier]:
            dropped[later] = True
    return dropped


def _overlaps(
    outlines: Sequence[Any], first: NDArray[np.int64], second: NDArray[np.int64], slack: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (one of `first`, one of `second`) that share more ground than the slack of the first."""
    import shapely

    if not first.size or not second.size:
        return first[:0], second[:0]
    shapes = np.empty(len(outlines), object)
    shapes[:] = outlines
    one, other = shapely.STRtree(shapes[second]).query(shapes[first], predicate="intersects")
    one, other = first[one], second[other]
    one, other = one[one != other], other[one != other]
    much = shapely.area(shapely.intersection(shapes[one], shapes[other])) > slack[one]
    return one[much], other[much]
