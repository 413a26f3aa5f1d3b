"""The QGIS project and the styles: what they hold, and what QGIS itself makes of them where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from affine import Affine
from helpers import ROOT, MakePair, write_tiff
from PIL import Image
from qgis_user import CLEAN, PYTHON, has_qgis
from rasterio.crs import CRS

from schanger_edge import detect
from schanger_edge.errors import ProductError
from schanger_edge.geo.grid import Grid
from schanger_edge.products.project import Picture, write_project

UTM = Grid(CRS.from_epsg(32631), Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000), 400, 300)


def layers_of(path: Path) -> dict[str, ElementTree.Element]:
    with zipfile.ZipFile(path) as packed:
        (name,) = packed.namelist()
        assert name.endswith(".qgs")
        root = ElementTree.fromstring(packed.read(name))
    ids = [node.attrib["id"] for node in root.iter("layer-tree-layer")]
    assert ids == [layer.findtext("id") for layer in root.iter("maplayer")]
    assert min(map(len, ids)) > 10  # QGIS makes up others for shorter ones
    assert root.findtext("properties/Paths/Absolute") == "false"
    return {str(layer.findtext("layername")): layer for layer in root.iter("maplayer")}


def sources(path: Path) -> dict[str, str | None]:
    return {name: layer.findtext("datasource") for name, layer in layers_of(path).items()}


def project(folder: Path, grid: Grid = UTM, **paths: str) -> Path:
    (folder / "out").mkdir(exist_ok=True)
    pictures = {date: Picture(path, grid.crs, (1, 2, 3), None) for date, path in paths.items()}
    write_project(folder / "out" / "result.qgz", grid, pictures, folder / "out")
    return folder / "out" / "result.qgz"


def test_files_are_found_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a & b.tif", "out/later.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = project(tmp_path, before=str(tmp_path / "in" / "a & b.tif"), after=str(tmp_path / "out" / "later.tif"))
    assert sources(path) == {
        "Changes": "./changes.gpkg|layername=changes",
        "Change": "./change.tif",
        "Probability": "./probability.tif",
        "After": "./later.tif",
        "Before": "../in/a & b.tif",
    }


def test_remote_images_are_named_as_gdal_opens_them(tmp_path: Path) -> None:
    found = sources(project(tmp_path, before="https://example.org/old.tif", after="s3://bucket/new.tif"))
    assert (found["Before"], found["After"]) == ("/vsicurl/https://example.org/old.tif", "/vsis3/bucket/new.tif")
    again = sources(project(tmp_path, before="/vsigs/bucket/old.tif", after="/vsizip/in.zip/new.tif"))
    assert (again["Before"], again["After"]) == ("/vsigs/bucket/old.tif", "/vsizip/in.zip/new.tif")


def test_polygons_lie_only_on_images_with_a_georeference(tmp_path: Path) -> None:
    plain = Grid(None, Affine.identity(), 40, 30)
    assert list(sources(project(tmp_path, plain, before="a.png", after="b.png"))) == [
        "Change",
        "Probability",
        "After",
        "Before",
    ]


def test_the_same_run_gives_the_same_bytes_and_a_full_disk_a_sentence(tmp_path: Path, small_disk: Path) -> None:
    files = [project(tmp_path, before="a.tif", after="b.tif").read_bytes() for _ in range(2)]
    assert files[0] == files[1]
    (small_disk / "other").write_bytes(bytes(1023 * 1024))
    with pytest.raises(ProductError, match=r"result\.qgz could not be written"):
        write_project(small_disk / "result.qgz", UTM, dict.fromkeys(("before", "after"), PICTURE), small_disk)


PICTURE = Picture("a.tif", UTM.crs, (1, 2, 3), None)


def deep_pair(make_pair: MakePair, folder: Path) -> list[Path]:
    """Two images of 16 bits, the values of whose bands differ."""
    paths = []
    for name, source in zip(("before", "after"), make_pair(150, 290), strict=True):
        import rasterio

        with rasterio.open(source) as image:
            values = image.read().astype(np.uint16) * np.array([8, 12, 16], np.uint16)[:, None, None]
            paths.append(write_tiff(folder / f"{name}.tif", values, transform=image.transform, crs=image.crs))
    return paths


def test_dates_are_stretched_as_the_network_sees_them(make_pair: MakePair, model: Path, tmp_path: Path) -> None:
    found = detect(*deep_pair(make_pair, tmp_path), tmp_path / "out", model=model)
    layers = layers_of(tmp_path / "out" / "result.qgz")
    for date in ("before", "after"):
        stretch = found.summary["inputs"][date]["stretch"]
        renderer = layers[date.capitalize()].find("pipe/rasterrenderer")
        assert renderer is not None
        assert [renderer.attrib[f"{color}Band"] for color in ("red", "green", "blue")] == ["1", "2", "3"]
        for index, color in enumerate(("red", "green", "blue")):
            shown = [float(renderer.findtext(f"{color}ContrastEnhancement/{end}Value") or "") for end in ("min", "max")]
            assert shown == [pytest.approx(stretch["low"][index]), pytest.approx(stretch["high"][index])]
        assert stretch["high"][2] > 1.2 * stretch["high"][0]  # the bands do differ


@pytest.mark.slow
@pytest.mark.skipif(not has_qgis(), reason="QGIS is not installed")
def test_in_qgis(make_pair: MakePair, model: Path, tmp_path: Path) -> None:
    """All layers load without a warning, with their styles, also after the folder has moved."""
    (tmp_path / "made").mkdir()
    detect(*deep_pair(make_pair, tmp_path / "made"), tmp_path / "made" / "out", model=model)
    shutil.move(tmp_path / "made", tmp_path / "moved")
    command = [PYTHON, ROOT / "tests" / "qgis_look.py", tmp_path / "moved" / "out", tmp_path / "map.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=CLEAN)
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["read"], found["warnings"], found["crs"]) == (True, [], "EPSG:32631")
    assert found["order"] == ["Changes", "Change", "Probability", "After", "Before"]
    assert found["shown"] == ["Changes", "After", "Before"]
    for name, layer in found["layers"].items():
        assert (layer["valid"], bool(layer["crs"])) == (True, True), name
        assert layer["source"].startswith(str(tmp_path / "moved"))
    assert found["layers"]["Before"]["red"][1] > 255
    alone = found["alone"]
    assert alone["change.tif"]["legend"] == [["no change", 0], ["change", 255]]
    assert [alpha for _, alpha in alone["probability.tif"]["legend"]] == [0, 90, 190, 230, 255]
    for layer in (alone["changes.gpkg"], found["layers"]["Changes"]):
        assert layer["renderer"] == "graduatedSymbol"
        assert layer["labels"] == "id"
        assert "Area (m²)" in layer["names"]
        assert 'Change [% "id" %]' in layer["map_tip"]
    with Image.open(tmp_path / "map.png") as shown:
        assert len(shown.convert("RGB").getcolors(1 << 24) or ()) > 1000  # a picture, not a blank page
