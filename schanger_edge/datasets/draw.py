"""Draws tiles from pairs of any kind by a seed: with change and without, whole, none twice."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.tile_pool import Item, TilePool, WholeTile, windows_of
from schanger_edge.errors import DatasetError
from schanger_edge.geo.grid import Window

CHANGED = 0.005  # share of changed pixels from which a tile counts as one with change
LOOKED_AT = 8  # tiles looked at for each one asked for, before those of the rarer kind are given up
FLAT = 2.0  # standard deviation of grey values below which a date shows nothing
NOISE = 0.2  # correlation of neighbouring pixels, which is near 1 in images and near 0 in noise

Change = Callable[[WholeTile], NDArray[np.bool_]]
"""What counts as change (T, T) on a tile without a label: a model's own map."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a tile lies: the number of its pair, and the window."""

    item: int
    window: Window
    changed: bool


class TileSet:
    """Drawn tiles, read again each time they are iterated over, pair by pair; it holds no pixels.

    Attributes:
        places: sorted by pair and window.
        warnings: what the files leave in doubt that were opened while tiles were drawn, in sentences.
    """

    def __init__(self, items: Sequence[Item], places: Sequence[Place], warnings: Sequence[str] = ()) -> None:
        self._items, self.warnings = list(items), tuple(warnings)
        self.places = sorted(places, key=lambda place: (place.item, place.window.row_off, place.window.col_off))

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[WholeTile]:
        with TilePool(self._items) as pool:
            for place in self.places:
                tile = pool.item(place.item).read(place.window)
                if tile is None:
                    raise DatasetError(f"{self._items[place.item]} changed while being read: start again.")
                yield tile

    def every(self, step: int) -> TileSet:
        """Every n-th tile."""
        return TileSet(self._items, self.places[::step], self.warnings)

    def names(self) -> list[str]:
        """File and offset (column, row) of each tile."""
        return [f"{self._items[p.item]}@{p.window.col_off},{p.window.row_off}" for p in self.places]

    def label_rules(self) -> list[str]:
        """Which values of the labels count, in words."""
        return sorted({self._items[place.item].label_rule for place in self.places} - {""})

    def sha256(self) -> str:
        """Hash over the pixels of both dates, in order: the same for the same tiles wherever their files lie."""
        digest = hashlib.sha256()
        for tile in self:
            digest.update(tile.before.tobytes())
            digest.update(tile.after.tobytes())
        return digest.hexdigest()

    @property
    def changed(self) -> int:
        """Tiles with change."""
        return sum(place.changed for place in self.places)


def draw_tiles(
    sources: Sequence[Sequence[Item]],
    tile: int,
    counts: Sequence[int],
    seed: int,
    change: Change,
    progress: Callable[[int, int], None] | None = None,
) -> list[TileSet]:
    """Draw sets of tiles that share none, half of each with change where there is enough.

    Sources take turns, and so do the pairs of each source. Tiles with a pixel without data, and such that show
    nothing, are left out.

    Args:
        sources: pairs of each source.
        tile: T.
        counts: tiles of each set. Where there are not enough, each gets its share.
        seed: what every draw follows from.
        change: the change map of a tile that has no label.
        progress: called with (tiles found, tiles wanted).

    Raises:
        DatasetError: no tile is left, or what is there is noise.
    """
    items = [item for source in sources for item in source]
    total = sum(counts)
    kinds: dict[bool, list[Place]] = {True: [], False: []}
    seen = flat = noisy = 0
    with TilePool(items) as pool:
        for number, window in _candidates(pool, sources, tile, np.random.default_rng(seed)):
            pixels = pool.item(number).read(window)
            if pixels is None:
                continue
            seen += 1
            if _flat(pixels):
                flat += 1
                continue
            noisy += _noisy(pixels)
            changed = bool((change(pixels) if pixels.label is None else pixels.label).mean() >= CHANGED)
            kinds[changed].append(Place(number, window, changed))
            found = sum(min(len(kind), -(-total // 2)) for kind in kinds.values())
            if progress:
                progress(min(found, total), total)
            if found >= total or seen >= LOOKED_AT * total:
                break
    _check(seen, flat, noisy, sources, tile)
    return _dealt(items, kinds, counts, pool.doubts.sentences)


def _candidates(
    pool: TilePool, sources: Sequence[Sequence[Item]], tile: int, rng: np.random.Generator
) -> Iterator[tuple[int, Window]]:
    """(pair, window), each once: sources by turns, in each its pairs by turns, in each its windows in random order."""
    firsts = np.cumsum([0, *map(len, sources)])
    turns = [list(rng.permutation(len(source)) + first) for source, first in zip(sources, firsts, strict=False)]
    windows: dict[int, list[Window]] = {}
    while any(turns):
        for queue in turns:
            if not queue:
                continue
            number = int(queue.pop(0))
            if number not in windows:
                own = windows_of(pool.item(number), tile)
                windows[number] = [own[i] for i in rng.permutation(len(own))]
            if windows[number]:
                yield number, windows[number].pop()
            if windows[number]:
                queue.append(number)


def _dealt(
    items: Sequence[Item], kinds: dict[bool, list[Place]], counts: Sequence[int], warnings: Sequence[str]
) -> list[TileSet]:
    """Each set gets its share of both kinds; what one kind lacks, the other fills."""
    total = sum(counts)
    with_change = min(len(kinds[True]), max(total // 2, total - len(kinds[False])))
    without = min(len(kinds[False]), total - with_change)
    chosen = {True: kinds[True][:with_change], False: kinds[False][:without]}
    sets: list[list[Place]] = [[] for _ in counts]
    edges = np.cumsum([0, *counts]) / total
    for places in chosen.values():
        cuts = np.rint(edges * len(places)).astype(int)
        for number, own in enumerate(sets):
            own.extend(places[cuts[number] : cuts[number + 1]])
    return [TileSet(items, own, warnings) for own in sets]


def _check(seen: int, flat: int, noisy: int, sources: Sequence[Sequence[Item]], tile: int) -> None:
    names = ", ".join(str(source[0]) for source in sources)
    if not seen:
        raise DatasetError(
            f"{names}: no tile of {tile} x {tile} pixels has complete data in both dates: use larger or other images."
        )
    if flat == seen:
        raise DatasetError(f"{names}: all {seen} tiles have a single colour: use real images.")
    if noisy > (seen - flat) / 2:
        raise DatasetError(
            f"{names}: {noisy} of {seen - flat} tiles are noise, not images: a model calibrated on noise fails on "
            "images; use real ones."
        )


def _greys(tile: WholeTile) -> list[NDArray[np.float32]]:
    return [image.mean(0, dtype=np.float32) for image in (tile.before, tile.after)]


def _flat(tile: WholeTile) -> bool:
    return any(float(grey.std()) < FLAT for grey in _greys(tile))


def _noisy(tile: WholeTile) -> bool:
    """Whether neighbouring pixels of a date have nothing to do with each other."""
    neighbours = ((grey[:, 1:].ravel(), grey[:, :-1].ravel()) for grey in _greys(tile))
    return any(float(np.corrcoef(*pair)[0, 1]) < NOISE for pair in neighbours)
