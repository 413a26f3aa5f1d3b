"""The run as a QGIS project: both dates, the maps and the polygons, found relative to the project's folder."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rasterio.crs import CRS

from schanger_edge.files import writing
from schanger_edge.geo.grid import Grid
from schanger_edge.products import CHANGE, POLYGONS, PROBABILITY, PROJECT
from schanger_edge.products.polygons import LAYER
from schanger_edge.products.product import Product
from schanger_edge.products.rendering import rendered
from schanger_edge.products.stac import href

PRODUCT = Product(PROJECT, "The run as a QGIS project", "qgis_project", "application/x-qgis-project", "metadata")
_REMOTE = ("s3", "gs", "az", "oss")
"""Schemes that GDAL has a file system of its own for."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""A ZIP file's first date: the same run gives the same bytes."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """One date as the project shows it.

    Attributes:
        path: its image, as GDAL opens it.
        crs: its own; None for a plain image.
        bands: of red, green and blue; empty where the file has its own colours.
        limits: darkest and brightest value of each; None where they are bytes.
    """

    path: str
    crs: CRS | None
    bands: Sequence[int]
    limits: Sequence[tuple[float, float]] | None


@dataclasses.dataclass(frozen=True)
class _Layer:
    key: str
    name: str
    source: str
    crs: CRS | None
    style: str
    provider: str = "gdal"
    shown: bool = True


def write_project(target: Path, grid: Grid, pictures: Mapping[str, Picture], folder: Path) -> None:
    """Write a project for QGIS 3.16 and later.

    Shown at first are the later date and the polygons on it.

    Where a plain image has no georeference, QGIS turns its rows upwards, so the polygons would not lie on it: they are
    left out.

    Args:
        target: file to write.
        grid: of the products.
        pictures: the images, by `before` and `after`.
        folder: where the project will lie: images on the same disk are found relative to it.

    Raises:
        ProductError: the file could not be written.
    """
    source = f"./{POLYGONS}|layername={LAYER}"
    polygons = _Layer("changes", "Changes", source, grid.crs, rendered("polygons.xml"), provider="ogr")
    layers = [
        *([polygons] if grid.georeferenced else []),
        _Layer("change", "Change", f"./{CHANGE}", grid.crs, rendered("change.xml"), shown=False),
        _Layer("probability", "Probability", f"./{PROBABILITY}", grid.crs, rendered("probability.xml"), shown=False),
        *(_picture(date, pictures[date], folder) for date in ("after", "before")),
    ]
    bounds = tuple(map(float, grid.bounds if grid.georeferenced else (0, -grid.height, grid.width, 0)))
    with writing(target), zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        about = zipfile.ZipInfo(target.with_suffix(".qgs").name, _EARLIEST)
        project = rendered("project.qgs", layers=layers, bounds=bounds, crs=grid.crs)
        packed.writestr(about, project, zipfile.ZIP_DEFLATED)


def _picture(date: str, picture: Picture, folder: Path) -> _Layer:
    style, colors = "", ("red", "green", "blue")
    if picture.bands:
        style = rendered("picture.xml", colors=colors, bands=picture.bands, limits=picture.limits or ())
    return _Layer(date, date.capitalize(), _source(picture.path, folder), picture.crs, style)


def _source(path: str, folder: Path) -> str:
    """What GDAL opens: relative to the folder where both lie on one disk."""
    link = href(path, folder)
    scheme, _, rest = link.partition("://")
    if scheme == "file":
        return str(Path(path).resolve())
    if scheme in _REMOTE:
        return f"/vsi{scheme}/{rest}"
    if rest:
        return f"/vsicurl/{link}"
    return link if link.startswith(("/", ".")) else f"./{link}"
