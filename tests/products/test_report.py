"""The report: what it says, that nothing from a file escapes into the page, and how large it gets."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from helpers import Ground, Tiff
from rasterio.crs import CRS
from reports import HALF_METRE, UTM, make_report, summary_of, three_blobs

from schanger_edge import detect
from schanger_edge.errors import ProductError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products import thumbnail as thumbnail_module
from schanger_edge.products.report import page as report_module
from schanger_edge.products.report import places as places_module
from schanger_edge.products.report.facts import LONGEST, area_text
from schanger_edge.products.report.page import LIMIT, detail_windows
from schanger_edge.products.report.pictures import data_url
from schanger_edge.products.report.places import read_places


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data: dict[str, Any] = json.loads(text)
    return data


def decoded(url: str) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(url.split(",", 1)[1]), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


def rings_of(place: dict[str, Any]) -> list[np.ndarray]:
    return [np.cumsum(np.reshape(ring, (-1, 2)), axis=0) for ring in place["rings"]]


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=3, tile=64, halo=4)
    return tmp_path / "m.onnx"


def test_places_are_those_of_the_layer(tmp_path: Path) -> None:
    change = three_blobs()
    report, grid = make_report(tmp_path, change)
    report.write(tmp_path / "report.html", summary_of(grid))
    places = data_of((tmp_path / "report.html").read_text())["places"]
    assert [place["id"] for place in places] == [1, 2, 3]
    assert [place["area"] for place in places] == ["275 m²", "75 m²", "0.3 m²"]  # 0.2502 m² at a scale of 0.9996
    assert [place["box"] for place in places] == [[20, 10, 60, 40], [100, 60, 130, 70], [5, 100, 6, 101]]
    assert places[0]["mean"] == pytest.approx(0.9, abs=1 / 254)
    outer, hole = (shapely.Polygon(ring) for ring in rings_of(places[0]))
    assert outer.equals(shapely.box(20, 10, 60, 40))
    assert hole.equals(shapely.box(30, 15, 40, 25))
    for place in places:
        col, row = place["inside"]
        assert change[row, col]
        x, y = grid.transform @ place["inside"]
        lat, lon = place["position"]
        assert (lat, lon) == (pytest.approx(42, abs=0.01), pytest.approx(3, abs=0.01))
        assert x > 500_000
        assert lon > 3  # east of the zone's meridian
        assert (y - 4_650_000) / 111_000 == pytest.approx(lat - 42.0006, abs=0.002)


def test_outlines_keep_their_shape_with_few_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, cols = np.mgrid[:400, :400]
    change = (rows - 200) ** 2 + (cols - 200) ** 2 < 150**2
    rng = np.random.default_rng(0)
    change[:4] = rng.random((4, 400)) < 0.3
    for most, apart in ((places_module.POINTS, 0.02), (1400, 0.1)):
        monkeypatch.setattr(places_module, "POINTS", most)
        make_report(tmp_path, change)
        grid = Grid(UTM, HALF_METRE, 400, 400)
        places = read_places(tmp_path / "changes.gpkg", grid)
        assert sum(len(ring) for place in places for ring in place.rings) <= most
        disc = shapely.Polygon(places[0].rings[0])
        assert disc.symmetric_difference(shapely.Point(200, 200).buffer(150)).area < apart * np.pi * 150**2
        assert all(len(place.rings[0]) >= 3 for place in places)


def test_the_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    report, grid = make_report(tmp_path, three_blobs())
    report.write(tmp_path / "report.html", summary_of(grid))
    text = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in text
    namespace = '"http://www.opengis.net/kml/2.2"'  # of the KML that the page saves: a name, not an address
    assert text.count(namespace) == 1
    text = text.replace(namespace, "")
    assert re.findall(r"https?://|@import|url\(|<script[^>]*src|fetch\(|XMLHttpRequest|import\(", text) == []
    assert re.findall(r"<link[^>]*>", text) == ['<link rel="icon" href="data:,">']


NASTY = [
    '</script><script>alert("x")</script>',
    "<img src=x onerror=alert(1)> & \"quoted\" 'single'",
    "<!-- <script> {{ 7 * 7 }} {% raw %} `${1}`",
    "line\u2028separator\u2029 \u202eright to left",
]


@pytest.mark.parametrize("nasty", NASTY)
def test_texts_from_files_are_escaped(tmp_path: Path, nasty: str) -> None:
    report, grid = make_report(tmp_path, three_blobs())
    plain = summary_of(grid)
    card = plain["model"]["card"] | dict.fromkeys(("name", "dataset", "license", "precision"), nasty)
    card["scores"] = {nasty: {"f1": 0.5}}
    image = plain["inputs"]["before"] | {"crs": nasty, "path": nasty.replace("/", "\u2215"), "dtype": nasty}
    summary = plain | {
        "inputs": {"before": image, "after": image}, "device": nasty, "warnings": [nasty],
        "grid": plain["grid"] | {"crs": nasty}, "model": plain["model"] | {"card": card, "sha256": nasty},
    }  # fmt: skip
    for name, content in (("plain", plain), ("nasty", summary)):
        report.write(tmp_path / f"{name}.html", content)
    text, harmless = ((tmp_path / f"{name}.html").read_text() for name in ("nasty", "plain"))
    assert "<" not in nasty or nasty not in text
    tags = r"<(?:/?script|img|!--|iframe)"
    assert len(re.findall(tags, text)) == len(re.findall(tags, harmless))
    for sign in "\u2028\u2029":
        assert sign not in re.findall(r"<script>(.*?)</script>", text, re.S)[0]
    assert data_of(text)["places"] == data_of(harmless)["places"]
    if "alert" in nasty:
        assert text.count("alert(") == text.count("&gt;alert(") + text.count("onerror=alert(")


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    report, grid = make_report(tmp_path, three_blobs())
    summary = summary_of(grid)
    summary["inputs"]["before"] = summary["inputs"]["before"] | {"path": "/data/caf\udce9.tif"}
    report.write(tmp_path / "report.html", summary)
    assert "caf?.tif" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_it_says_of_a_run(tmp_path: Path) -> None:
    report, grid = make_report(tmp_path, three_blobs())
    report.write(tmp_path / "report.html", summary_of(grid, warnings=["the colours are odd."] * 25, polygons=3000))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", (tmp_path / "report.html").read_text()))
    for words in (
        "a.tif → b.tif", "3.0 m² 12.5 % of compared", "96.0 % of the image", "0.5 m the model: unknown",
        "25 warnings", "5 more in summary.json", "3,000 changes", "The 3 largest; all are in changes.gpkg",
        "82.6 on levir/val", "device CPU", "1.0 s, 1.00 megapixels per second",
    ):  # fmt: skip
        assert words in text


def test_what_was_asked_of_a_run(tmp_path: Path) -> None:
    report, grid = make_report(tmp_path, three_blobs())
    summary = summary_of(
        grid,
        registration={"note": "the dates are 0.3 pixels apart."},
        tiles={"run": 9, "skipped": 0, "taken_over": 5},
    )
    summary["options"] |= {"clip": "/data/aoi.gpkg", "min_area": 5.0, "simplify": 0.7, "fill_holes": 20.0}
    report.write(tmp_path / "report.html", summary)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", (tmp_path / "report.html").read_text()))
    for words in (
        "area of interest aoi.gpkg", "registration the dates are 0.3 pixels apart.", "of 5 m² or more",
        "simplified by up to 0.7 m, holes below 20 m² filled", "9 run, 5 of them before the run was resumed",
    ):  # fmt: skip
        assert words in text


def test_no_change(tmp_path: Path) -> None:
    report, grid = make_report(tmp_path, np.zeros((50, 60), bool))
    report.write(tmp_path / "report.html", summary_of(grid, polygons=0))
    text = (tmp_path / "report.html").read_text()
    assert data_of(text)["places"] == []
    assert "No change was found" in text
    assert "0 changes" in text


def test_without_crs(tmp_path: Path) -> None:
    report, grid = make_report(tmp_path, three_blobs(), crs=None)
    summary = summary_of(grid, area_m2={"valid": None, "changed": None})
    summary["grid"] |= {"crs": None, "gsd": None}
    report.write(tmp_path / "report.html", summary)
    data = data_of((tmp_path / "report.html").read_text())
    assert data["metres"] is None
    assert [place["area"] for place in data["places"]] == ["1,100 px", "300 px", "1 px"]
    assert [place["position"] for place in data["places"]] == [None] * 3
    assert [place["box"] for place in data["places"]][2] == [5, 100, 6, 101]


def test_place_on_no_known_earth(tmp_path: Path) -> None:
    local = CRS.from_wkt('LOCAL_CS["a site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]')
    report, _ = make_report(tmp_path, three_blobs(), crs=local)
    assert [place.position for place in report._places] == [None] * 3


@pytest.mark.parametrize(
    ("square_metres", "pixels", "text"),
    [
        (None, 1234, "1,234 px"),
        (0.25, 1, "0.2 m²"),
        (9_999.0, 1, "9,999 m²"),
        (12_345.0, 1, "1.23 ha"),
        (3.2e6, 1, "3.20 km²"),
    ],
)
def test_areas_in_words(square_metres: float | None, pixels: int, text: str) -> None:
    assert area_text(square_metres, pixels) == text


def test_details_show_places_finer_than_the_overview(
    make_tiff: Tiff, ground: Ground, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole run: what the windows show is what the files hold there."""
    monkeypatch.setattr(thumbnail_module, "SIDE", 64)
    monkeypatch.setattr(report_module, "_NARROWEST", 48)
    images = [cv2.GaussianBlur(ground(300, 400, seed).transpose(1, 2, 0), (0, 0), 2) for seed in (1, 2)]
    paths = [make_tiff(f"{i}.tif", np.ascontiguousarray(image.transpose(2, 0, 1))) for i, image in enumerate(images)]
    detect(*paths, tmp_path / "out", model=model)
    data = data_of((tmp_path / "out" / "report.html").read_text())
    assert data["step"] == 7
    assert data["overview"]["before"]["size"] == [58 * 7, 43 * 7]
    assert decoded(data["overview"]["after"]["url"]).shape == (43, 58, 3)
    assert data["details"]
    for detail in data["details"]:
        left, top, right, bottom = detail["box"]
        for name, image in zip(("before", "after"), images, strict=True):
            picture = decoded(detail["pictures"][name])
            part = image[top:bottom, left:right]
            assert max(picture.shape) == min(384, max(part.shape))
            part = cv2.resize(part, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
            assert abs(picture.astype(int) - part).mean() < 6
    first = data["places"][0]["box"]
    assert any(
        box[0] <= first[0] and box[1] <= first[1] and box[2] >= first[2] and box[3] >= first[3]
        for box in (detail["box"] for detail in data["details"])
    )


def test_windows_lie_in_the_scene_and_hold_the_largest_and_the_surest() -> None:
    grid = Grid(UTM, HALF_METRE, 20_000, 9_000)
    rng = np.random.default_rng(0)
    places = []
    for number in range(1, 400):
        size = 3 + 9000 // number
        col, row = (int(rng.integers(0, max(1, limit - size))) for limit in (20_000, 9_000))
        box = Window(col, row, size, min(size, 9_000 - row))
        middle = (col + size / 2, row + box.height / 2)
        places.append(places_module.Place(number, 1.0, 1, float(rng.random()), 1.0, box, middle, None, None, ()))
    windows = detail_windows(places, grid, 10)
    assert len(windows) == report_module.DETAILS
    assert windows == sorted(windows, key=lambda window: window.row_off)
    assert all(window.intersection(grid.window) == window for window in windows)
    assert max(window.width for window in windows) == 1024
    small = [place for place in places if max(place.box.width, place.box.height) < 500]
    surest = sorted(small, key=lambda place: -place.mean)[:20]
    for place in [*small[:20], *surest]:
        assert any(window.intersection(place.box) == place.box for window in windows)
    assert detail_windows(places, grid, 1) == []  # the overview shows every pixel


def test_a_picture_fits_whatever_it_shows() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    for most in (200_000, 30_000, 2_000, 700):  # 0.6 kB of a JPEG are its tables
        url = data_url(noise, most, fine=True)
        assert len(url) <= most
        height, width, _ = decoded(url).shape
        assert (width / height) == pytest.approx(4 / 3, rel=0.2)
        assert url == data_url(noise, most, fine=True)
    with pytest.raises(ValueError, match="as few as 40 bytes"):
        data_url(noise, 40, fine=True)


@pytest.mark.slow
def test_noise_stays_below_ten_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst there is: random pixels, a hundred thousand ragged changes, texts without end."""
    rng = np.random.default_rng(0)
    probability = cv2.GaussianBlur(rng.random((2600, 2600), np.float32), (0, 0), 1.0)
    probability = np.clip((probability - 0.5) * 8 + 0.45, 0, 1)
    photos = [rng.integers(0, 256, (3, 2600, 2600), np.uint8) for _ in range(2)]
    report, grid = make_report(tmp_path, probability > 0.5, photos=photos, probability=probability)
    summary = summary_of(grid, warnings=["x" * 100_000] * 1000, device="y" * 10_000_000)
    report.write(tmp_path / "report.html", summary)
    size = (tmp_path / "report.html").stat().st_size
    data = data_of((tmp_path / "report.html").read_text())
    assert len(data["places"]) == places_module.MOST
    assert len(data["details"]) == report_module.DETAILS
    assert 5_000_000 < size < LIMIT
    parts = sum(report_module._OVERVIEW.values()) + sum(report_module._DETAILS.values())
    text = size - sum(len(one["url"]) for one in data["overview"].values())
    text -= sum(len(url) for detail in data["details"] for url in detail["pictures"].values())
    assert parts + text < LIMIT  # also if every picture took all it may


def test_long_texts_are_cut(tmp_path: Path) -> None:
    report, grid = make_report(tmp_path, three_blobs())
    report.write(tmp_path / "report.html", summary_of(grid, warnings=["w" * 5000], device="d" * 5000))
    text = (tmp_path / "report.html").read_text()
    assert "w" * (LONGEST - 1) + "…" in text
    assert "d" * LONGEST not in text


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    report, grid = make_report(tmp_path, three_blobs())
    with pytest.raises(ProductError, match=r"report\.html could not be written"):
        report.write(tmp_path / "absent" / "report.html", summary_of(grid))
    (tmp_path / "changes.gpkg").write_bytes(b"no layer")
    with pytest.raises(ProductError, match=r"changes\.gpkg could not be read"):
        read_places(tmp_path / "changes.gpkg", grid)
