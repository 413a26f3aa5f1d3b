"""How QGIS draws the polygons: a style inside the GeoPackage, taken up when the layer is opened."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

FIELD = "probability_mean"
_RANGES = (
    (0.0, 0.6, "below 0.6", "255,235,120"),
    (0.6, 0.7, "0.6 to 0.7", "254,196,79"),
    (0.7, 0.8, "0.7 to 0.8", "254,140,40"),
    (0.8, 0.9, "0.8 to 0.9", "230,60,25"),
    (0.9, 1.0, "0.9 and more", "165,0,38"),
)
"""Of the field, with RGB: from light to dark, so that every kind of colour blindness tells them apart."""
_FILL_ALPHA = 80
_UPDATE_TIME = "2000-01-01T00:00:00.000Z"
"""One for all files: the style is the program's, not the run's."""
_COLUMNS = {
    "f_table_catalog": "TEXT(256)",
    "f_table_schema": "TEXT(256)",
    "f_table_name": "TEXT(256)",
    "f_geometry_column": "TEXT(256)",
    "styleName": "TEXT(30)",
    "styleQML": "TEXT",
    "styleSLD": "TEXT",
    "useAsDefault": "BOOLEAN",
    "description": "TEXT",
    "owner": "TEXT(30)",
    "ui": "TEXT(30)",
    "update_time": "DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))",
}


def add_style(path: Path, layer: str, geometry: str = "geom") -> None:
    """Put the style in a GeoPackage as QGIS does: in a table `layer_styles`, as the layer's default.

    Args:
        path: a GeoPackage that no one has open and that has no styles.
        layer: name of a layer of polygons with the field `probability_mean`.
        geometry: its geometry column.

    Raises:
        sqlite3.Error: the file could not be written.
    """
    columns = ", ".join(f'"{name}" {kind}' for name, kind in _COLUMNS.items())
    values = ("", "", layer, geometry, layer, qml(), "", True, "mean probability of change", "", None, _UPDATE_TIME)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute(f'CREATE TABLE "layer_styles" ("id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, {columns})')
        names, places = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
        file.execute(f"INSERT INTO layer_styles ({names}) VALUES ({places})", values)
        file.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', '', 0)"
        )


def qml() -> str:
    """The style as QGIS 3 reads it: outlines and light fills in five classes of mean probability, no labels.

    Properties stand as `prop`, the form that every version reads.
    """
    ranges = "".join(
        f'<range lower="{lower}" upper="{upper}" symbol="{index}" label="{label}" render="true"/>'
        for index, (lower, upper, label, _) in enumerate(_RANGES)
    )
    symbols = "".join(_symbol(index, color) for index, (*_, color) in enumerate(_RANGES))
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"
        '<qgis version="3.16" styleCategories="Symbology|Labeling" labelsEnabled="0">'
        f'<renderer-v2 type="graduatedSymbol" attr="{FIELD}" graduatedMethod="GraduatedColor" symbollevels="0" '
        f'forceraster="0" enableorderby="0"><ranges>{ranges}</ranges><symbols>{symbols}</symbols></renderer-v2></qgis>'
    )


def _symbol(index: int, color: str) -> str:
    properties = {
        "color": f"{color},{_FILL_ALPHA}",
        "style": "solid",
        "outline_color": f"{color},255",
        "outline_style": "solid",
        "outline_width": "0.5",
        "outline_width_unit": "MM",
        "joinstyle": "miter",
    }
    props = "".join(f'<prop k="{key}" v="{value}"/>' for key, value in properties.items())
    layer = f'<layer class="SimpleFill" enabled="1" locked="0" pass="0">{props}</layer>'
    return f'<symbol type="fill" name="{index}" alpha="1" clip_to_extent="1" force_rhr="0">{layer}</symbol>'
