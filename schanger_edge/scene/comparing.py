"""Whether two images can be laid on one grid, and how much of it both show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SceneError
from schanger_edge.geo.crs import Operation, operation, transformer
from schanger_edge.geo.grid import Grid, toward
from schanger_edge.scene.image import SceneImage

PROBES = 65  # points along each axis at which the overlap is judged


def check_comparable(target: SceneImage, other: SceneImage) -> None:
    """Raise a SceneError where the two cannot be brought onto one grid."""
    a, b = target.grid, other.grid
    if not a.georeferenced and not b.georeferenced:
        if (a.width, a.height) != (b.width, b.height):
            raise SceneError(
                f"the images have no georeference and differ in size ({a.width} x {a.height} and {b.width} x "
                f"{b.height}): crop them to the same pixels, or use GeoTIFFs."
            )
        return
    for image, has, what, mend in (
        (target, a.georeferenced, "georeference", "-a_srs and -a_ullr"),
        (other, b.georeferenced, "georeference", "-a_srs and -a_ullr"),
        (target, a.crs is not None or b.crs is None, "CRS", "-a_srs"),
        (other, b.crs is not None or a.crs is None, "CRS", "-a_srs"),
    ):
        if not has:
            raise SceneError(f"{image.name} has no {what}, but the other image has one: set it with gdal_edit {mend}.")


def overlap_share(grid: Grid, other: SceneImage) -> float:
    """Share of points of the grid that fall inside the other image.

    Raises:
        SceneError: the other image lies elsewhere, or its CRS cannot be reached.
    """
    cols, rows = np.meshgrid(np.linspace(0, grid.width, PROBES), np.linspace(0, grid.height, PROBES))
    x, y = grid.xy(cols, rows)
    own = toward(other.grid, grid)
    if grid.crs is not None and own.crs is not None and grid.crs != own.crs:
        x, y = _transformed(grid, own, other.name, x, y)
    with np.errstate(invalid="ignore"):  # of points that cannot be projected
        col, row = own.pixel(x, y)
    inside = (col >= 0) & (row >= 0) & (col <= own.width) & (row <= own.height)
    if not inside.any() and not _boxes_touch(col, row, own):
        raise SceneError(
            f"the images do not overlap: {other.name} is elsewhere. Check that both show the same place and that "
            "their CRSs are right."
        )
    return float(inside.mean())


def datum_operation(target: Grid, source: Grid) -> Operation | None:
    """The operation between the CRSs of two grids, about the target's place; None where they have the same or none."""
    if target.crs is None or source.crs is None or target.crs == source.crs:
        return None
    cols, rows = zip(*target.corners, strict=True)
    found = target.lonlat(np.array(cols, float), np.array(rows, float))
    bounds = None
    if found is not None and np.isfinite(found).all() and np.ptp(found[0]) < 180:
        lon, lat = found
        bounds = float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())
    return operation(source.crs, target.crs, bounds)


def datum_warnings(name: str, found: Operation | None, gsd: float | None) -> list[str]:
    """What makes it doubtful that the image called so lies where it should."""
    if found is None:
        return []
    better = f"; a better operation needs {', '.join(found.missing)}: get it with projsync" if found.missing else ""
    if found.ballpark:
        doubt = "PROJ knows no operation between the two datums here and takes them for one, which may be 200 m off"
    elif found.accuracy is None:
        doubt = "PROJ doesn't know how accurate the operation between the two datums is"
    elif gsd is not None and found.accuracy > gsd:
        doubt = f"the operation between the two datums is accurate to {found.accuracy:g} m, more than a pixel"
    else:
        return []
    return [f"{name} is reprojected to another datum: {doubt}{better}; give both dates in one CRS, or see --align."]


def _transformed(grid: Grid, own: Grid, name: str, x: Any, y: Any) -> tuple[Any, Any]:
    """The points in the other image's CRS; infinity where one cannot be projected."""
    from pyproj.exceptions import ProjError

    try:
        to_other = transformer(grid.crs, own.crs)
    except ProjError as error:
        raise SceneError(f"{name} cannot be reprojected to the other image's CRS: {error}") from error
    x, y = to_other.transform(x, y)
    return x, y


def _boxes_touch(col: NDArray[np.float64], row: NDArray[np.float64], other: Grid) -> bool:
    """True where the other image might lie between the points: then reading decides."""
    finite = np.isfinite(col) & np.isfinite(row)
    if not finite.any():
        return False
    return bool(
        col[finite].min() < other.width
        and col[finite].max() > 0
        and row[finite].min() < other.height
        and row[finite].max() > 0
    )
