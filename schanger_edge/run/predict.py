"""The stream of a run: tiles are read, inferred and handed to a sink, the three overlapping in time.

The scene is gone through in columns of a bounded width, each from top to bottom, so that memory holds a few rows of one
column and a few batches of tiles, whatever the size of the scene.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterator

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SchangerError, StoppedError
from schanger_edge.geo.grid import Window
from schanger_edge.model.card import PUBLISHED_TILE
from schanger_edge.scene import Pair, PairTile, RowReader
from schanger_edge.sessions import Session
from schanger_edge.sessions.engine_report import batch_taken
from schanger_edge.tiling.blending import Blender
from schanger_edge.tiling.partition import ContextSink, Part
from schanger_edge.tiling.pipeline import Background, Prefetch
from schanger_edge.tiling.plan import Section, Tile, TilePlan, blend_of, fill_invalid, pad_to_tile
from schanger_edge.tiling.sink import Sink

AHEAD = 2  # batches read ahead of inference, and batches waiting to be written, at least
AHEAD_BYTES = 48 << 20  # of each: reading and writing come in bursts, of a strip of tiles and of a section
SECTION = 64  # tiles of 256 that are finished together: seconds on a CPU; a batch cut short at the end costs little
COLUMN = 8192  # pixels: rows of it are held; where columns meet, pixels and blocks of files are read twice
SKIPPED_WAITING = 64  # tiles without a valid pixel that may wait for a batch to fill


_Result = Callable[[], NDArray[np.float32]]


@dataclasses.dataclass
class Flow:
    """What a stream did: tiles by fate, pixels handed over and the valid of them, seconds in all and of each stage."""

    tiles_run: int = 0
    tiles_skipped: int = 0
    pixels: int = 0
    valid: int = 0
    seconds: float = 0.0
    read_seconds: float = 0.0
    infer_seconds: float = 0.0
    write_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Read:
    """A tile on its way, and validity of what it owns."""

    tile: Tile
    valid: NDArray[np.bool_]
    run: bool
    """Whether it goes through the network: some pixel in its reach is valid."""
    begins: Section | None
    """The section of which it is the first."""
    ends: bool
    """Whether it is the last of its section."""


_WHOLE = Part(0, 1)


@dataclasses.dataclass(frozen=True)
class Todo:
    """What of a scene is to be done.

    Attributes:
        finished: windows of sections that an earlier run has finished; they are left out.
        part: predict this part alone, and once more what lies above it as far as its edges need that.
        stop: asked before each section; once it says True, those that were begun are finished and no other is begun.
    """

    finished: Container[Window] = ()
    part: Part | None = None
    stop: Callable[[], bool] | None = None

    def stopped(self) -> bool:
        """Whether no other section is to be begun."""
        return self.stop is not None and self.stop()


@dataclasses.dataclass(frozen=True)
class Observers:
    """Who hears of a prediction.

    Attributes:
        progress: called with the number of scene pixels done so far, after each batch.
        observe: called in the reading thread with each window that is read and its pixels.
    """

    progress: Callable[[int], None] | None = None
    observe: Callable[[Window, PairTile], None] | None = None


_Inputs = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Both dates of a tile, (3, T, T), or of several, (n, 3, T, T)."""


