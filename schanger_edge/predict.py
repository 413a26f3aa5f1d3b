"""The stream of a run: tiles are read, inferred and handed to a sink, the three overlapping in time.

Memory holds a few batches of tiles, whatever the size of the scene.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SchangerError
from schanger_edge.grid import Window
from schanger_edge.pipeline import Background, Prefetch
from schanger_edge.scene import Pair, PairTile
from schanger_edge.sessions import Session
from schanger_edge.tiling import Tile, TilePlan, fill_invalid, pad_to_tile

AHEAD = 2  # batches read ahead of inference, and batches waiting to be written
SKIPPED_WAITING = 64  # tiles without a valid pixel that may wait for a batch to fill


_Result = Callable[[], NDArray[np.float32]]


class Sink(Protocol):
    """What takes the results: see `products.rasters.RasterSink`."""

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        """Take one tile's owned pixels (h, w); probability is None where no pixel is valid."""
        ...

    def rows_done(self, row_end: int) -> None:
        """All rows above `row_end` have been taken."""
        ...


@dataclasses.dataclass
class Flow:
    """What a stream did: tiles by fate, valid pixels handed over, seconds each stage was busy."""

    tiles_run: int = 0
    tiles_skipped: int = 0
    valid: int = 0
    read_seconds: float = 0.0
    infer_seconds: float = 0.0
    write_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Read:
    """A tile on its way: its inputs (3, T, T), None where nothing is valid, and validity of what it owns."""

    tile: Tile
    inputs: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None
    valid: NDArray[np.bool_]
    ends_strip: bool


def predict(
    pair: Pair,
    session: Session,
    sink: Sink,
    *,
    batch: int = 1,
    progress: Callable[[int], None] | None = None,
    observe: Callable[[Tile, PairTile], None] | None = None,
) -> Flow:
    """Predict every valid pixel of a pair exactly once.

    Where the pair has an area of interest, valid means inside it too; tiles that own none of it are not read.

    Args:
        pair: two dates on one grid.
        session: the model; its card gives tile, halo and the colours of invalid pixels.
        sink: takes the owned pixels of each tile, in order.
        batch: tiles per inference; the last one may be smaller.
        progress: called with the number of scene pixels done so far, after each batch.
        observe: called in the reading thread with each tile that is read, and its pixels.

    Raises:
        SchangerError: reading, inference or writing failed; nothing is skipped silently.
    """
    plan = TilePlan(pair.grid.width, pair.grid.height, session.card.tile, session.card.halo)
    flow, done = Flow(), 0
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
        began = time.perf_counter()
        probability = None if result is None else result()
        flow.infer_seconds += time.perf_counter() - began
        writer.put((items, probability))
        done += sum(item.valid.size for item in items)
        if progress:
            progress(done)

    def write(results: tuple[tuple[_Read, ...], NDArray[np.float32] | None]) -> None:
        _write(sink, *results)

    reader = Prefetch(_read(pair, plan, session, observe), AHEAD * batch)
    writer = Background(write, AHEAD)
    try:
        with reader, writer:
            for item in reader:
                waiting.append(item)
                if sum(w.inputs is not None for w in waiting) == batch or len(waiting) >= SKIPPED_WAITING + batch:
                    infer()
            if waiting:
                infer()
            while under_way:
                hand_over()
    finally:
        for _, result in under_way:  # after an error: the session may be used again
            with contextlib.suppress(SchangerError):
                result and result()
    flow.read_seconds, flow.write_seconds = reader.busy, writer.busy
    if done != plan.width * plan.height:
        raise RuntimeError(f"{done} of {plan.width * plan.height} pixels were handed over")
    return flow


def _read(
    pair: Pair, plan: TilePlan, session: Session, observe: Callable[[Tile, PairTile], None] | None
) -> Iterator[_Read]:
    colors = session.card.normalization.before.mean_color, session.card.normalization.after.mean_color
    with pair.environment(plan.tile):
        for strip in plan.strips():
            for tile in strip:
                wanted = pair.wanted(tile.owned)
                if wanted is not None and not wanted.any():
                    yield _Read(tile, None, wanted, tile is strip[-1])
                    continue
                pixels = pair.read(tile.window)
                if observe:
                    observe(tile, pixels)
                inputs = None
                valid = pixels.valid[tile.owned.slices_in(tile.window)]
                if wanted is not None:
                    valid = valid & wanted
                if valid.any():
                    if not pixels.valid.all():
                        for image, color in zip((pixels.before, pixels.after), colors, strict=True):
                            fill_invalid(image, pixels.valid, color)
                    inputs = (pad_to_tile(pixels.before, plan.tile), pad_to_tile(pixels.after, plan.tile))
                yield _Read(tile, inputs, valid, tile is strip[-1])


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
        sink.write(item.tile.owned, owned, item.valid)
        if item.ends_strip:
            sink.rows_done(item.tile.owned.row_end)
