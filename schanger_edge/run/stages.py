"""The stages of a run, each of which takes what the one before left in the staging folder."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import sys
import time
from pathlib import Path

from rasterio.crs import CRS

from schanger_edge._version import __version__
from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.products import CHANGE, POLYGONS, PREVIEW, PROBABILITY, PROJECT, STAC_ITEM
from schanger_edge.products.journal import Journal
from schanger_edge.products.polygons import LAYER, PolygonCount, write_polygons
from schanger_edge.products.preview import SIDE as PREVIEW_SIDE
from schanger_edge.products.preview import read_change_thumbnail, write_preview
from schanger_edge.products.product import Product
from schanger_edge.products.project import Picture, write_project
from schanger_edge.products.rasters import RasterCounts, RasterSink
from schanger_edge.products.register import FORMATS, formats_of, made_by
from schanger_edge.products.report.page import Report
from schanger_edge.products.stac import why_no_item, write_item
from schanger_edge.products.staging import Staging
from schanger_edge.products.style import CHANGE_STYLE, PROBABILITY_STYLE, write_raster_styles
from schanger_edge.products.thumbnail import THUMBNAIL, Thumbnail
from schanger_edge.progress import OPEN, Progress
from schanger_edge.registration.register import register
from schanger_edge.run.control import Control
from schanger_edge.run.model_fit import model_warnings
from schanger_edge.run.options import RunOptions
from schanger_edge.run.predict import Flow, Observers, Todo, predict
from schanger_edge.scene import ImageInfo, Pair
from schanger_edge.sessions import Session
from schanger_edge.sessions.engine_report import batch_taken
from schanger_edge.tiling.partition import Part

LOG = logging.getLogger(__name__)
OPENING = 4
"""Steps before the prediction: the images open, the model is ready, the pixels are sampled, the offset is known."""
FINISHING = ("finish_rasters", "polygons", "preview", "report")
"""Stages after the prediction; the user sees how many are done."""


class Laps:
    """Seconds of one stage after the other, and the progress of finishing; `progress` hears of the whole run."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress
        self._began = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str) -> None:
        """The stage has ended now; it began where the one before ended."""
        now = time.perf_counter()
        self.seconds[stage], self._last = now - self._last, now
        LOG.debug("%s took %.2f s", stage, self.seconds[stage])
        _give_memory_back()
        done = sum(name in self.seconds for name in FINISHING)
        if self.progress and (done or stage == "predict"):
            self.progress("finish", done, len(FINISHING))

    def opened(self, steps: int) -> None:
        """So many of the `OPENING` steps are done, which take minutes where the images are far away."""
        if self.progress:
            self.progress(OPEN, steps, OPENING)

    @property
    def total(self) -> float:
        """Seconds from the beginning."""
        return time.perf_counter() - self._began


