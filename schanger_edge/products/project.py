"""The run as a QGIS project: both dates, the maps and the polygons, found relative to the project's folder."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rasterio.crs import CRS

from schanger_edge.files import writing
from schanger_edge.geo.grid import Grid
from schanger_edge.geo.vrt import element, escape
from schanger_edge.products import CHANGE, POLYGONS, PROBABILITY, PROJECT
from schanger_edge.products.polygons import LAYER
from schanger_edge.products.product import Product
from schanger_edge.products.stac import href
from schanger_edge.products.style import change_pipe, picture_pipe, polygon_style, probability_pipe

PRODUCT = Product(PROJECT, "The run as a QGIS project", "qgis_project", "application/x-qgis-project", "metadata")
_VERSION = "3.16.0"
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
    content: Sequence[str]
    provider: str = "gdal"
    shown: bool = True

    @property
    def id(self) -> str:
        """QGIS makes up another for one of less than eleven letters."""
        return f"schanger_edge_{self.key}"


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
    polygons = _Layer("changes", "Changes", source, grid.crs, polygon_style(), provider="ogr")
    layers = [
        *([polygons] if grid.georeferenced else []),
        _Layer("change", "Change", f"./{CHANGE}", grid.crs, [change_pipe()], shown=False),
        _Layer("probability", "Probability", f"./{PROBABILITY}", grid.crs, [probability_pipe()], shown=False),
        *(_picture(date, pictures[date], folder) for date in ("after", "before")),
    ]
    with writing(target), zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        about = zipfile.ZipInfo(target.with_suffix(".qgs").name, _EARLIEST)
        packed.writestr(about, _document(grid, layers), zipfile.ZIP_DEFLATED)


def _picture(date: str, picture: Picture, folder: Path) -> _Layer:
    content = [picture_pipe(picture.bands, picture.limits)] if picture.bands else []
    return _Layer(date, date.capitalize(), _source(picture.path, folder), picture.crs, content)


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


def _document(grid: Grid, layers: Sequence[_Layer]) -> str:
    west, south, east, north = grid.bounds if grid.georeferenced else (0, -grid.height, grid.width, 0)
    extent = (
        element("extent", *(element(name, repr(float(value))) for name, value in sides))
        for sides in [(("xmin", west), ("ymin", south), ("xmax", east), ("ymax", north))]
    )
    crs = _crs(grid.crs)
    tree = (
        element(
            "layer-tree-layer",
            id=layer.id,
            name=layer.name,
            source=layer.source,
            providerKey=layer.provider,
            checked="Qt::Checked" if layer.shown else "Qt::Unchecked",
            expanded=0,
        )
        for layer in layers
    )
    content = (
        element("title", "Change"),
        element("projectCrs", crs),
        element("layer-tree-group", *tree),
        element("mapcanvas", *extent, element("destinationsrs", crs), name="theMapCanvas"),
        element("projectlayers", *map(_map_layer, layers)),
        element(
            "properties",
            element("Paths", element("Absolute", "false", type="bool")),
            element("SpatialRefSys", element("ProjectionsEnabled", str(int(grid.crs is not None)), type="int")),
        ),
    )
    document = element("qgis", *content, projectname="", version=_VERSION)
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>{document}"


def _map_layer(layer: _Layer) -> str:
    vector = layer.provider == "ogr"
    attributes = {"type": "vector", "geometry": "Polygon", "labelsEnabled": 1} if vector else {"type": "raster"}
    return element(
        "maplayer",
        element("id", layer.id),
        element("datasource", escape(layer.source)),
        element("layername", layer.name),
        element("srs", _crs(layer.crs)),
        element("provider", layer.provider),
        *layer.content,
        **attributes,
    )


def _crs(crs: CRS | None) -> str:
    if crs is None:
        return element("spatialrefsys")
    return element("spatialrefsys", element("wkt", escape(crs.to_wkt(version="WKT2_2019"))), nativeFormat="Wkt")
