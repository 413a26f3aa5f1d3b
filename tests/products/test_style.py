"""The style in the GeoPackage: what QGIS looks for, and nothing that hinders others."""

from __future__ import annotations

import itertools
import re
import sqlite3
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
from affine import Affine
from helpers import write_maps
from rasterio.crs import CRS

from schanger_edge.geo.grid import Grid
from schanger_edge.products.polygons import write_polygons
from schanger_edge.products.shaping import Shaping


@pytest.fixture(params=["EPSG:32631", None])
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """changes.gpkg of three squares, with and without a CRS."""
    crs = request.param and CRS.from_string(request.param)
    grid = Grid(crs, Affine(0.5, 0, 5e5, 0, -0.5, 4.6e6) if crs else Affine.identity(), 90, 60)
    probability = np.full((60, 90), 0.1, np.float32)
    for col, value in ((5, 0.55), (30, 0.75), (60, 0.97)):
        probability[10:20, col : col + 10] = value
    paths = {"probability": tmp_path / "probability.tif", "change": tmp_path / "change.tif"}
    write_maps(tmp_path, grid, probability, np.ones((60, 90), bool))
    write_polygons(paths["change"], paths["probability"], grid, tmp_path / "changes.gpkg", Shaping(min_area=0))
    return tmp_path / "changes.gpkg"


def rows(package: Path, query: str) -> list[dict[str, object]]:
    with sqlite3.connect(package) as file:
        file.row_factory = sqlite3.Row
        return [dict(row) for row in file.execute(query)]


def test_one_default_style_for_the_layer(package: Path) -> None:
    (style,) = rows(package, "SELECT * FROM layer_styles")
    assert list(style) == [
        "id", "f_table_catalog", "f_table_schema", "f_table_name", "f_geometry_column", "styleName", "styleQML",
        "styleSLD", "useAsDefault", "description", "owner", "ui", "update_time",
    ]  # fmt: skip
    (layer,) = rows(package, "SELECT table_name, column_name FROM gpkg_geometry_columns")
    assert (style["f_table_catalog"], style["f_table_schema"]) == ("", "")
    assert (style["f_table_name"], style["f_geometry_column"]) == (layer["table_name"], layer["column_name"])
    assert style["useAsDefault"] == 1


def test_the_table_is_registered_and_the_file_sound(package: Path) -> None:
    contents = rows(package, "SELECT table_name, data_type, srs_id FROM gpkg_contents ORDER BY table_name")
    assert [(row["table_name"], row["data_type"]) for row in contents] == [
        ("changes", "features"),
        ("layer_styles", "attributes"),
    ]
    assert rows(package, "PRAGMA user_version") == [{"user_version": 10200}]  # 1.2, see polygons.py
    assert rows(package, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert rows(package, "PRAGMA foreign_key_check") == []
    assert {path.name for path in package.parent.iterdir()} == {"changes.gpkg", "change.tif", "probability.tif"}


def test_qml_draws_every_polygon_by_a_field_that_exists(package: Path) -> None:
    (style,) = rows(package, "SELECT styleQML FROM layer_styles")
    root = ElementTree.fromstring(str(style["styleQML"]))
    assert root.attrib["labelsEnabled"] == "1"
    renderer = root.find("renderer-v2")
    assert renderer is not None
    meta, _, _, data = pyogrio.raw.read(package, layer="changes")
    assert renderer.attrib["attr"] in meta["fields"]
    ranges = [(float(r.attrib["lower"]), float(r.attrib["upper"]), r.attrib["symbol"]) for r in renderer.iter("range")]
    symbols = {symbol.attrib["name"]: symbol for symbol in renderer.iter("symbol")}
    assert {name for *_, name in ranges} == set(symbols)
    assert (ranges[0][0], ranges[-1][1]) == (0, 1)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))
    style = root.find("labeling/settings/text-style")
    assert style is not None
    assert style.attrib["fieldName"] in meta["fields"]
    assert [alias.attrib["field"] for alias in root.iter("alias")] == list(meta["fields"])
    named = re.findall(r'"(\w+)"', root.findtext("mapTip") or "")
    assert set(named) <= set(meta["fields"])
    assert len(named) >= 4
    values = data[list(meta["fields"]).index(renderer.attrib["attr"])]
    drawn = [next(name for lower, upper, name in ranges if lower <= value <= upper) for value in values]
    assert len(set(drawn)) == 3
    fills = set()
    for symbol in symbols.values():
        properties = {prop.attrib["k"]: prop.attrib["v"] for prop in symbol.iter("prop")}
        assert properties["outline_style"] == "solid"
        fills.add(properties["color"])
    assert len(fills) == len(symbols)


def test_readers_see_the_layer_first(package: Path) -> None:
    assert [str(name) for name, kind in pyogrio.list_layers(package) if kind] == ["changes"]
    assert pyogrio.list_layers(package)[0][0] == "changes"
    with rasterio.open(package.parent / "change.tif") as change:
        assert pyogrio.read_info(package, layer="changes")["features"] == 3 < change.width


def test_two_runs_give_the_same_content(package: Path, tmp_path: Path) -> None:
    def content() -> list[object]:
        tables = ("changes", "layer_styles", "gpkg_geometry_columns", "gpkg_spatial_ref_sys")
        columns = "table_name, data_type, identifier, min_x, min_y, max_x, max_y, srs_id"
        return [rows(package, f"SELECT * FROM {t}") for t in tables] + rows(
            package, f"SELECT {columns} FROM gpkg_contents"
        )

    first = content()
    with rasterio.open(tmp_path / "change.tif") as change:
        grid = Grid(change.crs, change.transform, change.width, change.height)
    write_polygons(tmp_path / "change.tif", tmp_path / "probability.tif", grid, package, Shaping(min_area=0))
    assert content() == first
