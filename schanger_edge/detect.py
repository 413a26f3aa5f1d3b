"""From two images to a change map: `schanger-edge run`."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.bundled import model_path
from schanger_edge.errors import SceneError, SchangerError
from schanger_edge.predict import Flow, predict
from schanger_edge.products import CHANGE, POLYGONS, PREVIEW, PROBABILITY, SUMMARY
from schanger_edge.products.polygons import write_polygons
from schanger_edge.products.preview import read_change_thumbnail, write_preview
from schanger_edge.products.rasters import RasterCounts, RasterSink
from schanger_edge.products.staging import Staging
from schanger_edge.products.summary import write_summary
from schanger_edge.products.thumbnail import Thumbnail
from schanger_edge.scene import Pair, open_pair
from schanger_edge.scene.pair import GridChoice
from schanger_edge.scene.validity import Nodata
from schanger_edge.sessions import Session, open_session
from schanger_edge.sessions.account import account
from schanger_edge.sessions.gpu import Binding
from schanger_edge.warn import model_warnings

MAX_THREADS = 1024

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, what is done of it and what there is in all (pixels for `predict`)."""


@dataclasses.dataclass(frozen=True)
class Detection:
    """The result of a run.

    Attributes:
        folder: where the products are.
        valid: pixels with data in both dates.
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
    min_area: float = 0.0,
    device: str = "cpu",
    cuda: Binding | None = None,
    threads: int | None = None,
    on_start: Callable[[Session, Pair, Sequence[str]], None] | None = None,
    progress: Progress | None = None,
) -> Detection:
    """Find what changed between two images of one place.

    Writes `probability.tif`, `change.tif`, `changes.gpkg`, `preview.png` and `summary.json`. They get their names
    when all of them are complete; until then, and after an error, results of an earlier run stay as they are.

    Args:
        before: image of the first date; GeoTIFF or anything GDAL opens.
        after: image of the second date, of any CRS, grid and extent that overlaps the first.
        output: folder for the products; made if absent.
        model: an .onnx file, or the name of a bundled model; None takes `schanger-small`.
        threshold: a pixel is change where its probability is greater; None takes the model's.
        batch: tiles per inference; None takes what the engine is fastest at.
        grid: whose grid the products take, `before` or `after`.
        gsd: metres per pixel to resample to on reading.
        bands: band numbers of red, green, blue, from 1.
        nodata: `auto`, None (ignore what the files declare) or a value.
        min_area: polygons smaller than this many square metres (pixels without CRS) are left out.
        device: `cpu`, `cuda`, `cuda:onnxruntime` or `auto`, see `sessions.open_session`.
        cuda: by whom CUDA is reached, `cuda-python` or `pycuda`.
        threads: CPU threads of the engine; None takes all.
        on_start: called once with the session, the pair and the warnings, before the first tile.
        progress: see `Progress`.

    Raises:
        SchangerError: one sentence on what is wrong and what to do.
    """
    _check_options(threshold, batch, min_area, threads)
    began = time.perf_counter()
    with (
        open_pair(before, after, grid=grid, gsd=gsd, bands=bands, nodata=nodata) as pair,
        open_session(model_path(model), device, threads, binding=cuda, progress=progress) as session,
        Staging(Path(output)) as staging,
    ):
        batch = session.best_batch if batch is None else batch
        threshold = session.card.threshold if threshold is None else threshold
        warnings = model_warnings(session.card, pair.grid.gsd, pair.own_gsd(), pair.statistics())
        if on_start:
            on_start(session, pair, warnings)
        opened = time.perf_counter()
        thumbnail = Thumbnail(pair.grid)
        with RasterSink(
            pair.grid, threshold=threshold, probability=staging.path(PROBABILITY), change=staging.path(CHANGE)
        ) as sink:
            flow = predict(
                pair,
                session,
                sink,
                batch=batch,
                progress=_stage(progress, "predict", pair.grid.width * pair.grid.height),
                observe=lambda tile, pixels: thumbnail.add(tile.owned, tile.window, pixels.before, pixels.after),
            )
            predicted = time.perf_counter()
            if not flow.tiles_run:
                raise SceneError("no pixel has data in both images: check that they overlap and their nodata values.")
            counts = sink.finish()
        if counts.valid != flow.valid:
            raise RuntimeError(f"{flow.valid} valid pixels were predicted and {counts.valid} written")
        rasters = time.perf_counter()
        polygons = write_polygons(
            staging.path(CHANGE), staging.path(PROBABILITY), pair.grid, staging.path(POLYGONS), min_area=min_area
        )
        if polygons.left_out:
            warnings.append(
                f"there are {polygons.left_out} more polygons than changes.gpkg takes, the smallest are left out: "
                "raise --threshold or --min-area."
            )
        vectors = time.perf_counter()
        change, valid = read_change_thumbnail(staging.path(CHANGE), thumbnail.width, thumbnail.height)
        write_preview(staging.path(PREVIEW), thumbnail.before, thumbnail.after, change, valid)
        timings = {
            "open": opened - began,
            "predict": predicted - opened,
            "read_busy": flow.read_seconds,
            "infer_busy": flow.infer_seconds,
            "write_busy": flow.write_seconds,
            "finish_rasters": rasters - predicted,
            "polygons": vectors - rasters,
            "preview": time.perf_counter() - vectors,
            "total": time.perf_counter() - began,
        }
        options = {"threshold": threshold, "batch": batch, "grid": grid, "gsd": gsd, "min_area": min_area}
        summary = _summary(pair, session, flow, counts, polygons.written, warnings, options, timings)
        write_summary(staging.path(SUMMARY), summary)
        staging.publish()
    return Detection(Path(output), counts.valid, counts.changed, polygons.written, tuple(warnings), summary)


def _check_options(threshold: float | None, batch: int | None, min_area: float, threads: int | None) -> None:
    if threshold is not None and not 0 <= threshold < 1:
        raise SchangerError(f"threshold must be at least 0 and less than 1, not {threshold}.")
    if batch is not None and batch < 1:
        raise SchangerError(f"batch must be at least 1, not {batch}.")
    if not 0 <= min_area < math.inf:
        raise SchangerError(f"min-area must be a number of square metres from 0 up, not {min_area}.")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise SchangerError(f"threads must lie between 1 and {MAX_THREADS}, not {threads}.")


def _stage(progress: Progress | None, name: str, total: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(name, done, total)


def _summary(
    pair: Pair,
    session: Session,
    flow: Flow,
    counts: RasterCounts,
    polygons: int,
    warnings: Sequence[str],
    options: dict[str, Any],
    timings: dict[str, float],
) -> dict[str, Any]:
    grid = pair.grid
    square_metres = None if grid.gsd is None else grid.gsd**2
    return {
        "schanger_edge": __version__,
        "inputs": {date: dataclasses.asdict(info) for date, info in pair.info().items()},
        "grid": {
            "crs": grid.crs.to_string() if grid.crs else None,
            "transform": list(grid.transform)[:6],
            "width": grid.width,
            "height": grid.height,
            "gsd": grid.gsd,
        },
        "overlap": pair.overlap,
        "model": {
            "file": session.model.name,
            "sha256": session.model_sha256,
            "card": dataclasses.asdict(session.card),
        },
        "device": session.device,
        "engine": account(session, options["batch"]).as_dict(),
        "options": options,
        "tiles": {"run": flow.tiles_run, "skipped": flow.tiles_skipped},
        "pixels": {"total": counts.total, "valid": counts.valid, "changed": counts.changed},
        "changed_share_of_valid": counts.changed / counts.valid,
        "area_m2": {
            "valid": square_metres and counts.valid * square_metres,
            "changed": square_metres and counts.changed * square_metres,
        },
        "polygons": polygons,
        "seconds": {stage: round(seconds, 3) for stage, seconds in timings.items()},
        "megapixels_per_second": counts.total / 1e6 / timings["total"],
        "warnings": list(warnings),
    }
