"""The stream of a run: tiles are read, inferred and handed to a sink, the three overlapping in time.

The scene is gone through in columns of a bounded width, each from top to bottom, so that memory holds a few rows of one
column and a few batches of tiles, whatever the size of the scene.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SchangerError
from schanger_edge.grid import Window
from schanger_edge.pipeline import Background, Prefetch
from schanger_edge.scene import Pair, PairTile, RowReader
from schanger_edge.sessions import Session
from schanger_edge.tiling import Section, Tile, TilePlan, fill_invalid, pad_to_tile

AHEAD = 2  # batches read ahead of inference, and batches waiting to be written
SECTION = 64  # tiles that are finished together: seconds on a CPU, and a batch cut short at the end costs little
COLUMN = 8192  # pixels: rows of it are held; where columns meet, pixels and blocks of files are read twice
SKIPPED_WAITING = 64  # tiles without a valid pixel that may wait for a batch to fill


_Result = Callable[[], NDArray[np.float32]]


class Sink(Protocol):
    """What takes the results, section by section: see `products.rasters.RasterSink`."""

    def begin(self, section: Window) -> None:
        """What follows lies in this window."""
        ...

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        """Take one tile's owned pixels (h, w); probability is None where no pixel is valid."""
        ...

    def end(self) -> None:
        """All pixels of the section have been taken."""
        ...


@dataclasses.dataclass
class Flow:
    """What a stream did: tiles by fate, valid pixels handed over, seconds in all and of each stage at work."""

    tiles_run: int = 0
    tiles_skipped: int = 0
    valid: int = 0
    seconds: float = 0.0
    read_seconds: float = 0.0
    infer_seconds: float = 0.0
    write_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Read:
    """A tile on its way: its inputs (3, T, T), None where nothing is valid, and validity of what it owns."""

    tile: Tile
    inputs: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None
    valid: NDArray[np.bool_]
    begins: Window | None
    """The section of which it is the first."""
    ends: bool
    """Whether it is the last of its section."""


def predict(
    pair: Pair,
    session: Session,
    sink: Sink,
    *,
    batch: int = 1,
    halo: int | None = None,
    finished: Container[Window] = (),
    progress: Callable[[int], None] | None = None,
    observe: Callable[[Window, PairTile], None] | None = None,
) -> Flow:
    """Predict every valid pixel of a pair exactly once.

    No batch holds tiles of two sections, so that the pixels of a section don't depend on where a run began. Where the
    pair has an area of interest, valid means inside it too; tiles that own none of it are not run, and where a section
    has none the files are not read.

    Args:
        pair: two dates on one grid.
        session: the model; its card gives tile, halo and the colours of invalid pixels.
        sink: takes the owned pixels of each tile, in order.
        batch: tiles per inference; the last one of a section may be smaller.
        halo: context on each side of a tile, less than half of it; None takes the card's.
        finished: windows of sections that an earlier run has finished; they are left out.
        progress: called with the number of scene pixels done so far, after each batch.
        observe: called in the reading thread with each window that is read and its pixels.

    Raises:
        SchangerError: reading, inference or writing failed; nothing is skipped silently.
    """
    began = time.perf_counter()
    halo = session.card.halo if halo is None else halo
    plan = TilePlan(pair.grid.width, pair.grid.height, session.card.tile, halo)
    column = COLUMN if pair.has_columns(COLUMN) else plan.width
    sections = [section for section in plan.sections(SECTION, column) if section.window not in finished]
    todo = sum(section.window.width * section.window.height for section in sections)
    flow, done = Flow(), plan.width * plan.height - todo
    waiting: list[_Read] = []
    under_way: deque[tuple[tuple[_Read, ...], _Result | None]] = deque()
    batch = min(batch, session.max_batch or batch)

    def infer() -> None:
        under_way.append((tuple(waiting), _submit(session, waiting, flow)))
        waiting.clear()
        if len(under_way) >= session.slots:
            hand_over()

    def hand_over() -> None:
        nonlocal done
        items, result = under_way.popleft()
        waited = time.perf_counter()
        probability = None if result is None else result()
        flow.infer_seconds += time.perf_counter() - waited
        writer.put((items, probability))
        done += sum(item.valid.size for item in items)
        if progress:
            progress(done)

    def write(results: tuple[tuple[_Read, ...], NDArray[np.float32] | None]) -> None:
        _write(sink, *results)

    reader = Prefetch(_read(pair, plan.tile, sections, session, observe), AHEAD * batch)
    writer = Background(write, AHEAD)
    try:
        with reader, writer:
            for item in reader:
                waiting.append(item)
                full = sum(w.inputs is not None for w in waiting) == batch
                if full or item.ends or len(waiting) >= SKIPPED_WAITING + batch:
                    infer()
            while under_way:
                hand_over()
    finally:
        for _, result in under_way:  # after an error: the session may be used again
            with contextlib.suppress(SchangerError):
                result and result()
    flow.read_seconds, flow.write_seconds, flow.seconds = reader.busy, writer.busy, time.perf_counter() - began
    if progress and not sections:
        progress(done)
    if done != plan.width * plan.height:
        raise RuntimeError(f"{done} of {plan.width * plan.height} pixels were handed over")
    return flow