def predict(
    pair: Pair,
    session: Session,
    sink: Sink,
    *,
    batch_size: int = 1,
    halo: int | None = None,
    todo: Todo | None = None,
    observers: Observers | None = None,
) -> Flow:
    """Predict every valid pixel of a pair, and hand it over exactly once.

    Tiles that overlap are blended by weights that sum to one on every valid pixel (see `tiling`). No batch holds tiles
    of two sections, so that the pixels of a section don't depend on where a run began. Where the pair has an area of
    interest, valid means inside it too; tiles with none of it in their reach are not run, and where a section has none
    the files are not read.

    Args:
        pair: two dates on one grid.
        session: the model; it gives the tile, its card halo and the colours of invalid pixels.
        sink: takes the owned pixels of each tile, in order.
        batch_size: tiles per inference; the last one of a section may be smaller.
        halo: context on each side of a tile's core, less than half the tile; None takes the card's.
        todo: what of the scene is to be done; None is all of it.
        observers: who hears of it.

    Raises:
        StoppedError: `stop` said True before all was done.
        SchangerError: reading, inference or writing failed; nothing is skipped silently.
    """
    began = time.perf_counter()
    todo, observers = todo or Todo(), observers or Observers()
    halo = session.card.halo if halo is None else halo
    tile = session.tile_for(pair.grid.height, pair.grid.width)
    plan = TilePlan(pair.grid.width, pair.grid.height, tile, halo, blend_of(tile, halo))
    column = COLUMN if pair.has_columns(COLUMN) else plan.width
    batch_size = batch_taken(session, batch_size)
    sections, context = (todo.part or _WHOLE).share(
        plan.sections(section_tiles(tile), column), todo.finished, batch_size
    )
    if context:
        sink = ContextSink(sink, context)
    whole = plan.width * plan.height
    before = whole - sum(section.window.width * section.window.height for section in sections)
    flow = Flow()
    under_way: deque[tuple[list[_Read], _Result | None]] = deque()

    def hand_over() -> None:
        items, result = under_way.popleft()
        waited = time.perf_counter()
        probability = None if result is None else result()
        flow.infer_seconds += time.perf_counter() - waited
        writer.put((items, probability))
        flow.pixels += sum(item.valid.size for item in items)
        if observers.progress:
            observers.progress(before + flow.pixels)

    # Batches are put together by the reader, so that the network need not wait for that.
    reads = _batches(_read(pair, plan.tile, sections, session, observers.observe), batch_size)
    reader = Prefetch(reads, _ahead(batch_size * plan.tile**2 * 6))
    writer = Background(_joined(sink, flow), _ahead(batch_size * plan.tile**2 * 4))
    try:
        with reader, writer:
            for items, inputs in reader:
                if items[0].begins is not None and todo.stopped():
                    break
                under_way.append((items, _submit(session, items, inputs, flow)))
                if len(under_way) >= session.slots:
                    hand_over()
            while under_way:
                hand_over()
    finally:
        for _, result in under_way:  # after an error: the session may be used again
            with contextlib.suppress(SchangerError):
                result and result()
    flow.read_seconds, flow.write_seconds, flow.seconds = reader.busy, writer.busy, time.perf_counter() - began
    done = before + flow.pixels
    if observers.progress and not sections:
        observers.progress(done)
    if done != whole and todo.stopped():
        raise StoppedError("the run was asked to stop: finished work is kept, continue with --resume.")
    if done != whole:
        raise RuntimeError(f"{done} of {whole} pixels were handed over")
    return flow


def section_tiles(tile: int) -> int:
    """How many tiles of this side are finished together: of large ones fewer, so that a power cut costs no more."""
    return max(1, round(SECTION * min(1.0, (PUBLISHED_TILE / tile) ** 2)))


