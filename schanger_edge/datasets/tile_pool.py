"""Whole tiles of pairs of any kind, for calibration and comparison: images, lists, datasets, rendered scenes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.doubts import Doubts
from schanger_edge.datasets.labels import open_label, rule_of
from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.pair_list import read_pair_list
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.datasets.sources import IMAGES, LIST, TILES, parse_source
from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene import open_pair
from schanger_edge.synthetic import SyntheticScene

SPLITS = ("train", "val")
SCENES, SCENE_SIDE, SCENE_GSD = 4, 1024, 0.5
FIRST_SEED = 7_000_000  # of rendered scenes, far from the seeds that training used
MOST_OPEN = 8  # pairs; opening one again may mean sampling it again


@dataclasses.dataclass(frozen=True)
class WholeTile:
    """A tile whose every pixel has data: uint8 RGB (3, T, T) of both dates, and the label (T, T) where there is one."""

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    label: NDArray[np.bool_] | None


@dataclasses.dataclass(frozen=True)
class OpenItem:
    """A pair whose files are open.

    Attributes:
        width: columns.
        height: rows.
        read: gives a window; None where a pixel has no data in one of the dates, or no known label.
        warnings: what the files leave in doubt, in sentences, and the names that stand in them.
    """

    width: int
    height: int
    read: Callable[[Window], WholeTile | None]
    warnings: Sequence[str] = ()
    names: Sequence[object] = ()


@dataclasses.dataclass(frozen=True)
class Item:
    """A pair that can be opened.

    Attributes:
        name: of its first file.
        label_rule: which values of its label count, in words; empty where nothing is read.
        open: holds its files open.
    """

    name: str
    label_rule: str
    open: Callable[[], contextlib.AbstractContextManager[OpenItem]]

    def __str__(self) -> str:
        return self.name


def _of_dataset(files: LabelledFiles, rule: LabelRule) -> Item:
    """A pair of a labelled dataset."""

    @contextlib.contextmanager
    def opened() -> Iterator[OpenItem]:
        with Sample(files, rule) as sample:

            def read(window: Window) -> WholeTile | None:
                (before, after), valid = sample.read(window)
                return WholeTile(before, after, sample.label(window)) if valid is None else None

            yield OpenItem(sample.width, sample.height, read, sample.warnings, files.images)

    return Item(str(files.images[0]), str(rule), opened)


def _of_images(before: str, after: str, label: str, layer: str | None = None, gsd: float | None = None) -> Item:
    """A pair of images, on the grid of the first, at `gsd` metres per pixel if given; without a label it is empty."""

    @contextlib.contextmanager
    def opened() -> Iterator[OpenItem]:
        with (
            open_pair(before, after, gsd=gsd) as pair,
            open_label(label, pair.grid, layer) if label else contextlib.nullcontext() as labelled,
        ):

            def read(window: Window) -> WholeTile | None:
                pixels = pair.read(window)
                if not pixels.valid.all():
                    return None
                if labelled is None:
                    return WholeTile(pixels.before, pixels.after, None)
                changed, known = labelled.read(window)
                return WholeTile(pixels.before, pixels.after, changed) if known.all() else None

            warnings, grid = [*pair.warnings, *pair.collar_warnings()], pair.grid
            yield OpenItem(grid.width, grid.height, read, warnings, (before, after))

    return Item(before, rule_of(label) if label else "", opened)


def _of_scene(seed: int) -> Item:
    """A made-up pair of 1024 x 1024 pixels with its exact truth, painted where it is read."""

    @contextlib.contextmanager
    def opened() -> Iterator[OpenItem]:
        scene = SyntheticScene(seed, SCENE_SIDE, SCENE_SIDE, SCENE_GSD)

        def read(window: Window) -> WholeTile:
            before, after = scene.render("before", window), scene.render("after", window)
            return WholeTile(before, after, scene.truth(window).astype(bool))

        yield OpenItem(scene.width, scene.height, read)

    return Item(f"rendered scene {seed}", "", opened)


def rendered_source() -> list[Item]:
    """Four scenes, the same on every machine."""
    return [_of_scene(FIRST_SEED + number) for number in range(SCENES)]


def sources_or_rendered(texts: Sequence[str]) -> list[list[Item]]:
    """The pairs of each source, see `source_items`; rendered scenes where there is none."""
    return [source_items(text) for text in texts] if texts else [rendered_source()]


def source_items(text: str) -> list[Item]:
    """The pairs of a source, written as `sources.TILES` says.

    A list has the columns before and after, and label where there is one; other columns as in `pair_list`. The split
    test is refused, so that a test score stays a test.

    Raises:
        SchangerError: the source cannot be read, or what it names is missing.
    """
    source = parse_source(text, TILES)
    if source.kind == IMAGES:
        return [_of_images(source.place, source.after, source.label, gsd=source.gsd)]
    if source.kind == LIST:
        rows = read_pair_list(source.root, (*SPLITS, "test"), label_needed=False)
        if any(row.split == "test" for row in rows):
            raise _no_test(text)
        return [_of_images(row.before, row.after, row.label, row.layer) for row in rows]
    if source.split == "test" or (source.split in ("", ".") and source.root.name == "test"):
        raise _no_test(text)
    files = source.files()
    rule = LabelRule.for_files(files, source.label or "auto")
    return [_of_dataset(entry, rule) for entry in files]


def windows_of(item: OpenItem, tile: int) -> list[Window]:
    """The windows of whole tiles that share no pixel, from the top left."""
    return [
        Window(col, row, tile, tile)
        for row in range(0, item.height - tile + 1, tile)
        for col in range(0, item.width - tile + 1, tile)
    ]


class TilePool(contextlib.AbstractContextManager["TilePool"]):
    """Opens pairs by number and keeps the most recent few open. Use it as a context manager.

    Attributes:
        doubts: what the files that were opened leave in doubt.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items, self.doubts = list(items), Doubts()
        self._open: dict[int, tuple[OpenItem, contextlib.ExitStack]] = {}

    def item(self, number: int) -> OpenItem:
        """A pair, open at least until seven others were asked for; SchangerError where its files are not usable."""
        if number in self._open:
            self._open[number] = self._open.pop(number)  # the latest one comes last
        else:
            if len(self._open) == MOST_OPEN:
                self._open.pop(next(iter(self._open)))[1].close()
            stack = contextlib.ExitStack()
            opened = stack.enter_context(self.items[number].open())
            self.doubts.add(opened.warnings, *opened.names)
            self._open[number] = opened, stack
        return self._open[number][0]

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1][1].close()


def _no_test(text: str) -> SceneError:
    return SceneError(f"source {text!r} is a test split, which must stay unseen: use train or val.")