def _give_memory_back() -> None:
    """What was freed goes back to the system: glibc keeps what ended threads freed, a quarter of the peak of a run."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


class Run:
    """A run whose inputs are open: its warnings first, then stage by stage.

    Attributes:
        options: as asked for, with the values that were taken where none was.
        warnings: what makes the result doubtful, in sentences.
        tile: side of the tiles, in pixels.
        registered: what is known of the offset between the dates; None where nobody asked.

    Args:
        pair: both dates; registration may change how they are read.
        session: the model.
        staging: where products wait.
        journal: what is finished of the maps.
        options: what is asked for.
        control: whom to tell, and whom to ask.
        laps: the clock, which began before the inputs were opened.
    """

    def __init__(
        self,
        pair: Pair,
        session: Session,
        staging: Staging,
        journal: Journal,
        *,
        options: RunOptions,
        control: Control,
        laps: Laps,
    ) -> None:
        self.pair, self.session, self._staging, self._journal = pair, session, staging, journal
        self._control, self.laps = control, laps
        self._change_parts: dict[Window, Path] | None = None
        change, engine = options.change, options.engine
        self.options = options.replace(
            threshold=session.card.threshold if change.threshold is None else change.threshold,
            batch_size=session.best_batch if engine.batch_size is None else engine.batch_size,
        )
        size = pair.grid.height, pair.grid.width
        self.tile = session.tile_for(*size)
        own_gsd = {date: info.gsd for date, info in pair.info().items()}
        fit = model_warnings(session.card, self.tile, size, pair.grid.gsd, own_gsd, pair.statistics())
        self.warnings = [*pair.warnings, *pair.collar_warnings(), *fit]
        laps.opened(3)
        self.registered = register(pair, max_offset=options.alignment.max_offset, align=options.alignment.align)
        if self.registered is not None:
            self.warnings += self.registered.warnings
            pair.notes.append(self.registered.note)
        self._dates = _dates(options, pair)
        no_item = why_no_item(pair.grid, self._dates) if options.further.stac else None
        if no_item:
            self.warnings.append(no_item)
        self._formats, no_formats = formats_of(pair.grid, options.further.also)
        self.warnings += no_formats
        self.products: list[Product] = made_by(self._formats, stac_item=options.further.stac and no_item is None)
        self._thumbnail = Thumbnail(pair.grid)
        if damaged := journal.begin(self._identity(), pair.grid.width * pair.grid.height):
            self.warnings.append(
                f"{damaged} sections of the unfinished run were damaged on the disk, and are computed again: check it."
            )
        if control.on_start:
            control.on_start(session, pair, self.warnings)
        laps.opened(OPENING)
        laps("open")

    def _identity(self) -> dict[str, object]:
        """What decides about the bytes of the maps."""
        return {
            "version": __version__,
            **self.pair.identity(),
            **self.session.identity(),
            "tile": self.tile,
            **self.options.deciding(),
            "batch_size": batch_taken(self.session, self.options.engine.batch_size or 1),
        }

    def predict(self, part: Part | None = None) -> tuple[Flow, RasterSink]:
        """Predict what is not finished yet, or of that one part alone; each section is kept as soon as it is done.

        Raises:
            StoppedError: `stop` said so, see `predict`.
            SchangerError: reading, inference or writing failed.
        """
        finished = self._journal.sections()
        for section, folder in finished.items():
            self._thumbnail.load(folder / THUMBNAIL, section)
        threshold, grid, progress = self.options.change.threshold, self.pair.grid, self.laps.progress
        assert threshold is not None
        sink = RasterSink(
            grid,
            threshold=threshold,
            journal=self._journal,
            on_section=lambda folder, section: self._thumbnail.save(folder / THUMBNAIL, section),
        )
        observers = Observers(
            None if progress is None else lambda done: progress("predict", done, grid.width * grid.height),
            lambda window, pixels: self._thumbnail.add(window, pixels.before, pixels.after, pixels.valid),
        )
        todo = Todo(finished, part, self._control.stop)
        batch_size = self.options.engine.batch_size or 1
        flow = predict(self.pair, self.session, sink, batch_size=batch_size, todo=todo, observers=observers)
        self.laps("predict")
        return flow, sink

    def join_maps(self, flow: Flow, sink: RasterSink) -> RasterCounts:
        """The map of probability from all sections; that of change is made by `outline`.

        Raises:
            SceneError: no pixel is valid.
            ProductError: a map could not be written.
        """
        taken_over = flow.pixels < self.pair.grid.width * self.pair.grid.height
        counts, self._change_parts = sink.finish(self._staging.path(PROBABILITY)), sink.parts("change")
        self.laps("finish_rasters")
        if not counts.valid:
            self._journal.discard()
            where = "" if self.pair.clip is None else f" in {self.pair.clip}"
            raise SceneError(
                f"no pixel{where} has data in both images: check that they overlap and their nodata values."
            )
        if not taken_over and counts.valid != flow.valid:
            raise RuntimeError(f"{flow.valid} valid pixels were predicted and {counts.valid} written")
        return counts

    def outline(self) -> PolygonCount:
        """The map of change, without small areas, and the areas as polygons, in all formats that are wanted."""
        path, grid = self._staging.path, self.pair.grid
        polygons = write_polygons(
            path(CHANGE), path(PROBABILITY), grid, path(POLYGONS), self.options.shaping, parts=self._change_parts
        )
        for name in self._formats:
            FORMATS[name].write(path(POLYGONS), LAYER, grid, path(FORMATS[name].product.name))
        if polygons.left_out:
            self.warnings.append(
                f"changes.gpkg cannot hold all polygons: the {polygons.left_out} smallest are omitted; raise "
                "--threshold or --min-area."
            )
        self.laps("polygons")
        return polygons

    def draw(self) -> Report:
        """The preview, and the report with all its pictures; `Report.write` adds what the summary says."""
        path = self._staging.path
        before, after = self._thumbnail.reduced(PREVIEW_SIDE)
        change, valid = read_change_thumbnail(path(CHANGE), before.shape[2], before.shape[1])
        write_preview(path(PREVIEW), before, after, change, valid)
        self.laps("preview")
        report = Report(self.pair.grid, self._thumbnail, path(POLYGONS), path(PROBABILITY))
        with self.pair.environment(report.columns):
            for window in report.windows:
                pixels = self.pair.read(window)
                report.add(window, pixels.before, pixels.after, pixels.valid)
        self.laps("report")
        return report

    def write_item(self) -> None:
        """The STAC item, where it is among the products."""
        if not any(product.name == STAC_ITEM for product in self.products):
            return
        own = {"schanger_edge:model": self.session.card.name, "schanger_edge:threshold": self.options.change.threshold}
        paths = {name: info.path for name, info in self.pair.info().items()}
        others = [product for product in self.products if product.name != STAC_ITEM]
        folder = self._staging.folder  # where it will lie
        write_item(self._staging.path(STAC_ITEM), self.pair.grid, paths, self._dates, others, folder, own)

    def write_for_qgis(self) -> None:
        """The project, and the styles of the maps."""
        path = self._staging.path
        write_raster_styles(path(CHANGE_STYLE.name), path(PROBABILITY_STYLE.name))
        pictures = {date: _picture(info) for date, info in self.pair.info().items()}
        write_project(path(PROJECT), self.pair.grid, pictures, self._staging.folder)


def _picture(info: ImageInfo) -> Picture:
    """A date as QGIS is to show it: stretched as the network sees it."""
    limits = None
    if info.stretch is not None:
        channels = zip(info.stretch.low, info.stretch.high, info.scaling.scales, info.scaling.offsets, strict=True)
        limits = [(low * scale + offset, high * scale + offset) for low, high, scale, offset in channels]
        if any(low >= high for low, high in limits):  # white is 0: QGIS shows the file as it is
            limits = None
    crs = None if info.crs is None else CRS.from_string(info.crs)
    return Picture(info.path, crs, () if info.palette_nodata is not None else info.bands, limits)


def _dates(options: RunOptions, pair: Pair) -> dict[str, str | None]:
    """When each image was taken; None where it is not known."""
    given = options.further.dates
    return {
        name: info.date if given is None else given[index] for index, (name, info) in enumerate(pair.info().items())
    }
