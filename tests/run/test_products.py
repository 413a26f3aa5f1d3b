"""A run's further products and what shapes its polygons: through the command line, into files that agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pyogrio
import pystac
import pytest
from helpers import Ground, MakePair, Tiff, command_line, validate
from rio_cogeo import cog_validate

from schanger_edge import detect
from schanger_edge.errors import SchangerError
from schanger_edge.products.register import FORMATS
from schanger_edge.products.register import PRODUCT_NAMES as PRODUCTS
from schanger_edge.products.register import STANDARD_NAMES as STANDARD


@pytest.fixture
def pair(make_pair: MakePair) -> tuple[Path, Path]:
    return make_pair(150, 290)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_all_products_of_one_command(pair: Any, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    also = [part for name in FORMATS for part in ("--also", name)]
    options = [*also, "--stac", "--dates", "2019-05-01,2021-06-03"]
    shaping = ["--min-area", "0.5", "--simplify", "0.6", "--fill-holes", "2"]
    done = command_line("run", *pair, "-o", out, "--model", model, *options, *shaping)
    assert done.returncode == 0, done.stderr
    assert names(out) == set(PRODUCTS)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["options"]["also"] == list(FORMATS)
    assert (summary["options"]["simplify"], summary["options"]["fill_holes"]) == (0.6, 2)
    assert summary["options"]["dates"] == ["2019-05-01", "2021-06-03"]
    assert not any("item.json" in warning for warning in summary["warnings"])
    assert pyarrow.parquet.read_metadata(out / "changes.parquet").num_rows == summary["polygons"] > 0
    assert pyogrio.read_info(out / "changes.fgb")["features"] == summary["polygons"]
    item = pystac.Item.from_file(out / "item.json")
    validate(item)
    assert names(out) - {"item.json"} == {Path(asset.href).name for asset in item.assets.values()}
    assert item.properties["schanger_edge:model"] == "standin-integer"
    for link in item.get_links("derived_from"):
        assert (out / Path(link.get_href(transform_href=False) or "none")).resolve() in {Path(p) for p in pair}
    for name in ("change.tif", "probability.tif"):
        assert cog_validate(out / name, strict=True) == (True, [], [])


def test_shaping_leaves_the_maps_and_the_measures_alone(pair: Any, model: Path, tmp_path: Path) -> None:
    plain = detect(*pair, tmp_path / "plain", model=model, min_area=2.0)
    shaped = detect(*pair, tmp_path / "shaped", model=model, min_area=2.0, simplify=1.0, fill_holes=50.0)
    for name in ("change.tif", "probability.tif", "preview.png"):
        assert (plain.folder / name).read_bytes() == (shaped.folder / name).read_bytes()
    fields = [pyogrio.raw.read(r.folder / "changes.gpkg", layer="changes")[3] for r in (plain, shaped)]
    shapes = [pyogrio.raw.read(r.folder / "changes.gpkg", layer="changes")[2] for r in (plain, shaped)]
    assert all(np.array_equal(a, b) for a, b in zip(*fields, strict=True))
    assert list(shapes[0]) != list(shapes[1])
    assert plain.polygons > 0
    assert plain.summary["area_m2"] == shaped.summary["area_m2"]


def test_further_products_of_an_earlier_run_go(pair: Any, model: Path, tmp_path: Path) -> None:
    detect(*pair, tmp_path / "out", model=model, also=["flatgeobuf"], stac=True, dates=["2019-05-01", "2021-06-03"])
    assert names(tmp_path / "out") == {*STANDARD, "changes.fgb", "item.json"}
    detect(*pair, tmp_path / "out", model=model)
    assert names(tmp_path / "out") == set(STANDARD)


def test_dates_come_from_the_files(pair: Any, model: Path, tmp_path: Path) -> None:
    import rasterio

    for path, text in zip(pair, ("2018:04:05 06:07:08", "0000:00:00 00:00:00"), strict=True):
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(TIFFTAG_DATETIME=text)
    half = detect(*pair, tmp_path / "half", model=model, stac=True)
    assert names(half.folder) == set(STANDARD)
    assert [w for w in half.warnings if "the date of the after image is unknown, use --dates" in w]
    assert half.summary["inputs"]["before"]["date"] == "2018-04-05T06:07:08"
    assert half.summary["inputs"]["after"]["date"] is None
    with rasterio.open(pair[1], "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2020:01:02 03:04:05")
    whole = detect(*pair, tmp_path / "whole", model=model, stac=True)
    properties = json.loads((whole.folder / "item.json").read_text())["properties"]
    assert properties["start_datetime"] == "2018-04-05T06:07:08Z"
    assert properties["end_datetime"] == "2020-01-02T03:04:05Z"
    assert properties["datetime"] is None


def test_images_without_a_place_have_no_item(make_tiff: Tiff, ground: Ground, model: Path, tmp_path: Path) -> None:
    path = make_tiff("plain.tif", ground(70, 90), crs=None)
    further = {"also": ["kml", "csv"], "stac": True, "dates": ["2019-05-01", "2021-06-03"]}
    result = detect(path, path, tmp_path / "out", model=model, **further)
    assert names(result.folder) == {*STANDARD, "changes.csv"}
    assert [
        w for w in result.summary["warnings"] if w.startswith("changes.kml was not written: the images have no CRS")
    ]
    assert [w for w in result.summary["warnings"] if w.startswith("item.json was not written: the images have no CRS")]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"also": ["dxf"]}, "--also must be geoparquet, flatgeobuf, geojson, kml, shapefile, csv or gpx, not .dxf."),
        ({"stac": True, "dates": ["2019-05-01"]}, "--dates must be two dates"),
        ({"stac": True, "dates": ["2019-05-01", "June"]}, "not 'June'"),
    ],
)
def test_options_that_make_no_sense(
    pair: Any, model: Path, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SchangerError, match=sentence):
        detect(*pair, tmp_path / "out", model=model, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("package", "options"), [("pyarrow", {"also": ["geoparquet"]}), ("pystac", {"stac": True})]
)  # fmt: skip
def test_a_missing_package_is_named(
    pair: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, options: dict[str, Any]
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a))
    with pytest.raises(SchangerError, match=rf"{package} is not installed: pip install 'schanger-edge\[products\]'"):
        detect(*pair, tmp_path / "out", model=model, **options)
    assert not (tmp_path / "out").exists()
