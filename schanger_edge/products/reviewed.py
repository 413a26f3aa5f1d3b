"""A run's changes after a review: those not rejected, with what was decided; and labels that a model learns from."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.features
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.errors import ReviewError
from schanger_edge.files import reading, writing
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products import POLYGONS
from schanger_edge.products.decisions import ACCEPT, REJECT, UNSURE, Decision
from schanger_edge.products.exchange import rows
from schanger_edge.products.maps import NODATA, opened_map
from schanger_edge.products.polygons import LAYER, Rows, write_rows
from schanger_edge.products.product import Product

LABELS, LOOKED_AT, PAIRS = POLYGONS, "looked-at.gpkg", "pairs.csv"
LABEL_NAMES = (LABELS, LOOKED_AT, PAIRS)
_POLYGON = 3  # shapely's number of the type


def after_review(product: Product) -> Product:
    """The same of the reviewed changes, such as changes-reviewed.gpkg of changes.gpkg."""
    name = product.name.replace("changes", "changes-reviewed", 1)
    return Product(name, f"{product.title}, as reviewed", f"{product.key}_reviewed", product.media_type)


def write_reviewed(package: Path, grid: Grid, decisions: Mapping[int, Decision], target: Path) -> int:
    """Write the changes that were not rejected, with the fields `decision` and `note`; both null where not reviewed.

    Args:
        package: changes.gpkg of the run.
        grid: of the run.
        decisions: by id.
        target: GeoPackage to write.

    Returns:
        How many.

    Raises:
        ProductError: it could not be read or written.
    """
    count = 0

    def batches() -> Iterator[Rows]:
        nonlocal count
        for wkb, columns in _batches(package):
            found = [decisions.get(number) for number in columns["id"].tolist()]
            keep = np.array([one is None or one.decision != REJECT for one in found], bool)
            columns["decision"] = np.array([None if one is None else one.decision for one in found], object)
            columns["note"] = np.array([None if one is None else one.note or None for one in found], object)
            count += int(keep.sum())
            yield wkb[keep], {name: column[keep] for name, column in columns.items()}

    with reading(package):
        write_rows(target, LAYER, grid, batches())
    return count


def write_labels(
    folder: Path, images: Collection[str], package: Path, change: Path, decisions: Mapping[int, Decision], around: int
) -> tuple[int, int]:
    """Write what `dataset make` takes: the accepted changes as labels, the ground that was looked at, and the pair.

    Looked at is what lies within `around` pixels of a change that was accepted or rejected, so that every tile of this
    side that touches it fits in; not that under a change that is unsure or was not reviewed, nor that without data.

    Args:
        folder: where to write `LABEL_NAMES`.
        images: the two dates.
        package: changes.gpkg of the run.
        change: change.tif of the run.
        decisions: by id.
        around: pixels.

    Returns:
        How many changes were accepted, and how many rejected.

    Raises:
        ReviewError: none was.
        ProductError: a file could not be read or written.
    """
    import shapely

    grid = grid_of(change)
    parts = {kind: [np.empty(0, object)] for kind in (ACCEPT, REJECT, UNSURE)}
    for wkb, columns in _batches(package):
        kinds = np.array([_kind(decisions.get(number)) for number in columns["id"].tolist()], object)
        for kind, chosen in parts.items():
            chosen.append(shapely.from_wkb(wkb[kinds == kind]))
    accepted, rejected, doubtful = (np.concatenate(chosen) for chosen in parts.values())
    known = np.concatenate([accepted, rejected])
    if not known.size:
        raise ReviewError("no change was accepted or rejected, so there is nothing to learn from: review some first.")
    looked_at = shapely.difference(_ground(change, grid, known, around), shapely.union_all(doubtful))
    polygons = shapely.get_parts(looked_at)
    polygons = polygons[shapely.get_type_id(polygons) == _POLYGON]
    for name, shapes in ((LABELS, accepted), (LOOKED_AT, polygons)):
        write_rows(folder / name, Path(name).stem, grid, [(shapely.to_wkb(shapes), {})])
    with writing(folder / PAIRS), (folder / PAIRS).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([("before", "after", "label", "area"), (*images, LABELS, LOOKED_AT)])
    return len(accepted), len(rejected)


def grid_of(raster: Path) -> Grid:
    """The grid of a run, by one of its maps.

    Raises:
        ProductError: it could not be read.
    """
    with opened_map(raster) as dataset:
        return Grid(dataset.crs, dataset.transform, dataset.width, dataset.height)


def _kind(decision: Decision | None) -> str:
    """What is not reviewed is as doubtful as what the reviewer is unsure of."""
    return UNSURE if decision is None else decision.decision


def _batches(package: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    import pyogrio.errors

    with reading(package):
        try:
            yield from rows(package, LAYER)
        except pyogrio.errors.DataSourceError as error:
            raise OSError(str(error)) from error


def _ground(change: Path, grid: Grid, shapes: NDArray[np.object_], around: int) -> Any:
    """What has data within so many pixels of shapes, as one shape in the grid's CRS."""
    import shapely
    import shapely.geometry

    found = []
    with opened_map(change, grid.width) as dataset:
        for bounds in shapely.bounds(shapes):
            window = _window(grid, bounds, around)
            known = dataset.read(1, window=window.rasterio) != NODATA
            place = grid.transform @ Affine.translation(window.col_off, window.row_off)
            outlines = rasterio.features.shapes(known.view(np.uint8), mask=known, transform=place)
            found += [shapely.geometry.shape(outline) for outline, _ in outlines]
    return shapely.union_all(found)


def _window(grid: Grid, bounds: NDArray[np.float64], around: int) -> Window:
    """The pixels within so many of a box in the CRS, as far as the grid goes."""
    left, bottom, right, top = bounds
    cols, rows_ = grid.pixel(np.array([left, right, left, right]), np.array([bottom, bottom, top, top]))
    start = [max(0, round(float(values.min())) - around) for values in (cols, rows_)]
    sides = ((cols, grid.width), (rows_, grid.height))
    end = [min(size, round(float(values.max())) + around) for values, size in sides]
    return Window(start[0], start[1], end[0] - start[0], end[1] - start[1])
