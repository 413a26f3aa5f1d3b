"""From pairs with hand-drawn labels to a tree of training tiles: `schanger-edge dataset make`."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.datasets.cut import LabelledScene, open_labelled, source_of
from schanger_edge.datasets.options import SHARES, CutOptions, MakeOptions
from schanger_edge.datasets.pair_list import PairRow, read_pair_list
from schanger_edge.datasets.splits import SPLITS, Block, Footprint, Ground, deal, repeated_ground, shared_ground
from schanger_edge.datasets.statistics import Moments, color_counts, moments, normalization_of
from schanger_edge.datasets.tree import DESCRIPTION, STATISTICS, TreeWriter
from schanger_edge.errors import DatasetError
from schanger_edge.geo.grid import Window
from schanger_edge.model.card import Normalization

BLOCK_TILES = (4, 2, 1)  # width of a block in tiles: the first that gives enough blocks
ENOUGH_BLOCKS = 10
SLACK = 1.0  # pixels of ground that two tiles may share: neighbours do by rounding
GSD_SPREAD = 1.5  # times; pairs that differ more are worth a warning
SHARED = "shared ground"

Progress = Callable[[int, int], None]
"""Called with tiles done and tiles in all."""


@dataclasses.dataclass(frozen=True)
class SplitCounts:
    """Of one split: its tiles, and the share of their pixels that changed."""

    tiles: int
    change: float


@dataclasses.dataclass(frozen=True)
class MadeDataset:
    """The result.

    Attributes:
        root: the tree.
        splits: train, val and test.
        dropped: number of tiles left out by reason: nodata, outside the area, shared ground.
        gsd: metres per pixel, the median of the tiles.
        block: side of the blocks that were dealt to splits, metres.
        warnings: what should be looked at, in sentences.
        normalization: colour statistics of train; None where it has no tile.
    """

    root: Path
    splits: dict[str, SplitCounts]
    dropped: dict[str, int]
    gsd: float
    block: float
    warnings: tuple[str, ...]
    normalization: Normalization | None


@dataclasses.dataclass(frozen=True)
class _Tile:
    """What is kept of a tile that was written."""

    name: str
    row: PairRow
    window: Window
    footprint: Footprint
    gsd: float
    changed: int
    valid: float
    colors: tuple[Moments, Moments]


def make_dataset(
    pairs: str | PathLike[str],
    root: str | PathLike[str],
    options: MakeOptions | None = None,
    *,
    progress: Progress | None = None,
    **keywords: Any,
) -> MadeDataset:
    """Cut labelled pairs into `ROOT/{train,val,test}/{A,B,label}/NAME.png`, with dataset.json and statistics.json.

    Tiles lie on the before image's grid and are read as `run` reads them. No ground is in two splits: a tile belongs
    to the square of a world-wide grid that holds its centre, squares are dealt to splits, and where tiles of two
    splits still overlap, test stays, val yields to it, and train to both. Within val and test no pixel of a pair comes
    twice; in train the border tiles that shift in do repeat some.

    Args:
        pairs: CSV table, see `pair_list`.
        root: the folder to make; it appears when all is complete.
        options: see `MakeOptions`.
        progress: see `Progress`.
        keywords: any of the options by name.

    Raises:
        DatasetError: the table or what it names is not usable; names the line.
        ProductError: ROOT exists or could not be written.
        SchangerError: an option is out of its range.
    """
    options = (options or MakeOptions()).replace(**keywords)
    shares = options.split.shares or SHARES
    table = Path(pairs)
    rows = read_pair_list(table, SPLITS)
    with TreeWriter(Path(root)) as writer:
        cut = _Cut(table, rows, options.cut, writer, progress)
        if not cut.tiles:
            raise DatasetError(
                f"{table} yields no tiles: {_in_words(cut.dropped)}; lower --min-valid, or check the images."
            )
        side = _default_block(cut, options.cut.tile) if options.split.block is None else options.split.block
        relative = dict(zip(SPLITS, (share / sum(shares) for share in shares), strict=True))
        splits = _split(cut, side, relative, options.split.seed)
        for one in cut.tiles:
            if one.name in splits:
                writer.place(one.name, splits[one.name])
        made = _report(cut, splits, side, writer.root)
        taken = {**options.values(), "block": side, "shares": list(shares)}
        writer.write_json(DESCRIPTION, _description(made, cut, splits, taken))
        if made.normalization is not None:
            writer.write_json(STATISTICS, dataclasses.asdict(made.normalization))
        writer.publish()
    return made


class _Cut:
    """All tiles of all pairs, written but not yet in a split.

    Every pair is opened once before the first is cut, so that a mistake in the last row is reported at once.
    """

    def __init__(
        self, table: Path, rows: list[PairRow], options: CutOptions, writer: TreeWriter, progress: Progress | None
    ) -> None:
        self.tiles: list[_Tile] = []
        self.dropped: collections.Counter[str] = collections.Counter()
        self.warnings: list[str] = []
        self.sources: list[dict[str, Any]] = []
        self.gsds: list[float] = []
        self._writer, self._progress, self._done, self._total = writer, progress, 0, 0
        for row in rows:
            with open_labelled(table, row, options) as scene:
                self._total += len(scene.windows())
                self.gsds.append(scene.gsd)
                if scene.label.warning:
                    self.warnings.append(f"line {row.line}: {scene.label.warning}")
        for row in rows:
            with open_labelled(table, row, options) as scene:
                self.sources.append(source_of(row, scene))
                told = [*scene.pair.warnings, *scene.pair.collar_warnings()]
                self.warnings += [f"line {row.line}: {warning}" for warning in told]
                self._cut(row, scene)

    def _cut(self, row: PairRow, scene: LabelledScene) -> None:
        ground, first, left = Ground(scene.pair.grid), len(self.tiles), collections.Counter[str]()
        for tile in scene.cut():
            if isinstance(tile, str):
                left[tile] += 1
            else:
                window = tile.window
                name = f"{row.name}_{window.row_off:06d}_{window.col_off:06d}"
                self._writer.write_tile(name, tile.before, tile.after, tile.label)
                colors = moments(color_counts(tile.before)), moments(color_counts(tile.after))
                changed, place = int(tile.label.sum()), ground.footprint(window)
                self.tiles.append(_Tile(name, row, window, place, scene.gsd, changed, tile.valid, colors))
            self._done += 1
            if self._progress:
                self._progress(self._done, self._total)
        self.dropped += left
        if len(self.tiles) == first:
            self.warnings.append(f"line {row.line}: {row.name} yields no tiles ({_in_words(left)}).")


def _default_block(cut: _Cut, tile: int) -> float:
    """Metres; see `make_dataset`."""
    free = [one.footprint for one in cut.tiles if one.row.split is None]
    sides = [tiles * tile * max(cut.gsds) for tiles in BLOCK_TILES]
    return next((side for side in sides if len({one.block(side) for one in free}) >= ENOUGH_BLOCKS), sides[-1])


def _split(cut: _Cut, side: float, shares: dict[str, float], seed: int) -> dict[str, str]:
    """Name -> split of the tiles that stay."""
    tiles = cut.tiles
    free = collections.Counter(one.footprint.block(side) for one in tiles if one.row.split is None)
    of_block: dict[Block, str] = deal(free, shares, seed)
    wanted = sum(share > 0 for share in shares.values())
    if free and len(free) < wanted:
        cut.warnings.append(
            f"the tiles cover only {len(free)} squares of {side:g} m, too few for {wanted} splits: use a smaller "
            "--block, more ground, or a split column."
        )
    splits = [one.row.split or of_block[one.footprint.block(side)] for one in tiles]
    outlines, slack = [one.footprint.outline for one in tiles], [SLACK * one.gsd**2 for one in tiles]
    groups = [None if split == "train" else (split, one.row.name) for split, one in zip(splits, tiles, strict=True)]
    repeated = repeated_ground(outlines, groups, slack)
    once = ["" if again else split for split, again in zip(splits, repeated, strict=True)]
    dropped = repeated | shared_ground(outlines, once, slack)
    cut.dropped[SHARED] += int(dropped.sum())
    kept = zip(tiles, splits, dropped, strict=True)
    return {one.name: split for one, split, gone in kept if not gone}


def _report(cut: _Cut, splits: dict[str, str], side: float, root: Path) -> MadeDataset:
    """Counts, colour statistics of train, and warnings."""
    kept = [one for one in cut.tiles if one.name in splits]
    counts, warnings = {}, [*cut.warnings, *_scale_warnings(cut.gsds)]
    for split in SPLITS:
        own = [one for one in kept if splits[one.name] == split]
        pixels = sum(one.window.width * one.window.height for one in own)
        changed = sum(one.changed for one in own)
        counts[split] = SplitCounts(len(own), changed / pixels if pixels else 0.0)
        if not own:
            warnings.append(f"{split} has no tiles.")
        elif not changed:
            warnings.append(f"{split} has no change: it can be used neither for training nor for scoring.")
        elif changed == pixels:
            warnings.append(f"{split} is change everywhere: check the labels, in which any value but 0 is change.")
    colors = [one.colors for one in kept if splits[one.name] == "train"]
    normalization = normalization_of(colors) if colors else None
    gsd = statistics.median(one.gsd for one in kept)
    return MadeDataset(root, counts, dict(cut.dropped), gsd, side, tuple(warnings), normalization)


def _scale_warnings(gsds: list[float]) -> list[str]:
    if max(gsds) <= GSD_SPREAD * min(gsds):
        return []
    return [
        f"the pairs range from {min(gsds):.2g} to {max(gsds):.2g} m per pixel: --gsd {statistics.median(gsds):.2g} "
        "resamples them to one scale."
    ]


def _description(made: MadeDataset, cut: _Cut, splits: dict[str, str], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "schanger_edge": __version__,
        "name": made.root.name,
        "gsd": made.gsd,
        "options": options,
        "splits": {split: dataclasses.asdict(counts) for split, counts in made.splits.items()},
        "dropped": made.dropped,
        "warnings": list(made.warnings),
        "sources": cut.sources,
        "tiles": [
            {
                "name": one.name,
                "split": splits[one.name],
                "source": one.row.name,
                "window": dataclasses.astuple(one.window),
                "changed": one.changed,
                "valid": one.valid,
            }
            for one in cut.tiles
            if one.name in splits
        ],
    }


def _in_words(dropped: collections.Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "none there"
