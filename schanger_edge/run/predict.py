"""The stream of a run: tiles are read, inferred and handed to a sink, the three overlapping in time.

The scene is gone through in columns of a bounded width, each from top to bottom, so that memory holds a few rows of one
column and a few batches of tiles, whatever the size of the scene.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SchangerError, StoppedError
from schanger_edge.geo.grid import Window
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
SECTION = 64  # tiles that are finished together: seconds on a CPU, and a batch cut short at the end costs little
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


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Tiles in their order, the inputs of those that are run (None where none is), and the number of valid pixels."""

    items: tuple[_Read, ...]
    inputs: _Inputs | None
    valid: int


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
        session: the model; its card gives tile, halo and the colours of invalid pixels.
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
    tile = session.card.tile
    plan = TilePlan(pair.grid.width, pair.grid.height, tile, halo, blend_of(tile, halo))
    column = COLUMN if pair.has_columns(COLUMN) else plan.width
    batch_size = batch_taken(session, batch_size)
    sections, context = (todo.part or _WHOLE).share(plan.sections(SECTION, column), todo.finished, batch_size)
    if context:
        sink = ContextSink(sink, context)
    left = sum(section.window.width * section.window.height for section in sections)
    flow, done = Flow(), plan.width * plan.height - left
    under_way: deque[tuple[tuple[_Read, ...], _Result | None]] = deque()

    def hand_over() -> None:
        nonlocal done
        items, result = under_way.popleft()
        waited = time.perf_counter()
        probability = None if result is None else result()
        flow.infer_seconds += time.perf_counter() - waited
        writer.put((items, probability))
        pixels = sum(item.valid.size for item in items)
        flow.pixels += pixels
        done += pixels
        if observers.progress:
            observers.progress(done)

    # Batches are put together by the reader, so that the network need not wait for that.
    reads = _batches(_read(pair, plan.tile, sections, session, observers.observe), batch_size)
    reader = Prefetch(reads, _ahead(batch_size * plan.tile**2 * 6))
    writer = Background(_Joiner(sink).take, _ahead(batch_size * plan.tile**2 * 4))
    try:
        with reader, writer:
            for gathered in reader:
                if gathered.items[0].begins is not None and todo.stopped():
                    break
                under_way.append((gathered.items, _submit(session, gathered, flow)))
                if len(under_way) >= session.slots:
                    hand_over()
            while under_way:
                hand_over()
    finally:
        for _, result in under_way:  # after an error: the session may be used again
            with contextlib.suppress(SchangerError):
                result and result()
    flow.read_seconds, flow.write_seconds, flow.seconds = reader.busy, writer.busy, time.perf_counter() - began
    if observers.progress and not sections:
        observers.progress(done)
    if done != plan.width * plan.height and todo.stopped():
        raise StoppedError("the run was asked to stop: finished work is kept, continue with --resume.")
    if done != plan.width * plan.height:
        raise RuntimeError(f"{done} of {plan.width * plan.height} pixels were handed over")
    return flow


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
            begins: Section | None = section
            strips = [[(tile, pair.wanted(tile.reach)) for tile in strip] for strip in section.strips()]
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
                        valid = np.zeros((tile.owned.height, tile.owned.width), np.bool_)
                        yield _Read(tile, valid, False, begins, ends), None
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
    begins: Section | None,
    ends: bool,
) -> tuple[_Read, _Inputs | None]:
    """One tile of a strip, whose pixels lie in `window`; `wanted` is of its reach."""
    rows, cols = tile.reach.slices_in(window)
    valid, inputs = pixels.valid[rows, cols], None
    if wanted is not None:
        valid = valid & wanted
    if valid.any():
        rows, cols = tile.window.slices_in(window)
        inputs = (pad_to_tile(pixels.before[:, rows, cols], side), pad_to_tile(pixels.after[:, rows, cols], side))
    return _Read(tile, valid[tile.owned.slices_in(tile.reach)], inputs is not None, begins, ends), inputs


def _batches(reads: Generator[tuple[_Read, _Inputs | None], None, None], batch_size: int) -> Iterator[_Batch]:
    """Tiles gathered until `batch_size` of them are to be run, or a section ends."""
    items: list[_Read] = []
    inputs: list[_Inputs] = []
    with contextlib.closing(reads):
        for item, pixels in reads:
            items.append(item)
            if pixels is not None:
                inputs.append(pixels)
            if len(inputs) == batch_size or item.ends or len(items) >= SKIPPED_WAITING + batch_size:
                stacked = [np.stack(date) for date in zip(*inputs, strict=True)]
                valid = sum(int(np.count_nonzero(item.valid)) for item in items)
                yield _Batch(tuple(items), (stacked[0], stacked[1]) if stacked else None, valid)
                items, inputs = [], []


def _submit(session: Session, batch: _Batch, flow: Flow) -> _Result | None:
    """Begin inference; gives (n, 1, T, T), in order. None where no tile is to be run."""
    run = 0 if batch.inputs is None else len(batch.inputs[0])
    flow.tiles_run += run
    flow.tiles_skipped += len(batch.items) - run
    flow.valid += batch.valid
    if batch.inputs is None:
        return None
    began = time.perf_counter()
    result = session.submit(*batch.inputs)
    flow.infer_seconds += time.perf_counter() - began
    return result


class _Joiner:
    """Hands what each tile settles to the sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._blender: Blender | None = None

    def take(self, results: tuple[tuple[_Read, ...], NDArray[np.float32] | None]) -> None:
        """Tiles in their order, and (n, 1, T, T) of those that were run."""
        items, probability = results
        index = 0
        for item in items:
            own = None
            if item.run:
                assert probability is not None
                own = probability[index, 0, : item.tile.window.height, : item.tile.window.width]
                index += 1
            self._join(item, own)

    def _join(self, item: _Read, probability: NDArray[np.float32] | None) -> None:
        if item.begins is not None:
            self._blender = self._begin(item.begins)
        assert self._blender is not None
        owned = self._blender.add(item.tile, probability)
        self._sink.write(item.tile.owned, owned if item.run else None, item.valid)
        if item.ends:
            self._sink.end(self._blender.edges())

    def _begin(self, section: Section) -> Blender:
        above, left = (
            self._sink.edge(neighbour, name) if neighbour and section.blend else None
            for neighbour, name in ((section.above, "bottom"), (section.left, "right"))
        )
        self._sink.begin(section.window)
        return Blender(section, above, left)
