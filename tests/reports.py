"""Reports of made-up maps, without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from helpers import write_maps, write_tiff
from rasterio.crs import CRS

from schanger_edge.geo.grid import Grid
from schanger_edge.products.polygons import write_polygons
from schanger_edge.products.report.page import Report
from schanger_edge.products.shaping import Shaping
from schanger_edge.products.thumbnail import Thumbnail

UTM = CRS.from_epsg(32631)
HALF_METRE = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)


def make_report(
    folder: Path,
    change: np.ndarray,
    *,
    crs: CRS | None = UTM,
    photos: Any = None,
    probability: Any = None,
    valid: Any = None,
) -> tuple[Report, Grid]:
    """A report on maps made from arrays; all of its windows are added."""
    height, width = change.shape
    grid = Grid(crs, HALF_METRE if crs else Affine.identity(), width, height)
    valid = np.ones_like(change) if valid is None else valid
    probability = np.where(change, 0.9, 0.1) if probability is None else probability
    before, after = (np.full((3, height, width), value, np.uint8) for value in (60, 180)) if photos is None else photos
    paths = {"probability": folder / "probability.tif", "change": folder / "change.tif"}
    write_maps(folder, grid, probability, valid)
    write_polygons(paths["change"], paths["probability"], grid, folder / "changes.gpkg", Shaping(min_area=0))
    thumbnail = Thumbnail(grid)
    thumbnail.add(grid.window, before, after, valid)
    report = Report(grid, thumbnail, folder / "changes.gpkg", paths["probability"])
    for window in report.windows:
        rows, cols = window.slices_in(grid.window)
        report.add(window, before[:, rows, cols], after[:, rows, cols], valid[rows, cols])
    return report, grid


def summary_of(grid: Grid, **changes: Any) -> dict[str, Any]:
    """As `detect` makes it."""
    image = {"path": "/data/a.tif", "width": grid.width, "height": grid.height, "crs": "EPSG:32631", "gsd": 0.5,
             "dtype": "uint8", "bands": (1, 2, 3), "resampling": "none", "stretch": None,
             "match": None, "valid_masks": (), "date": None}  # fmt: skip
    card = {"name": "m", "precision": "fp32", "dataset": "d", "gsd": None, "tile": 64, "halo": 4, "license": "",
            "scores": {"levir/val": {"f1": 0.826}}}  # fmt: skip
    return {
        "schanger_edge": "1", "inputs": {"before": image, "after": image | {"path": "b.tif"}},
        "grid": {"crs": "EPSG:32631", "width": grid.width, "height": grid.height, "gsd": grid.gsd},
        "overlap": 1.0, "model": {"file": "m.onnx", "sha256": "0" * 64, "card": card}, "device": "CPU",
        "options": {"threshold": 0.5, "batch_size": 1, "grid": "before", "gsd": None, "min_area": 0.0, "clip": None,
                    "dates": None, "simplify": 0.0, "fill_holes": 0.0},
        "registration": None, "tiles": {"run": 1, "skipped": 0, "taken_over": 0},
        "pixels": {"total": 100, "valid": 96, "changed": 12},
        "changed_share_of_valid": 0.125, "area_m2": {"valid": 24.0, "changed": 3.0}, "polygons": 3,
        "changes_sha256": "c" * 64,
        "too_small": {"areas": 0, "pixels": 0},
        "seconds": {"total": 1.0}, "megapixels_per_second": 1.0, "warnings": [], **changes,
    }  # fmt: skip


def three_blobs() -> np.ndarray:
    change = np.zeros((120, 160), bool)
    change[10:40, 20:60] = True
    change[15:25, 30:40] = False  # a hole
    change[60:70, 100:130] = True
    change[100, 5] = True
    return change


def make_result(
    folder: Path, change: np.ndarray, *, photos: Any = None, crs: CRS | None = UTM, **more: Any
) -> dict[str, Any]:
    """A folder as a run leaves it, as far as a review needs it, with both images; its summary."""
    folder.mkdir(parents=True, exist_ok=True)
    report, grid = make_report(folder, change, photos=photos, crs=crs, **more)
    place = {"crs": None} if crs is None else {"crs": crs, "transform": grid.transform}
    images = [np.zeros((3, *change.shape), np.uint8) + grey for grey in (60, 180)] if photos is None else photos
    paths = [
        write_tiff(folder.parent / name, image, **place) for name, image in zip(("a.tif", "b.tif"), images, strict=True)
    ]
    summary = summary_of(grid, polygons=len(report._places), products={"changes.gpkg": "Changed areas as polygons"})
    for date, path in zip(("before", "after"), paths, strict=True):
        summary["inputs"][date] = summary["inputs"][date] | {"path": str(path)}
    report.write(folder / "report.html", summary)
    (folder / "summary.json").write_text(json.dumps(summary))
    return summary


def decisions_of(summary: dict[str, Any], *decided: tuple[int, str] | tuple[int, str, str]) -> dict[str, Any]:
    """As the report saves them."""
    entries = [dict(zip(("id", "decision", "note"), (*one, ""), strict=False)) for one in decided]
    head = {"format": "schanger-edge decisions", "version": 1, "changes_sha256": summary["changes_sha256"]}
    return head | {"decisions": entries}
