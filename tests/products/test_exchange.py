"""The further formats: the GeoPackage's rows, fields and place, and what each format asks for."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet
import pyogrio.raw
import pyproj
import pytest
import shapely
from affine import Affine
from helpers import write_maps
from rasterio.crs import CRS

from schanger_edge.errors import ProductError
from schanger_edge.geo.grid import Grid
from schanger_edge.products import exchange
from schanger_edge.products.geoparquet import write_geoparquet
from schanger_edge.products.polygons import LAYER, write_polygons
from schanger_edge.products.register import FORMATS, formats_of
from schanger_edge.products.shaping import Shaping
from schanger_edge.products.vector_files import write_flatgeobuf

Make = Callable[..., tuple[Path, Grid]]
UTM = ("EPSG:32631", Affine(0.5, 0, 5e5, 0, -0.5, 4.6e6))
PLAIN = (None, Affine.identity())
DEGREES = ("EPSG:4326", Affine(1e-5, 0, 13, 0, -1e-5, 60))


@pytest.fixture
def make_package(tmp_path: Path) -> Make:
    def make(place: tuple[str | None, Affine] = UTM, share: float = 0.4) -> tuple[Path, Grid]:
        crs, transform = place
        grid = Grid(crs and CRS.from_string(crs), transform, 90, 60)
        probability = np.random.default_rng(1).random((60, 90), dtype=np.float32)
        paths = {"probability": tmp_path / "probability.tif", "change": tmp_path / "change.tif"}
        write_maps(tmp_path, grid, probability, np.ones((60, 90), bool), 1 - share)
        write_polygons(paths["change"], paths["probability"], grid, tmp_path / "changes.gpkg", Shaping(min_area=0))
        return tmp_path / "changes.gpkg", grid

    return make


def rows_of(path: Path, layer: str) -> tuple[list[str], list[np.ndarray], np.ndarray]:
    """Fields, their columns and WKB, by id."""
    meta, _, wkb, data = pyogrio.raw.read(path, layer=layer)
    order = np.argsort(data[0])
    return list(meta["fields"]), [column[order] for column in data], wkb[order]


def check_same(package: Path, fields: list[str], columns: list[Any], wkb: Any) -> None:
    own_fields, own_columns, own_wkb = rows_of(package, LAYER)
    assert fields == own_fields
    for column, own in zip(columns, own_columns, strict=True):
        assert np.array_equal(column, own, equal_nan=True)
        assert np.asarray(column).dtype == own.dtype
    assert list(wkb) == list(own_wkb)


@pytest.mark.parametrize("place", [UTM, PLAIN, DEGREES])
def test_flatgeobuf(make_package: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr(exchange, "BATCH", 100)
    package, grid = make_package(place)
    write_flatgeobuf(package, LAYER, grid, tmp_path / "changes.fgb")
    check_same(package, *rows_of(tmp_path / "changes.fgb", LAYER))
    info = pyogrio.read_info(tmp_path / "changes.fgb")
    assert info["driver"] == "FlatGeobuf"
    assert (info["features"] > 300, info["geometry_type"]) == (True, "Polygon")
    assert (info["crs"] and CRS.from_user_input(info["crs"])) == grid.crs
    assert info["capabilities"]["fast_spatial_filter"]


@pytest.mark.parametrize("place", [UTM, PLAIN, DEGREES])
def test_geoparquet(make_package: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr(exchange, "BATCH", 100)
    package, grid = make_package(place)
    write_geoparquet(package, LAYER, grid, tmp_path / "changes.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "changes.parquet")
    assert table.column_names[-2:] == ["geometry", "bbox"]
    names = table.column_names[:-2]
    columns = [table[name].to_numpy() for name in names]
    wkb = table["geometry"].to_numpy()
    check_same(package, names, columns, wkb)
    assert table["id"].to_pylist() == list(range(1, table.num_rows + 1))  # the largest first

    geo = json.loads(table.schema.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"], list(geo["columns"])) == ("1.1.0", "geometry", ["geometry"])
    column = geo["columns"]["geometry"]
    shapes = shapely.from_wkb(wkb)
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Polygon"]
    assert (shapely.get_type_id(shapes) == 3).all()
    assert column["bbox"] == list(shapely.total_bounds(shapes))
    if grid.crs is None:
        assert column["crs"] is None
    else:
        assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == grid.crs.to_epsg()
    for side, (box, name) in column["covering"]["bbox"].items():
        values = table[box].combine_chunks().field(name).to_numpy()
        assert np.array_equal(values, shapely.bounds(shapes)[:, ("xmin", "ymin", "xmax", "ymax").index(side)])
    assert pyarrow.parquet.ParquetFile(tmp_path / "changes.parquet").num_row_groups > 3


def written(name: str, package: Path, grid: Grid) -> Path:
    target = package.with_name(FORMATS[name].product.name)
    FORMATS[name].write(package, LAYER, grid, target)
    return target


def on_earth(package: Path, grid: Grid) -> np.ndarray:
    """The GeoPackage's polygons in WGS 84, longitude first, by PROJ."""
    _, _, wkb = rows_of(package, LAYER)
    convert = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(grid.crs.to_wkt()), "OGC:CRS84", always_xy=True)
    return shapely.transform(shapely.from_wkb(wkb), lambda xy: np.column_stack(convert.transform(*xy.T)))


