"""The STAC item: valid by pystac's own schemas, where the grid lies on the globe, and no date that nobody stated."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pyproj
import pystac
import pytest
import shapely
from affine import Affine
from helpers import validate
from pystac.extensions.projection import ProjectionExtension
from rasterio.crs import CRS

from schanger_edge.errors import ProductError
from schanger_edge.geo.footprint import footprint
from schanger_edge.geo.grid import Grid
from schanger_edge.products import STAC_ITEM
from schanger_edge.products.register import PRODUCTS
from schanger_edge.products.stac import parse_date, why_no_item, write_item

UTM = Grid(CRS.from_epsg(32631), Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000), 400, 300)
DATES = {"before": "2019-05-01", "after": "2021-06-03"}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation takes the schemas that come with pystac."""

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("a test may not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def write(folder: Path, grid: Grid = UTM, dates: dict[str, str] = DATES, **options: Any) -> pystac.Item:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    inputs = {"before": str(folder / "in" / "old.tif"), "after": str(folder / "in" / "new.tif")}
    (folder / "in").mkdir(exist_ok=True)
    for path in inputs.values():
        Path(path).touch()
    beside = [product for product in PRODUCTS if product.name != STAC_ITEM]
    arguments = {"inputs": inputs, "dates": dates, "products": beside, "folder": out, "properties": {"x:y": 1}}
    write_item(out / "item.json", grid, **(arguments | options))
    return pystac.Item.from_file(out / "item.json")


def test_item_is_valid_and_says_what_there_is(tmp_path: Path, no_network: None) -> None:
    item = write(tmp_path)
    validate(item)
    assert item.id == "change-old-new"
    assert item.datetime is None
    assert item.properties["start_datetime"] == "2019-05-01T00:00:00Z"
    assert item.properties["end_datetime"] == "2021-06-03T23:59:59Z"
    assert item.properties["gsd"] == pytest.approx(0.5, rel=1e-3)
    assert item.properties["x:y"] == 1
    grid = ProjectionExtension.ext(item)
    assert (grid.code, grid.shape, grid.transform) == ("EPSG:32631", [300, 400], list(UTM.transform)[:6])
    assert item.assets["preview"].roles == ["thumbnail"]
    assert "created" in item.properties
    names = {asset.href for asset in item.assets.values()}
    assert names == {f"./{product.name}" for product in PRODUCTS if product.name != STAC_ITEM}
    assert item.assets["change"].media_type == pystac.MediaType.COG
    assert item.assets["polygons"].media_type == pystac.MediaType.GEOPACKAGE
    assert item.assets["polygons_flatgeobuf"].media_type == pystac.MediaType.FLATGEOBUF
    assert item.assets["polygons_geoparquet"].media_type == "application/vnd.apache.parquet"  # as registered
    links = json.loads((tmp_path / "out" / "item.json").read_text())["links"]
    assert [(link["rel"], link["href"]) for link in links] == [
        ("derived_from", "../in/old.tif"),
        ("derived_from", "../in/new.tif"),
    ]


def test_only_what_was_made(tmp_path: Path, no_network: None) -> None:
    remote = {"before": "https://example.org/old.tif", "after": "/vsis3/bucket/new.tif"}
    item = write(
        tmp_path,
        products=[product for product in PRODUCTS if product.name in ("change.tif", "summary.json")],
        inputs=remote,
    )
    validate(item)
    assert set(item.assets) == {"change", "summary"}
    links = json.loads((tmp_path / "out" / "item.json").read_text())["links"]
    assert [link["href"] for link in links] == list(remote.values())


@pytest.mark.parametrize(
    ("dates", "start", "end"),
    [
        (("2021-06-03", "2019-05-01"), "2019-05-01T00:00:00Z", "2021-06-03T23:59:59Z"),
        (("2019-05-01T10:20:30", "2021-06-03T10:20:30Z"), "2019-05-01T10:20:30Z", "2021-06-03T10:20:30Z"),
        (("2019-05-01T10:00:00+02:00", "2019-05-01"), "2019-05-01T00:00:00Z", "2019-05-01T08:00:00Z"),
        (("2020-01-01", "2020-01-01"), "2020-01-01T00:00:00Z", "2020-01-01T23:59:59Z"),
    ],
)
def test_dates(tmp_path: Path, no_network: None, dates: tuple[str, str], start: str, end: str) -> None:
    item = write(tmp_path, dates=dict(zip(DATES, dates, strict=True)))
    validate(item)
    assert (item.properties["start_datetime"], item.properties["end_datetime"]) == (start, end)


@pytest.mark.parametrize("text", ["", "yesterday", "2021-13-01", "03.06.2021"])
def test_no_date(text: str) -> None:
    with pytest.raises(ProductError, match="--dates must be dates such as"):
        parse_date(text)


def test_why_there_is_no_item() -> None:
    assert why_no_item(UTM, DATES) is None
    assert "the date of the after image is unknown" in str(why_no_item(UTM, DATES | {"after": None}))
    both = str(why_no_item(UTM, dict.fromkeys(DATES)))
    assert "the date of the before image and the after image is unknown" in both
    assert "no CRS" in str(why_no_item(Grid(None, Affine.identity(), 3, 3), DATES))
    assert "without a location on Earth" in str(
        why_no_item(Grid(CRS.from_epsg(4326), Affine.identity(), 400, 400), DATES)
    )


def check(grid: Grid) -> tuple[Any, list[float]]:
    place = footprint(grid)
    assert place is not None
    shape = shapely.from_geojson(json.dumps(place.geometry))
    assert shape.is_valid
    assert not shape.is_empty
    left, bottom, right, top = shape.bounds
    assert left >= -180 <= bottom + 90
    assert (right <= 180, top <= 90) == (True, True)
    assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
    return shape, place.bbox


def test_footprint_in_another_reference_system() -> None:
    shape, bbox = check(UTM)
    to_degrees = pyproj.Transformer.from_crs("EPSG:32631", "OGC:CRS84", always_xy=True)
    middle = to_degrees.transform(*(UTM.transform @ (200, 150)))
    outside = to_degrees.transform(*(UTM.transform @ (410, 150)))
    assert shape.contains(shapely.Point(middle))
    assert not shape.contains(shapely.Point(outside))
    assert bbox == pytest.approx(shape.bounds, abs=1e-12)


def test_footprint_across_the_antimeridian(tmp_path: Path, no_network: None) -> None:
    for grid in (
        Grid(CRS.from_epsg(32660), Affine(100, 0, 690_000, 0, -100, 6_000_000), 1000, 500),
        Grid(CRS.from_epsg(4326), Affine(0.01, 0, 179.2, 0, -0.01, 54), 200, 100),
    ):
        shape, bbox = check(grid)
        assert shape.geom_type == "MultiPolygon"
        assert len(shape.geoms) == 2
        assert shape.area < 3
        assert bbox[0] > 179 > -178 > bbox[2]
        validate(write(tmp_path, grid))


def test_footprint_over_a_pole(tmp_path: Path, no_network: None) -> None:
    grid = Grid(CRS.from_epsg(3413), Affine(1000, 0, -500_000, 0, -1000, 500_000), 1000, 1000)
    shape, bbox = check(grid)
    assert (bbox[0], bbox[2], bbox[3]) == (-180, 180, 90)
    assert 83 < bbox[1] < 85
    for lon in (-179.9, -90, 0, 90, 179.9):
        assert shape.contains(shapely.Point(lon, 89))
        assert not shape.intersects(shapely.Point(lon, 82))
    validate(write(tmp_path, grid))


def test_footprint_of_the_whole_world() -> None:
    for west in (-180, 0):
        shape, bbox = check(Grid(CRS.from_epsg(4326), Affine(1, 0, west, 0, -1, 90), 360, 180))
        assert bbox == [-180, -90, 180, 90]
        assert shape.area == pytest.approx(360 * 180)


def test_footprint_that_ends_at_the_antimeridian() -> None:
    shape, bbox = check(Grid(CRS.from_epsg(4326), Affine(0.01, 0, 178, 0, -0.01, 54), 200, 100))
    assert shape.geom_type == "Polygon"
    assert bbox == pytest.approx([178, 53, 180, 54])
