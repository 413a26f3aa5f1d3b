"""The polygons as FlatGeobuf, GeoJSON, KML and Shapefile, which GDAL writes."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

from schanger_edge.files import writing
from schanger_edge.geo.grid import Grid
from schanger_edge.products.exchange import count, errors, field_names, opened, torn
from schanger_edge.products.product import PolygonFormat, Product

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""A ZIP file's first date: that of every file inside, so that the same polygons give the same bytes."""


def write_flatgeobuf(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write FlatGeobuf, which web maps read piece by piece; its spatial index sets the order of the rows.

    Args:
        package: the GeoPackage.
        layer: its layer of polygons.
        grid: of the scene, for the CRS.
        target: file to write; replaced where it exists.

    Raises:
        ProductError: the file could not be written.
    """
    with writing(target, *errors()):
        _write(package, layer, grid, target, driver="FlatGeobuf")


def write_geojson(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write GeoJSON in WGS 84, as RFC 7946 wants it; for the rest see `write_flatgeobuf`."""
    with writing(target, *errors()):
        _write(package, layer, grid, target, b"]\n}\n", driver="GeoJSON", layer_options={"RFC7946": "YES"})


def write_kml(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write KML, which is in WGS 84: places are named by their id; for the rest see `write_flatgeobuf`."""
    named = "*, CAST(id AS TEXT) AS Name"
    with writing(target, *errors()):
        _write(package, layer, grid, target, b"</kml>\n", fields=named, driver="KML")


def write_shapefile(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write a ZIP file with a Shapefile, which is several files of one name; for the rest see `write_flatgeobuf`.

    Its field names have ten letters at most: `prob_mean` and `prob_max`.
    """
    names = ((name, name.replace("probability", "prob")) for name in field_names(package, layer))
    fields = ", ".join(["geom", *(f"{name} AS {short}" for name, short in names)])
    options = {"ENCODING": "UTF-8", "DBF_DATE_LAST_UPDATE": "2000-01-01"}
    with writing(target, *errors()), tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as made:
        shapes = Path(made) / f"{layer}.shp"
        _write(package, layer, grid, shapes, fields=fields, driver="ESRI Shapefile", layer_options=options)
        with zipfile.ZipFile(target, "w") as packed:
            for part in sorted(shapes.parent.iterdir()):
                about = zipfile.ZipInfo(part.name, _EARLIEST)
                about.compress_type, about.file_size = zipfile.ZIP_DEFLATED, part.stat().st_size
                with part.open("rb") as source, packed.open(about, "w") as entry:
                    shutil.copyfileobj(source, entry)


def _write(
    package: Path, layer: str, grid: Grid, target: Path, end: bytes = b"", *, fields: str = "*", **options: Any
) -> None:
    """Write a file and check that it is whole, by its number of rows; a text, too large to read back, by its `end`."""
    import pyogrio.raw

    target.unlink(missing_ok=True)
    with warnings.catch_warnings(), opened(package, layer, fields) as (info, stream):
        warnings.filterwarnings("ignore", message="'crs' was not provided")  # plain images have none
        pyogrio.raw.write_arrow(
            stream,
            target,
            layer=layer,
            geometry_name=info["geometry_name"],
            geometry_type="Polygon",
            crs=None if grid.crs is None else grid.crs.to_wkt(),
            **options,
        )
    if end:
        with target.open("rb") as file:
            file.seek(max(target.stat().st_size - len(end), 0))
            whole = file.read() == end
    else:
        whole = count(target) == count(package, layer)
    if not whole:
        raise torn()


FLATGEOBUF = PolygonFormat(
    Product("changes.fgb", "Changed areas as polygons", "polygons_flatgeobuf", "application/vnd.flatgeobuf"),
    write_flatgeobuf,
)
GEOJSON = PolygonFormat(
    Product("changes.geojson", "Changed areas as polygons, WGS 84", "polygons_geojson", "application/geo+json"),
    write_geojson,
    on_earth=True,
)
KML = PolygonFormat(
    Product("changes.kml", "Changed areas for Google Earth", "polygons_kml", "application/vnd.google-earth.kml+xml"),
    write_kml,
    on_earth=True,
)
SHAPEFILE = PolygonFormat(
    Product("changes.shp.zip", "Changed areas as a Shapefile", "polygons_shapefile", "application/zip"), write_shapefile
)
