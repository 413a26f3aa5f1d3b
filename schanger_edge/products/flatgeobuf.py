"""The polygons as FlatGeobuf, which web maps read piece by piece."""

from __future__ import annotations

import sqlite3
import warnings
from pathlib import Path

from schanger_edge.files import writing
from schanger_edge.geo.grid import Grid
from schanger_edge.products.exchange import opened
from schanger_edge.products.product import PolygonFormat, Product


def write_flatgeobuf(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write FlatGeobuf; its spatial index sets the order of the rows.

    Args:
        package: the GeoPackage.
        layer: its layer of polygons.
        grid: of the scene, for the CRS.
        target: file to write; replaced where it exists.

    Raises:
        ProductError: the file could not be written.
    """
    import pyogrio.errors
    import pyogrio.raw

    errors = [kind for kind in vars(pyogrio.errors).values() if isinstance(kind, type) and kind is not RuntimeError]
    with writing(target, sqlite3.Error, *errors), warnings.catch_warnings(), opened(package, layer) as (info, stream):
        warnings.filterwarnings("ignore", message="'crs' was not provided")  # plain images have none
        target.unlink(missing_ok=True)
        pyogrio.raw.write_arrow(
            stream,
            target,
            layer=layer,
            driver="FlatGeobuf",
            geometry_name=info["geometry_name"],
            geometry_type="Polygon",
            crs=None if grid.crs is None else grid.crs.to_wkt(),
        )
        written = pyogrio.read_info(target, force_feature_count=True)["features"]
        if written != pyogrio.read_info(package, layer=layer, force_feature_count=True)["features"]:
            raise OSError("parts of the file are missing")


FORMAT = PolygonFormat(
    Product("changes.fgb", "Changed areas as polygons", "polygons_flatgeobuf", "application/vnd.flatgeobuf"),
    write_flatgeobuf,
)
