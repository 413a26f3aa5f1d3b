"""What summary.json says of a run."""

from __future__ import annotations

import dataclasses
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.geo.areas import pixel_area
from schanger_edge.products.polygons import PolygonCount
from schanger_edge.products.rasters import RasterCounts
from schanger_edge.run.predict import Flow
from schanger_edge.run.stages import Run
from schanger_edge.sessions.engine_report import engine_report


def summarize(run: Run, flow: Flow, counts: RasterCounts, polygons: PolygonCount) -> dict[str, Any]:
    """The content of summary.json.

    Args:
        run: when all its stages but the summary are done.
        flow: what this run predicted; the rest was taken over from an earlier one.
        counts: pixels and tiles of the whole scene; of change what change.tif holds.
        polygons: those in changes.gpkg, and the areas that were too small.
    """
    pair, session, total = run.pair, run.session, run.laps.total
    busy = {"read_busy": flow.read_seconds, "infer_busy": flow.infer_seconds, "write_busy": flow.write_seconds}
    seconds = {**run.laps.seconds, **busy, "total": total}
    grid = pair.grid
    square_metres = pixel_area(grid)
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
        "crs_operation": None if pair.operation is None else pair.operation._asdict(),
        "model": {"file": session.model.name, "sha256": session.model_sha256, "card": dataclasses.asdict(session.card)},
        "device": session.device,
        "engine": engine_report(session, run.options.engine.batch_size or 1).as_dict(),
        "registration": None if run.registered is None else run.registered.summary(),
        "options": run.options.as_json(),
        "tiles": {
            "side": run.tile,
            "run": counts.tiles_run,
            "skipped": counts.tiles_skipped,
            "taken_over": counts.tiles_run + counts.tiles_skipped - flow.tiles_run - flow.tiles_skipped,
        },
        "pixels": {"total": counts.total, "valid": counts.valid, "changed": counts.changed},
        "changed_share_of_valid": counts.changed / counts.valid,
        "area_m2": {
            "valid": square_metres and counts.valid * square_metres,
            "changed": square_metres and counts.changed * square_metres,
        },
        "polygons": polygons.written,
        "changes_sha256": polygons.sha256,
        "too_small": {"areas": polygons.small, "pixels": polygons.small_pixels},
        "seconds": {stage: round(lasted, 3) for stage, lasted in seconds.items()},
        "megapixels_per_second": flow.pixels / 1e6 / total,
        "products": {product.name: product.title for product in run.products},
        "warnings": list(run.warnings),
    }
