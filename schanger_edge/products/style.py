"""How QGIS draws a run's results: `.qml` files beside the maps, and a style inside the GeoPackage.

QGIS takes all of them up when a layer is opened. They are read by QGIS 3.16 and later.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from schanger_edge.files import writing
from schanger_edge.geo.vrt import element
from schanger_edge.products import CHANGE, PROBABILITY
from schanger_edge.products.product import Product
from schanger_edge.products.rendering import rendered

QML = "application/x-qgis-style"
CHANGE_STYLE = Product(CHANGE.replace(".tif", ".qml"), "QGIS style of the change map", "change_style", QML, "metadata")
PROBABILITY_STYLE = Product(
    PROBABILITY.replace(".tif", ".qml"), "QGIS style of the probability map", "probability_style", QML, "metadata"
)

_UPDATE_TIME = "2000-01-01T00:00:00.000Z"
"""One for all files: the style is the program's, not the run's."""
_TABLE = Path(__file__).with_name("templates") / "layer_styles.sql"


def add_style(path: Path, layer: str, geometry: str = "geom") -> None:
    """Put the style in a GeoPackage as QGIS does: in a table `layer_styles`, as the layer's default.

    Args:
        path: a GeoPackage that no one has open and that has no styles.
        layer: name of a layer of polygons with the field `probability_mean`.
        geometry: its geometry column.

    Raises:
        sqlite3.Error: the file could not be written.
    """
    qml = _document("Symbology|Labeling|Fields|MapTips", rendered("polygons.xml"), labelsEnabled=1)
    values = ("", "", layer, geometry, layer, qml, "", True, "mean probability of change", "", None, _UPDATE_TIME)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute(" ".join(_TABLE.read_text(encoding="utf-8").split()))
        file.execute(f"INSERT INTO layer_styles VALUES (NULL, {', '.join('?' * len(values))})", values)
        file.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', '', 0)"
        )


def write_raster_styles(change: Path, probability: Path) -> None:
    """Write the two `.qml` files that QGIS looks for beside the maps.

    Raises:
        ProductError: one could not be written.
    """
    for path, pipe in ((change, "change.xml"), (probability, "probability.xml")):
        with writing(path):
            path.write_text(_document("AllStyleCategories", rendered(pipe)), encoding="utf-8")


def _document(categories: str, style: str, **attributes: object) -> str:
    style = element("qgis", style, version="3.16", styleCategories=categories, **attributes)
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>{style}"
