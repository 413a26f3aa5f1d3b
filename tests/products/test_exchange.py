"""GeoParquet and FlatGeobuf: the GeoPackage's rows, fields and CRS, and what the formats ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from schanger_edge.products.flatgeobuf import write_flatgeobuf
from schanger_edge.products.geoparquet import write_geoparquet
from schanger_edge.products.polygons import LAYER, write_polygons
from schanger_edge.products.register import FORMATS

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
        write_polygons(paths["change"], paths["probability"], grid, tmp_path / "changes.gpkg")
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


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_change_is_an_empty_file(make_package: Make, tmp_path: Path, name: str) -> None:
    package, grid = make_package(share=0.0)
    product, write = FORMATS[name].product.name, FORMATS[name].write
    write(package, LAYER, grid, tmp_path / product)
    if name == "flatgeobuf":
        assert pyogrio.read_info(tmp_path / product, force_feature_count=True)["features"] == 0
    else:
        table = pyarrow.parquet.read_table(tmp_path / product)
        assert table.num_rows == 0
        assert "bbox" not in json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]


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
