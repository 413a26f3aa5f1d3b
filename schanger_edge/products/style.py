"""How QGIS draws a run's results: `.qml` files beside the maps, and a style inside the GeoPackage.

QGIS takes all of them up when a layer is opened. They are read by QGIS 3.16 and later.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from schanger_edge.files import writing
from schanger_edge.geo.vrt import element, escape
from schanger_edge.products import CHANGE, PROBABILITY
from schanger_edge.products.product import Product

QML = "application/x-qgis-style"
CHANGE_STYLE = Product(CHANGE.replace(".tif", ".qml"), "QGIS style of the change map", "change_style", QML, "metadata")
PROBABILITY_STYLE = Product(
    PROBABILITY.replace(".tif", ".qml"), "QGIS style of the probability map", "probability_style", QML, "metadata"
)

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
_ALIASES = {
    "id": "Number",
    "area_m2": "Area (m²)",
    "pixels": "Pixels",
    "probability_mean": "Probability, mean",
    "probability_max": "Probability, greatest",
}
_LABELS_FROM = 10_000
"""The denominator of the scale: further out numbers would hide what they stand on."""
_MAP_TIP = """<b>Change [% "id" %]</b><br>
[% coalesce(round("area_m2", 1) || ' m², ', '') %][% "pixels" %] pixels<br>
probability [% round("probability_mean", 2) %], at most [% round("probability_max", 2) %]"""
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


def write_raster_styles(change: Path, probability: Path) -> None:
    """Write the two `.qml` files that QGIS looks for beside the maps.

    Raises:
        ProductError: one could not be written.
    """
    for path, pipe in ((change, change_pipe()), (probability, probability_pipe())):
        with writing(path):
            path.write_text(_document("AllStyleCategories", pipe), encoding="utf-8")


def qml() -> str:
    """The polygons' style."""
    categories = "Symbology|Labeling|Fields|MapTips"
    return _document(categories, *polygon_style(), labelsEnabled=1)


def change_pipe() -> str:
    """Change in red; where there is none, and no data, the layers below are seen."""
    entries = (
        element("paletteEntry", value=0, color="#ffffff", alpha=0, label="no change"),
        element("paletteEntry", value=1, color="#e6001e", alpha=255, label="change"),
    )
    return _pipe("paletted", element("colorPalette", *entries), band=1)


def probability_pipe() -> str:
    """From transparent through violet and red to yellow."""
    steps = ((0.0, "#000004", 0), (0.25, "#57106e", 90), (0.5, "#bc3754", 190), (0.75, "#f98e09", 230))
    items = (
        element("item", value=value, color=color, alpha=alpha, label=f"{value:g}")
        for value, color, alpha in (*steps, (1.0, "#fcffa4", 255))
    )
    shader = element("colorrampshader", *items, colorRampType="INTERPOLATED", classificationMode=1, clip=0)
    limits = {"classificationMin": 0, "classificationMax": 1}
    return _pipe("singlebandpseudocolor", element("rastershader", shader), band=1, **limits)


def picture_pipe(bands: Sequence[int], limits: Sequence[tuple[float, float]] | None) -> str:
    """An image in red, green and blue, each between two values of its band; None: as its bytes are."""
    colors = ("red", "green", "blue")
    stretches = () if limits is None else zip(colors, limits, strict=True)
    enhancements = (
        element(
            f"{color}ContrastEnhancement",
            element("minValue", repr(low)),
            element("maxValue", repr(high)),
            element("algorithm", "StretchToMinimumMaximum"),
        )
        for color, (low, high) in stretches
    )
    of_colors = {f"{color}Band": band for color, band in zip(colors, bands, strict=True)}
    return _pipe("multibandcolor", *enhancements, **of_colors)


def _pipe(kind: str, *content: str, **attributes: object) -> str:
    return element("pipe", element("rasterrenderer", *content, type=kind, opacity=1, alphaBand=-1, **attributes))


def polygon_style() -> tuple[str, ...]:
    """Outlines and light fills in five classes of mean probability, labels, names of the fields, and a map tip."""
    ranges = (
        element("range", lower=lower, upper=upper, symbol=index, label=label, render="true")
        for index, (lower, upper, label, _) in enumerate(_RANGES)
    )
    symbols = (_symbol(index, color) for index, (*_, color) in enumerate(_RANGES))
    renderer = element(
        "renderer-v2",
        element("ranges", *ranges),
        element("symbols", *symbols),
        type="graduatedSymbol",
        attr=FIELD,
        graduatedMethod="GraduatedColor",
        symbollevels=0,
        forceraster=0,
        enableorderby=0,
    )
    aliases = (element("alias", field=field, index=i, name=name) for i, (field, name) in enumerate(_ALIASES.items()))
    return renderer, _labeling(), element("aliases", *aliases), element("mapTip", escape(_MAP_TIP))


def _labeling() -> str:
    """The number, from a scale at which it has room."""
    buffer = element("text-buffer", bufferDraw=1, bufferSize=0.8, bufferSizeUnits="MM", bufferColor="255,255,255,255")
    text = {"fieldName": "id", "fontSize": 8, "fontSizeUnit": "Point", "textColor": "0,0,0,255"}
    settings = (
        element("text-style", buffer, **text),
        element("rendering", drawLabels=1, scaleVisibility=1, scaleMin=1, scaleMax=_LABELS_FROM, obstacle=0),
    )
    return element("labeling", element("settings", *settings), type="simple")


def _document(categories: str, *content: str, **attributes: object) -> str:
    style = element("qgis", *content, version="3.16", styleCategories=categories, **attributes)
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>{style}"


def _symbol(index: int, color: str) -> str:
    """Properties stand as `prop`, the form that every version reads."""
    properties = {
        "color": f"{color},{_FILL_ALPHA}",
        "style": "solid",
        "outline_color": f"{color},255",
        "outline_style": "solid",
        "outline_width": "0.5",
        "outline_width_unit": "MM",
        "joinstyle": "miter",
    }
    props = (element("prop", k=key, v=value) for key, value in properties.items())
    layer = element("layer", *props, enabled=1, locked=0, **{"class": "SimpleFill", "pass": 0})
    return element("symbol", layer, type="fill", name=index, alpha=1, clip_to_extent=1, force_rhr=0)
