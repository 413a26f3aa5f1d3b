"""Whether two images can be laid on one grid, and how much of it both show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SceneError
from schanger_edge.geo.crs import transformer
from schanger_edge.geo.grid import Grid
from schanger_edge.scene.image import SceneImage

PROBES = 65  # points along each axis at which the overlap is judged


def check_comparable(target: SceneImage, other: SceneImage) -> None:
    """Raise a SceneError where the two cannot be brought onto one grid."""
    a, b = target.grid, other.grid
    if not a.georeferenced and not b.georeferenced:
        if (a.width, a.height) != (b.width, b.height):
            raise SceneError(
                f"the images have no georeference and differ in size ({a.width} x {a.height} and "
                f"{b.width} x {b.height}): crop them to the same pixels or give GeoTIFFs."
            )
        return
    for image, has, what, mend in (
        (target, a.georeferenced, "georeference", "-a_srs and -a_ullr"),
        (other, b.georeferenced, "georeference", "-a_srs and -a_ullr"),
        (target, a.crs is not None or b.crs is None, "CRS", "-a_srs"),
        (other, b.crs is not None or a.crs is None, "CRS", "-a_srs"),
    ):
        if not has:
            raise SceneError(f"{image.name} has no {what} but the other image has one: set it with gdal_edit {mend}.")


def overlap_share(grid: Grid, other: SceneImage) -> float:
    """Share of points of the grid that fall inside the other image.

    Raises:
        SceneError: the other image lies elsewhere, or its CRS cannot be reached.
    """
    cols, rows = np.meshgrid(np.linspace(0, grid.width, PROBES), np.linspace(0, grid.height, PROBES))
    x, y = grid.xy(cols, rows)
    if grid.crs is not None and other.grid.crs is not None and grid.crs != other.grid.crs:
        x, y = _transformed(grid, other, x, y)
    with np.errstate(invalid="ignore"):  # of points that cannot be projected
        col, row = other.grid.pixel(x, y)
    inside = (col >= 0) & (row >= 0) & (col <= other.grid.width) & (row <= other.grid.height)
    if not inside.any() and not _boxes_touch(col, row, other.grid):
        raise SceneError(
            f"the images do not overlap: {other.name} lies elsewhere. Check that both show one place and that "
            "their CRSs are right."
        )
    return float(inside.mean())


def _transformed(grid: Grid, other: SceneImage, x: Any, y: Any) -> tuple[Any, Any]:
    """The points in the other image's CRS; infinity where one cannot be projected."""
    from pyproj.exceptions import ProjError

    try:
        to_other = transformer(grid.crs, other.grid.crs)
    except ProjError as error:
        raise SceneError(f"{other.name} cannot be reprojected onto the other image's CRS: {error}") from error
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
