"""From two images to a change map: `schanger-edge run`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.model.bundled import model_path
from schanger_edge.products import CHANGE, PROBABILITY, REPORT, STAC_ITEM, STANDARD, SUMMARY
from schanger_edge.products.exchange import WRITERS
from schanger_edge.products.journal import Journal
from schanger_edge.products.stac import why_no_item, write_item
from schanger_edge.products.staging import Staging
from schanger_edge.products.summary import write_summary
from schanger_edge.products.thumbnail import Thumbnail
from schanger_edge.registration.register import MAX_OFFSET, check_max_offset, register
from schanger_edge.run.model_fit import model_warnings
from schanger_edge.run.options import check_engine, check_polygons, check_products, dates_of
from schanger_edge.run.stages import Laps, Progress, begin_report, make_maps, make_polygons, make_preview
from schanger_edge.run.summary import summarize
from schanger_edge.scene import Pair, open_pair
from schanger_edge.scene.pair import GridChoice, Paths
from schanger_edge.scene.radiometry import StretchChoice
from schanger_edge.scene.validity import Nodata
from schanger_edge.sessions import Session, open_session
from schanger_edge.sessions.engine_report import batch_taken
from schanger_edge.sessions.gpu import Binding
from schanger_edge.tiling.partition import Part

READ_THREADS = min(4, os.cpu_count() or 1)
"""That decode the blocks of one image."""


@dataclasses.dataclass(frozen=True)
class Detection:
    """The result of a run.

    Attributes:
        folder: where the products are.
        valid: pixels with data in both dates, inside the area of interest where there is one.
        changed: of these, pixels called change.
        polygons: number of polygons in changes.gpkg.
        warnings: what makes the result doubtful, in sentences.
        summary: the content of summary.json.
    """

    folder: Path
    valid: int
    changed: int
    polygons: int
    warnings: tuple[str, ...]
    summary: dict[str, Any]

    @property
    def probability(self) -> Path:
        """Map of probability: uint8, 1/254 per step, nodata 255."""
        return self.folder / PROBABILITY

    @property
    def change(self) -> Path:
        """Map of change: 0, 1, nodata 255."""
        return self.folder / CHANGE

    @property
    def report(self) -> Path:
        """The page that shows it all."""
        return self.folder / REPORT

    @property
    def changed_share(self) -> float:
        """Share of the valid pixels that is called change."""
        return self.changed / self.valid


def detect(
    before: str | PathLike[str],
    after: str | PathLike[str],
    output: str | PathLike[str],
    *,
    model: str | PathLike[str] | None = None,
    threshold: float | None = None,
    batch: int | None = None,
    grid: GridChoice = "before",
    gsd: float | None = None,
    bands: Sequence[int] | None = None,
    nodata: Nodata = "auto",
    clip: str | PathLike[str] | None = None,
    clip_layer: str | None = None,
    stretch: StretchChoice = "percentiles",
    match: bool = False,
    valid_masks_before: Paths = (),
    valid_masks_after: Paths = (),
    min_area: float = 0.0,
    simplify: float = 0.0,
    fill_holes: float = 0.0,
    also: Sequence[str] = (),
    stac: bool = False,
    dates: Sequence[str] | None = None,
    device: str = "cpu",
    cuda: Binding | None = None,
    threads: int | None = None,
    resume: bool = False,
    restart: bool = False,
    max_offset: float = MAX_OFFSET,
    align: bool = False,
    on_start: Callable[[Session, Pair, Sequence[str]], None] | None = None,
    progress: Progress | None = None,
    session: Session | None = None,
    stop: Callable[[], bool] | None = None,
    part: Part | None = None,
) -> Detection:
    """Find what changed between two images of one place.

    Writes `probability.tif`, `change.tif`, `changes.gpkg`, `preview.png`, `report.html` and `summary.json`. They get
    their names when all of them are complete; until then, and after an error, results of an earlier run stay as they
    are. What a run that stops has finished is kept in a hidden folder of `output`; with `resume` the same call goes on
    from there and gives the same maps, to the byte.

    Args:
        before: image of the first date; GeoTIFF or anything GDAL opens, also URLs and /vsi paths.
        after: image of the second date, of any CRS, grid and extent that overlaps the first.
        output: folder for the products; made if absent.
        model: an .onnx file, or the name of a bundled model; None takes `schanger-small`.
        threshold: a pixel is change where its probability is greater; None takes the model's.
        batch: tiles per inference; None takes what the engine is fastest at.
        grid: whose grid the products take, `before` or `after`.
        gsd: metres per pixel to resample to on reading.
        bands: band numbers of red, green, blue, from 1.
        nodata: `auto`, None (ignore what the files declare) or a value.
        clip: vector file with the area of interest: only tiles that touch it are run, pixels outside it are nodata.
        clip_layer: its layer, where there are several.
        stretch: how values become uint8: `percentiles` (1 to 99 of each date; uint8 as it is), `none` (they are 0 to
            255), or (MIN, MAX), physical values for both dates.
        match: give the after image the histograms of the before image.
        valid_masks_before: one raster or several whose first band is not zero where the first date is usable; with
            several, where all of them say so.
        valid_masks_after: the same of the second date.
        min_area: polygons smaller than this many square metres (pixels without CRS) are left out.
        simplify: corners of polygons are dropped where the outline moves by no more metres (pixels without CRS).
        fill_holes: holes in polygons smaller than this many square metres (pixels without CRS) are filled.
        also: further formats of the polygons: `geoparquet` (changes.parquet), `flatgeobuf` (changes.fgb).
        stac: also write item.json, a STAC item; where CRS or dates are unknown a warning says so instead.
        dates: when the two images were taken, such as `2021-06-03`; None takes what their files say.
        device: `cpu`, `cpu:openvino`, `cuda`, `cuda:onnxruntime` or `auto`, see `sessions.open_session`.
        cuda: by whom CUDA is reached, `cuda-python` or `pycuda`.
        threads: CPU threads of the engine; None takes all.
        resume: go on with what an unfinished run left in `output`; where nothing is left, begin.
        restart: drop what an unfinished run left in `output`; without one of both it is an error that it is there.
        max_offset: pixels between the dates above which there is a warning; infinity without `align` skips the
            estimate.
        align: take the offset between the dates away while the image is read, where it is known.
        on_start: called once with the session, the pair and the warnings, before the first tile.
        progress: see `Progress`.
        session: an open session to run on, which stays open; `model`, `device`, `cuda` and `threads` don't count then.
        stop: asked before each section of the scene; once it says True the run ends with what it has finished kept.
        part: predict this part of the scene alone and stop, what is finished kept; `journal.join` puts parts together.

    Raises:
        StoppedError: `stop` said so, or `part` is done.
        SchangerError: one sentence on what is wrong and what to do.
    """
    check_engine(threshold, batch, threads)
    polygon_options = {"min_area": min_area, "simplify": simplify, "fill_holes": fill_holes}
    check_polygons(polygon_options)
    check_products(also, stac, dates)
    check_max_offset(max_offset)
    laps = Laps(progress)
    with (
        Staging(Path(output)) as staging,
        Journal(Path(output), resume=resume, restart=restart) as journal,
        open_pair(
            before, after, grid=grid, gsd=gsd, bands=bands, nodata=nodata, clip=clip, clip_layer=clip_layer,
            stretch=stretch, match=match, valid_masks_before=valid_masks_before,
            valid_masks_after=valid_masks_after, threads=READ_THREADS,
        ) as pair,
        (
            contextlib.nullcontext(session)
            if session is not None
            else open_session(model_path(model), device, threads, binding=cuda, progress=progress)
        ) as session,  # noqa: PLR1704
    ):  # fmt: skip
        batch = session.best_batch if batch is None else batch
        threshold = session.card.threshold if threshold is None else threshold
        warnings = model_warnings(session.card, pair.grid.gsd, pair.own_gsd(), pair.statistics())
        registered = register(pair, max_offset=max_offset, align=align)
        if registered is not None:
            warnings += registered.warnings
            pair.notes.append(registered.note)
        taken = dates_of(dates, pair)
        no_item = why_no_item(pair.grid, taken) if stac else None
        if no_item:
            warnings.append(no_item)
        if on_start:
            on_start(session, pair, warnings)
        laps("open")
        thumbnail = Thumbnail(pair.grid)
        identity = _identity(pair, session, threshold, batch)
        journal.begin(identity, pair.grid.width * pair.grid.height)
        flow, counts = make_maps(
            pair, session, staging, journal, thumbnail, threshold, batch, progress, laps, stop, part
        )
        polygons = make_polygons(staging, pair.grid, polygon_options, also)
        if polygons.left_out:
            warnings.append(
                f"there are {polygons.left_out} more polygons than changes.gpkg takes, the smallest are left out: "
                "raise --threshold or --min-area."
            )
        laps("polygons")
        make_preview(staging, thumbnail)
        laps("preview")
        report = begin_report(pair, staging, thumbnail)
        laps("report")
        options: dict[str, Any] = {"threshold": threshold, "batch": batch, "grid": grid, "gsd": gsd}
        options |= {"clip": pair.clip, "clip_layer": clip_layer} | polygon_options
        options |= {"stretch": stretch, "match": match}
        options |= {"also": list(also), "stac": stac, "dates": dates and list(dates)}
        summary = summarize(
            pair, session, flow, counts, polygons=polygons.written, warnings=warnings, options=options,
            registration=None if registered is None else registered.summary(), laps=laps.seconds,
            total=laps.total,
        )  # fmt: skip
        report.write(staging.path(REPORT), summary)
        write_summary(staging.path(SUMMARY), summary)
        if stac and not no_item:
            own = {"schanger_edge:model": session.card.name, "schanger_edge:threshold": threshold}
            made = [*STANDARD, *(WRITERS[form][0] for form in also)]
            paths = {name: info.path for name, info in pair.info().items()}
            write_item(staging.path(STAC_ITEM), pair.grid, paths, taken, made, Path(output), own)
        staging.publish()
        journal.discard()
    return Detection(Path(output), counts.valid, counts.changed, polygons.written, tuple(warnings), summary)


def _identity(pair: Pair, session: Session, threshold: float, batch: int) -> dict[str, Any]:
    """What decides about the bytes of the maps."""
    return {
        "version": __version__,
        **pair.identity(),
        **session.identity(),
        "threshold": threshold,
        "batch": batch_taken(session, batch),
    }