def _ahead(size: int) -> int:
    """How many batches of so many bytes may wait."""
    return max(AHEAD, AHEAD_BYTES // size)


def _read(
    pair: Pair,
    tile_side: int,
    sections: list[Section],
    session: Session,
    observe: Callable[[Window, PairTile], None] | None,
) -> Generator[tuple[_Read, _Inputs | None], None, None]:
    colors = session.card.normalization.mean_colors

    def arrived(window: Window, pixels: PairTile) -> None:
        if observe:
            observe(window, pixels)
        if not pixels.valid.all():
            for image, color in zip((pixels.before, pixels.after), colors, strict=True):
                fill_invalid(image, pixels.valid, color)

    rows = RowReader(pair, arrived)
    with pair.environment(max((section.window.width for section in sections), default=0) + 2 * tile_side):
        for section in sections:
            strips = [[(tile, pair.wanted(tile.reach)) for tile in strip] for strip in section.strips()]
            first, last = strips[0][0][0], strips[-1][-1][0]
            touched = [tile.window for strip in strips for tile, wanted in strip if _any(wanted)]
            left = min((one.col_off for one in touched), default=0)
            right = max((one.col_end for one in touched), default=0)
            for strip in strips:
                top = strip[0][0].window
                window = Window(left, top.row_off, right - left, top.height)
                pixels = rows.read(window) if any(_any(wanted) for _, wanted in strip) else None
                for tile, wanted in strip:
                    valid, inputs = np.zeros((tile.reach.height, tile.reach.width), np.bool_), None
                    if pixels is not None and _any(wanted):
                        valid, inputs = _cut(pixels, window, tile, wanted, tile_side)
                    own, begins = valid[tile.owned.slices_in(tile.reach)], section if tile is first else None
                    yield _Read(tile, own, inputs is not None, begins, tile is last), inputs


def _any(wanted: NDArray[np.bool_] | None) -> bool:
    return wanted is None or bool(wanted.any())


def _cut(
    pixels: PairTile, window: Window, tile: Tile, wanted: NDArray[np.bool_] | None, side: int
) -> tuple[NDArray[np.bool_], _Inputs | None]:
    """Validity of a tile's reach, and its inputs, None where nothing is valid; the pixels of its strip lie in `window`.

    `wanted` is of its reach.
    """
    rows, cols = tile.reach.slices_in(window)
    valid, inputs = pixels.valid[rows, cols], None
    if wanted is not None:
        valid = valid & wanted
    if valid.any():
        rows, cols = tile.window.slices_in(window)
        inputs = (pad_to_tile(pixels.before[:, rows, cols], side), pad_to_tile(pixels.after[:, rows, cols], side))
    return valid, inputs


def _batches(
    reads: Generator[tuple[_Read, _Inputs | None], None, None], batch_size: int
) -> Iterator[tuple[list[_Read], _Inputs | None]]:
    """Tiles gathered until `batch_size` of them are to be run, or a section ends, and the inputs of those."""
    items: list[_Read] = []
    inputs: list[_Inputs] = []
    with contextlib.closing(reads):
        for item, pixels in reads:
            items.append(item)
            if pixels is not None:
                inputs.append(pixels)
            if len(inputs) == batch_size or item.ends or len(items) >= SKIPPED_WAITING + batch_size:
                stacked = [np.stack(date) for date in zip(*inputs, strict=True)]
                yield items, (stacked[0], stacked[1]) if stacked else None
                items, inputs = [], []


def _submit(session: Session, items: list[_Read], inputs: _Inputs | None, flow: Flow) -> _Result | None:
    """Begin inference; gives (n, 1, T, T), in order. None where no tile is to be run."""
    run = 0 if inputs is None else len(inputs[0])
    flow.tiles_run += run
    flow.tiles_skipped += len(items) - run
    if inputs is None:
        return None
    began = time.perf_counter()
    result = session.submit(*inputs)
    flow.infer_seconds += time.perf_counter() - began
    return result


def _joined(sink: Sink, flow: Flow) -> Callable[[tuple[list[_Read], NDArray[np.float32] | None]], None]:
    """What hands the pixels that each tile settles to the sink.

    It takes tiles in their order, and (n, 1, T, T) of those that were run.
    """
    blender: Blender | None = None

    def begin(section: Section) -> Blender:
        above, left = (
            sink.edge(neighbour, name) if neighbour and section.blend else None
            for neighbour, name in ((section.above, "bottom"), (section.left, "right"))
        )
        sink.begin(section.window)
        return Blender(section, above, left)

    def take(results: tuple[list[_Read], NDArray[np.float32] | None]) -> None:
        nonlocal blender
        items, probability = results
        outputs = iter(() if probability is None else probability[:, 0])
        for item in items:
            flow.valid += int(np.count_nonzero(item.valid))
            blender = begin(item.begins) if item.begins is not None else blender
            assert blender is not None
            own = next(outputs)[: item.tile.window.height, : item.tile.window.width] if item.run else None
            owned = blender.add(item.tile, own)
            sink.write(item.tile.owned, owned if item.run else None, item.valid)
            if item.ends:
                sink.end(blender.edges())

    return take