def _read(
    pair: Pair,
    tile_side: int,
    sections: list[Section],
    session: Session,
    observe: Callable[[Window, PairTile], None] | None,
) -> Iterator[_Read]:
    colors = session.card.normalization.before.mean_color, session.card.normalization.after.mean_color

    def arrived(window: Window, pixels: PairTile) -> None:
        if observe:
            observe(window, pixels)
        if not pixels.valid.all():
            for image, color in zip((pixels.before, pixels.after), colors, strict=True):
                fill_invalid(image, pixels.valid, color)

    rows = RowReader(pair, arrived)
    with pair.environment(max((section.window.width for section in sections), default=0) + 2 * tile_side):
        for section in sections:
            begins: Window | None = section.window
            strips = [[(tile, pair.wanted(tile.owned)) for tile in strip] for strip in section.strips()]
            columns = _columns(tile for strip in strips for tile, wanted in strip if _any(wanted))
            for strip in strips:
                window, pixels = Window(0, 0, 0, 0), None
                if columns is not None and any(_any(wanted) for _, wanted in strip):
                    first = strip[0][0].window
                    window = Window(columns[0], first.row_off, columns[1] - columns[0], first.height)
                    pixels = rows.read(window)
                for tile, wanted in strip:
                    ends = _is_last(tile, section.window)
                    if pixels is None or not _any(wanted):
                        yield _Read(tile, None, np.zeros((tile.owned.height, tile.owned.width), np.bool_), begins, ends)
                    else:
                        yield _cut(pixels, window, tile, wanted, tile_side, begins, ends)
                    begins = None


def _any(wanted: NDArray[np.bool_] | None) -> bool:
    return wanted is None or bool(wanted.any())


def _columns(tiles: Iterable[Tile]) -> tuple[int, int] | None:
    """First column of the tiles and the one after their last; None where there is no tile."""
    spans = [(tile.window.col_off, tile.window.col_end) for tile in tiles]
    return (min(first for first, _ in spans), max(end for _, end in spans)) if spans else None


def _is_last(tile: Tile, section: Window) -> bool:
    return (tile.owned.col_end, tile.owned.row_end) == (section.col_end, section.row_end)


def _cut(
    pixels: PairTile,
    window: Window,
    tile: Tile,
    wanted: NDArray[np.bool_] | None,
    side: int,
    begins: Window | None,
    ends: bool,
) -> _Read:
    """One tile of a strip, whose pixels lie in `window`."""
    rows, cols = tile.owned.slices_in(window)
    valid, inputs = pixels.valid[rows, cols], None
    if wanted is not None:
        valid = valid & wanted
    if valid.any():
        rows, cols = tile.window.slices_in(window)
        inputs = (pad_to_tile(pixels.before[:, rows, cols], side), pad_to_tile(pixels.after[:, rows, cols], side))
    return _Read(tile, inputs, valid, begins, ends)


def _submit(session: Session, items: list[_Read], flow: Flow) -> _Result | None:
    """Begin inference of the n items that have inputs; gives (n, 1, T, T), in order. None where none has."""
    inputs = [item.inputs for item in items if item.inputs is not None]
    flow.tiles_run += len(inputs)
    flow.tiles_skipped += len(items) - len(inputs)
    flow.valid += sum(int(np.count_nonzero(item.valid)) for item in items)
    if not inputs:
        return None
    before, after = (np.stack(date) for date in zip(*inputs, strict=True))
    began = time.perf_counter()
    result = session.submit(before, after)
    flow.infer_seconds += time.perf_counter() - began
    return result


def _write(sink: Sink, items: tuple[_Read, ...], probability: NDArray[np.float32] | None) -> None:
    index = 0
    for item in items:
        owned = None
        if item.inputs is not None:
            assert probability is not None
            owned = probability[index, 0][item.tile.owned.slices_in(item.tile.window)]
            index += 1
        if item.begins is not None:
            sink.begin(item.begins)
        sink.write(item.tile.owned, owned, item.valid)
        if item.ends:
            sink.end()