@pytest.mark.parametrize("place", [UTM, DEGREES])
def test_geojson(make_package: Make, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr(exchange, "BATCH", 100)
    package, grid = make_package(place)
    fields, columns, _ = rows_of(package, LAYER)
    found = json.loads(written("geojson", package, grid).read_text())
    assert "crs" not in found  # RFC 7946 knows WGS 84 alone
    for feature, shape, *values in zip(found["features"], on_earth(package, grid), *columns, strict=True):
        assert feature["properties"] == {n: pytest.approx(v) for n, v in zip(fields, values, strict=True)}
        outline = shapely.geometry.shape(feature["geometry"])
        assert outline.exterior.is_ccw
        assert shapely.hausdorff_distance(outline, shape) < 1e-6


@pytest.mark.parametrize("place", [UTM, DEGREES])
def test_kml(make_package: Make, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr(exchange, "BATCH", 100)
    package, grid = make_package(place)
    fields, columns, _ = rows_of(package, LAYER)
    space = "{http://www.opengis.net/kml/2.2}"
    places = list(ElementTree.parse(written("kml", package, grid)).iter(f"{space}Placemark"))
    for change, shape, *values in zip(places, on_earth(package, grid), *columns, strict=True):
        assert change.findtext(f"{space}name") == str(values[0])
        data = {one.attrib["name"]: float(one.text or "") for one in change.iter(f"{space}SimpleData")}
        assert data == {name: pytest.approx(value) for name, value in zip(fields, values, strict=True)}
        ring = (change.findtext(f".//{space}outerBoundaryIs//{space}coordinates") or "").split()
        outline = shapely.Polygon([tuple(map(float, point.split(",")[:2])) for point in ring])
        assert shapely.hausdorff_distance(outline.exterior, shape.exterior) < 1e-6


@pytest.mark.parametrize("place", [UTM, PLAIN, DEGREES])
def test_shapefile(make_package: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr(exchange, "BATCH", 100)
    package, grid = make_package(place)
    target = written("shapefile", package, grid)
    zipfile.ZipFile(target).extractall(tmp_path / "unpacked")
    endings = {".shp", ".shx", ".dbf", ".cpg", *([".prj"] if grid.crs else [])}
    assert {path.name for path in (tmp_path / "unpacked").iterdir()} == {f"changes{ending}" for ending in endings}
    for path in (target, tmp_path / "unpacked" / "changes.shp"):  # programs open either
        fields, columns, wkb = rows_of(path, LAYER)
        assert fields == ["id", "area_m2", "pixels", "prob_mean", "prob_max"]
        _, own_columns, own_wkb = rows_of(package, LAYER)
        for column, own in zip(columns, own_columns, strict=True):
            np.testing.assert_allclose(column, own, rtol=1e-9)
        assert shapely.equals(shapely.from_wkb(wkb), shapely.from_wkb(own_wkb)).all()
        crs = pyogrio.read_info(path)["crs"]
        assert (crs and CRS.from_user_input(crs)) == grid.crs


@pytest.mark.parametrize("place", [UTM, PLAIN, DEGREES])
def test_csv(make_package: Make, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr(exchange, "BATCH", 100)
    package, grid = make_package(place)
    fields, columns, wkb = rows_of(package, LAYER)
    with written("csv", package, grid).open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [*fields, "longitude", "latitude", "x", "y"]
    for field, column in zip(fields, columns, strict=True):
        assert [float(row[field] or "nan") for row in table] == pytest.approx(column.tolist(), nan_ok=True)
    inside = shapely.points([(float(row["x"]), float(row["y"])) for row in table])
    assert shapely.contains(shapely.from_wkb(wkb), inside).all()
    if grid.crs is None:
        assert {row["longitude"] + row["latitude"] + row["area_m2"] for row in table} == {""}
    else:
        degrees = shapely.points([(float(row["longitude"]), float(row["latitude"])) for row in table])
        assert shapely.contains(on_earth(package, grid), degrees).all()


@pytest.mark.parametrize("place", [UTM, DEGREES])
def test_gpx(make_package: Make, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr(exchange, "BATCH", 100)
    package, grid = make_package(place)
    _, columns, _ = rows_of(package, LAYER)
    meta, _, wkb, data = pyogrio.raw.read(written("gpx", package, grid), layer="waypoints")
    values = dict(zip(meta["fields"], data, strict=True))
    assert list(values["name"]) == [str(number) for number in columns[0]]
    assert values["desc"][0] == f"{columns[1][0]:.1f} m2, probability {columns[3][0]:.2f}"
    assert meta["crs"] == "EPSG:4326"
    assert shapely.contains(on_earth(package, grid), shapely.from_wkb(wkb)).all()


def test_formats_of_longitudes_and_latitudes_need_a_place_on_earth() -> None:
    everywhere = ["geoparquet", "flatgeobuf", "shapefile", "csv"]
    off_earth = Grid(CRS.from_epsg(4326), Affine.identity(), 400, 400)
    for grid in (Grid(None, Affine.identity(), 90, 60), off_earth):
        assert formats_of(grid, list(FORMATS))[0] == everywhere
        sentences = formats_of(grid, list(FORMATS))[1]
        assert [text.split()[0] for text in sentences] == ["changes.geojson", "changes.kml", "changes.gpx"]
        assert {text.split(maxsplit=1)[1] for text in sentences} == {
            "was not written: the images have no CRS, or one without a location on Earth."
        }
    assert formats_of(Grid(CRS.from_string(UTM[0]), UTM[1], 90, 60), list(FORMATS)) == (list(FORMATS), [])


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_change_is_an_empty_file(make_package: Make, tmp_path: Path, name: str) -> None:
    package, grid = make_package(share=0.0)
    target = written(name, package, grid)
    if name == "geoparquet":
        table = pyarrow.parquet.read_table(target)
        assert table.num_rows == 0
        assert "bbox" not in json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
    elif name == "kml":  # GDAL says of one without a place that it has no layer
        (document,) = ElementTree.parse(target).getroot()
        assert document.tag.endswith("}Document")
        assert b"Placemark" not in target.read_bytes()
    else:
        layer = {"gpx": "waypoints"}.get(name)
        assert pyogrio.read_info(target, layer=layer, force_feature_count=True)["features"] == 0


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_same_polygons_give_the_same_bytes(make_package: Make, tmp_path: Path, name: str) -> None:
    package, grid = make_package()
    product, write = FORMATS[name].product.name, FORMATS[name].write
    files = []
    for _ in range(2):
        write(package, LAYER, grid, tmp_path / product)  # the second time over the first
        files.append((tmp_path / product).read_bytes())
    assert files[0] == files[1]
    assert {path.suffix for path in tmp_path.iterdir()} == {".tif", ".gpkg", Path(product).suffix}


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_file_that_cannot_be_written(make_package: Make, tmp_path: Path, name: str) -> None:
    package, grid = make_package()
    product, write = FORMATS[name].product.name, FORMATS[name].write
    with pytest.raises(ProductError, match=rf"{product} could not be written"):
        write(package, LAYER, grid, tmp_path / "absent" / product)


@pytest.mark.parametrize("name", list(FORMATS))
def test_full_disk(make_package: Make, small_disk: Path, name: str) -> None:
    package, grid = make_package()
    product, write = FORMATS[name].product.name, FORMATS[name].write
    (small_disk / "other").write_bytes(bytes(1016 * 1024))
    with pytest.raises(ProductError, match=rf"{product} could not be written"):
        write(package, LAYER, grid, small_disk / product)
