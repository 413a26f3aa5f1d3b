"""The stages of a run, each of which takes what the one before left in the staging folder."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from schanger_edge.errors import SceneError, StoppedError
from schanger_edge.geo.grid import Grid
from schanger_edge.products import CHANGE, POLYGONS, PREVIEW, PROBABILITY
from schanger_edge.products.exchange import WRITERS
from schanger_edge.products.journal import Journal
from schanger_edge.products.polygons import LAYER, PolygonCount, write_polygons
from schanger_edge.products.preview import SIDE as PREVIEW_SIDE
from schanger_edge.products.preview import read_change_thumbnail, write_preview
from schanger_edge.products.rasters import RasterCounts, RasterSink
from schanger_edge.products.report.page import Report
from schanger_edge.products.staging import Staging
from schanger_edge.products.thumbnail import THUMBNAIL, Thumbnail
from schanger_edge.run.predict import Flow, predict
from schanger_edge.scene import Pair
from schanger_edge.sessions import Session
from schanger_edge.tiling.partition import Part

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, what is done of it and what there is in all (pixels for `predict`)."""


FINISHING = ("finish_rasters", "polygons", "preview", "report")
"""Stages after the prediction; the user sees how many are done."""


class Laps:
    """Seconds of one stage after the other, and the progress of finishing."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._began = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str) -> None:
        """The stage has ended now; it began where the one before ended."""
        now = time.perf_counter()
        self.seconds[stage], self._last = now - self._last, now
        _give_memory_back()
        done = sum(name in self.seconds for name in FINISHING)
        if self._progress and (done or stage == "predict"):
            self._progress("finish", done, len(FINISHING))

    @property
    def total(self) -> float:
        """Seconds from the beginning."""
        return time.perf_counter() - self._began


def _give_memory_back() -> None:
    """What was freed goes back to the system: glibc keeps what ended threads freed, a quarter of the peak of a run."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def make_maps(
    pair: Pair,
    session: Session,
    staging: Staging,
    journal: Journal,
    thumbnail: Thumbnail,
    threshold: float,
    batch: int,
    progress: Progress | None,
    laps: Laps,
    stop: Callable[[], bool] | None = None,
    part: Part | None = None,
) -> tuple[Flow, RasterCounts]:
    """Predict what is not finished yet, and join all to the two maps.

    Raises:
        StoppedError: `stop` said so, see `predict`; or `part` is done.
        SchangerError: reading, inference or writing failed, or no pixel is valid.
    """
    finished = journal.sections()
    for section, folder in finished.items():
        thumbnail.load(folder / THUMBNAIL, section)
    sink = RasterSink(
        pair.grid,
        threshold=threshold,
        journal=journal,
        on_section=lambda folder, section: thumbnail.save(folder / THUMBNAIL, section),
    )
    flow = predict(
        pair,
        session,
        sink,
        batch=batch,
        finished=finished,
        progress=_stage(progress, "predict", pair.grid.width * pair.grid.height),
        observe=lambda window, pixels: thumbnail.add(window, pixels.before, pixels.after, pixels.valid),
        stop=stop,
        part=part,
    )
    laps("predict")
    if part is not None:
        raise StoppedError(f"part {part.number + 1} of {part.count} is done and kept.")
    counts = sink.finish(staging.path(PROBABILITY), staging.path(CHANGE))
    laps("finish_rasters")
    if not counts.valid:
        journal.discard()
        where = "" if pair.clip is None else f" in {pair.clip}"
        raise SceneError(f"no pixel{where} has data in both images: check that they overlap and their nodata values.")
    if not finished and counts.valid != flow.valid:
        raise RuntimeError(f"{flow.valid} valid pixels were predicted and {counts.valid} written")
    return flow, counts


def make_polygons(staging: Staging, grid: Grid, shaping: Mapping[str, float], also: Sequence[str]) -> PolygonCount:
    """Outline the areas of change, in all formats that are wanted."""
    polygons = write_polygons(staging.path(CHANGE), staging.path(PROBABILITY), grid, staging.path(POLYGONS), **shaping)
    for form in also:
        name, write = WRITERS[form]
        write(staging.path(POLYGONS), LAYER, grid, staging.path(name))
    return polygons


def make_preview(staging: Staging, thumbnail: Thumbnail) -> None:
    """The picture of both dates and the change."""
    before, after = thumbnail.reduced(PREVIEW_SIDE)
    change, valid = read_change_thumbnail(staging.path(CHANGE), before.shape[2], before.shape[1])
    write_preview(staging.path(PREVIEW), before, after, change, valid)


def begin_report(pair: Pair, staging: Staging, thumbnail: Thumbnail) -> Report:
    """The report with all its pictures; `Report.write` adds what the summary says."""
    report = Report(pair.grid, thumbnail, staging.path(POLYGONS), staging.path(PROBABILITY))
    with pair.environment(report.columns):
        for window in report.windows:
            pixels = pair.read(window)
            report.add(window, pixels.before, pixels.after, pixels.valid)
    return report


def _stage(progress: Progress | None, name: str, total: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(name, done, total)
