"""A review in a real browser: from the first key to decisions.json, changes-reviewed.gpkg, labels and paper."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyogrio.raw
import pytest
import shapely
from affine import Affine
from browser import BROWSER, Page
from rasterio.crs import CRS
from reports import decisions_of, make_report, make_result, summary_of

from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.make import make_dataset
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.geo.crs import transformer
from schanger_edge.geo.grid import Grid
from schanger_edge.products.pdf import write_pdf
from schanger_edge.products.report.places import north_of
from schanger_edge.run.review import review

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or Chrome is installed to open the page")

BOXES = ((40, 30, 64, 54), (240, 40, 262, 62), (150, 150, 170, 170), (30, 260, 48, 278), (250, 270, 266, 286))
"""Of the changes, largest first: left, top, right, bottom. The first has a hole."""
MEAN = (0.6, 0.7, 0.8, 0.9, 0.95)
IDS = [1, 2, 3, 4, 5]
AXE = importlib.util.find_spec("axe_core_python")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review") / "result"
    change, probability = np.zeros((320, 320), bool), np.full((320, 320), 0.1)
    for (left, top, right, bottom), mean in zip(BOXES, MEAN, strict=True):
        change[top:bottom, left:right] = True
        probability[top:bottom, left:right] = mean
    change[40:44, 50:54] = False
    probability[40:44, 50:54] = 0.1
    photos = [np.random.default_rng(seed).integers(1, 256, (3, 320, 320), np.uint8) for seed in (1, 2)]
    make_result(folder, change, photos=photos, probability=probability)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One for all tests; the reports of this module load and complain of nothing."""
    with Page(tmp_path_factory.mktemp("browser"), 1400, 900) as page:
        yield page
        assert {address.rpartition("/")[2] for address in page.requests if address.startswith("file:")} == {
            "report.html"
        }
        assert [address for address in page.requests if not address.startswith(("file:", "blob:"))] == []
    assert page.problems == []


@pytest.fixture
def page(browser: Page, result: Path, tmp_path: Path) -> Page:
    """The report on a desk, as nobody has seen it yet."""
    browser.resize(1400, 900)
    browser.downloads_to(tmp_path)
    browser.open(result / "report.html")
    browser.value("localStorage.clear()")
    browser.open(result / "report.html")
    return browser


def text(page: Page, selector: str) -> str:
    found: str = page.value(f"document.querySelector({selector!r}).textContent")
    return found


def listed(page: Page) -> list[int]:
    numbers = page.value("[...document.querySelectorAll('#list .number')].map((one) => one.textContent)")
    return [int(number.removeprefix("#")) for number in numbers]


def chosen(page: Page) -> Any:
    return page.value("chosen && chosen.id")


def click(page: Page, selector: str) -> None:
    page.value(f"document.querySelector({selector!r}).scrollIntoView({{ block: 'nearest' }})")
    page.click(*page.middle(selector))


def set_control(page: Page, name: str, value: Any) -> None:
    """As dragging a slider, typing a number or choosing from a menu does."""
    page.value(f"{{ const one = byId({name!r}); one.value = {value!r}; one.dispatchEvent(new Event('input')); }}")
    page.settle()


def saved(page: Page, button: str, path: Path) -> str:
    """The file that a button saves."""
    page.value("byId('files').open = true")
    click(page, f"#{button}")
    page.until(lambda: path.is_file() and path.stat().st_size > 0)
    return path.read_text(encoding="utf-8")


def test_keys_decide_and_the_browser_keeps_it(page: Page, result: Path) -> None:
    page.press("a")
    assert text(page, "#said") == "Choose a change first."
    for key in "naAnxnU":
        page.press(key, shift=key.isupper())
    # 1 accepted and taken back, accepted again and on to 2; 3 rejected; 4 unsure, and on to 5
    assert page.value("places.map((place) => place.decision)") == ["accept", "", "reject", "unsure", ""]
    assert chosen(page) == 5
    assert text(page, "#reviewed") == "3 of 5 reviewed"
    assert page.value("byId('progress').value / byId('progress').max") == pytest.approx(0.6)
    click(page, "#list li:first-child button")
    assert page.value("byId('accept').getAttribute('aria-pressed')") == "true"
    click(page, "#note")
    page.call("Input.insertText", text="roof & walls")
    for key in "axu":  # letters of the note, not keys of the page
        page.press(key)
    page.press("Enter")
    page.press("n")
    assert chosen(page) == 2
    assert page.value("[byId('note').disabled, byId('note').value]") == [True, ""]
    click(page, "#unsure")
    page.open(result / "report.html")
    assert page.value("places.map((place) => place.decision)") == ["accept", "unsure", "reject", "unsure", ""]
    assert page.value("places[0].note") == "roof & wallsaxu"
    label = "document.querySelector('#list li:nth-child(3) button').getAttribute('aria-label')"
    assert page.value(label).endswith(", rejected")


def test_decisions_are_kept_for_this_run_alone(page: Page, tmp_path: Path) -> None:
    page.press("n")
    page.press("a")
    report, grid = make_report(tmp_path, np.eye(20, dtype=bool))
    report.write(tmp_path / "report.html", summary_of(grid, changes_sha256="e" * 64))
    page.open(tmp_path / "report.html")
    assert text(page, "#reviewed") == "0 of 20 reviewed"


@pytest.mark.parametrize(
    ("control", "value", "left"),
    [
        ("least-size", "100", [1, 2, 3]),  # 140, 121, 100, 81 and 64 square metres
        ("least-mean", "0.75", [3, 4, 5]),
        ("threshold", "0.91", [5]),
        ("show", "open", [2, 4, 5]),
        ("show", "kept", [1, 2, 4, 5]),
        ("show", "reject", [3]),
    ],
)
def test_filters(page: Page, control: str, value: str, left: list[int]) -> None:
    page.value("[places[0].decision, places[2].decision] = ['accept', 'reject']; decisionsChanged()")
    set_control(page, control, value)
    assert listed(page) == left
    assert text(page, "#listed") == f"{len(left)} of 5 listed"
    seen = page.value("places.map(({ inside: [x, y] }) => placeAt(...toStage(x + 0.5, y + 0.5))?.id ?? 0)")
    assert seen == [number if number in left else 0 for number in IDS]
    page.press("n")
    assert chosen(page) == left[0]
    page.press("p")
    assert chosen(page) == left[-1]
    page.value("byId('filters').open = true")
    click(page, "#show-all")
    assert listed(page) == IDS


def test_the_threshold_only_rises_and_says_so(page: Page) -> None:
    set_control(page, "threshold", "0.1")
    assert page.value("byId('threshold').value") == "0.5"
    assert listed(page) == IDS
    assert "Only upwards from the run's 0.5" in text(page, "#threshold-note")


def test_what_is_decided_leaves_a_list_of_the_undecided(page: Page) -> None:
    set_control(page, "show", "open")
    for key in "nanx":
        page.press(key)
    assert listed(page) == [3, 4, 5]
    page.press("n")
    assert chosen(page) == 3
    assert text(page, "#listed") == "3 of 5 listed"


def test_a_saved_file_is_loaded_again_all_or_nothing(page: Page, result: Path, tmp_path: Path) -> None:
    for key in "nanx":
        page.press(key)
    content = json.loads(saved(page, "save", tmp_path / "decisions.json"))
    summary = json.loads((result / "summary.json").read_text())
    assert content == decisions_of(summary, (1, "accept"), (2, "reject"))
    page.value("localStorage.clear()")
    page.open(result / "report.html")
    assert text(page, "#reviewed") == "0 of 5 reviewed"
    page.press("End")
    page.value("choose(places[4]); decide('unsure')")
    page.give_file("#file", tmp_path / "decisions.json")
    page.until(lambda: text(page, "#said") == "Decisions loaded: 2.")
    assert page.value("places.map((place) => place.decision)") == ["accept", "reject", "", "", "unsure"]
    wrong = {
        "These are decisions on another run: nothing was loaded.": content | {"changes_sha256": "0"},
        "This file was saved by another version of the report.": content | {"version": 2},
        "This file of decisions is damaged.": decisions_of(summary, (3, "accept"), (6, "accept")),
        "This is no file of decisions.": [1],
    }
    for said, other in wrong.items():
        (tmp_path / "other.json").write_text(json.dumps(other))
        page.give_file("#file", tmp_path / "other.json")
        page.until(lambda said=said: text(page, "#said") == said)
    assert page.value("places.map((place) => place.decision)") == ["accept", "reject", "", "", "unsure"]


def test_exports_hold_what_is_listed_where_it_is(page: Page, result: Path, tmp_path: Path) -> None:
    page.value(
        "choose(places[0]); decide('accept'); note.value = 'a, \"b\" <c>'; note.dispatchEvent(new Event('input'))"
    )
    page.value("choose(places[1]); decide('reject')")
    set_control(page, "show", "kept")
    features = json.loads(saved(page, "geojson", tmp_path / "changes-reviewed.geojson"))["features"]
    rows = list(csv.DictReader(saved(page, "csv", tmp_path / "changes-reviewed.csv").splitlines()))
    marks = ElementTree.fromstring(saved(page, "kml", tmp_path / "changes-reviewed.kml")).findall(".//{*}Placemark")
    review(result, rejecting(result, tmp_path / "decisions.json"), also=("geojson", "kml"))
    wkb = pyogrio.raw.read(result / "changes-reviewed.geojson")[2]
    exact = shapely.from_wkb(wkb)
    assert len(features) == len(rows) == len(marks) == len(exact) == 4
    for feature, row, mark, shape in zip(features, rows, marks, exact, strict=True):
        outline = shapely.geometry.shape(feature["geometry"])
        assert outline.exterior.is_ccw
        assert outline.symmetric_difference(shape).area < 0.004 * shape.area  # a centimetre of rounding
        inside = shapely.Point(float(row["longitude"]), float(row["latitude"]))
        assert inside.within(shape)
        drawn = [[float(value) for value in point.split(",")] for point in mark.find(".//{*}coordinates").text.split()]
        assert shapely.LinearRing(drawn).equals(outline.exterior)
    assert len(features[0]["geometry"]["coordinates"]) == 2  # with its hole
    assert features[0]["properties"] == {
        "id": 1, "area_m2": 140.1, "probability_mean": 0.598, "probability_max": 0.598, "decision": "accept",
        "note": 'a, "b" <c>',
    }  # fmt: skip
    assert (rows[0]["note"], rows[1]["decision"]) == ('a, "b" <c>', "")
    assert mark_text(marks[0], "description").endswith('accepted, a, "b" <c>')
    assert [mark_text(mark, "name") for mark in marks] == ["1", "3", "4", "5"]


def mark_text(mark: ElementTree.Element, name: str) -> str:
    found = mark.find(f"{{*}}{name}")
    assert found is not None
    return found.text or ""


def rejecting(result: Path, path: Path) -> Path:
    """decisions.json that rejects the second change."""
    path.write_text(json.dumps(decisions_of(json.loads((result / "summary.json").read_text()), (2, "reject"))))
    return path


def test_pictures_of_each_change_come_on_request(page: Page) -> None:
    assert page.value("document.querySelectorAll('#list canvas').length") == 0
    click(page, "#pictures")
    page.until(lambda: page.value("document.querySelectorAll('#list canvas').length") == 2 * 5)
    page.settle()
    script = """[...document.querySelectorAll('#list li:nth-child(3) canvas')].map((one) => {
        const pen = canvasOf(one.width).getContext('2d', { willReadFrequently: true }), sum = [0, 0, 0];
        pen.drawImage(one, 0, 0);
        const { data } = pen.getImageData(0, 0, one.width, one.height);
        data.forEach((value, i) => { if (i % 4 < 3) sum[i % 4] += value; });
        return sum.map((value) => value / one.width / one.height);
    })"""
    page.until(lambda: min(map(min, page.value(script))) > 60)  # of noise; empty they are darker
    before, after = page.value(script)
    assert before != after
    click(page, "#pictures")
    assert page.value("document.querySelectorAll('#list canvas').length") == 0


def test_on_a_phone_the_list_is_a_sheet(page: Page, result: Path) -> None:
    page.resize(390, 844, ratio=2, touch=True)
    page.open(result / "report.html")

    def top() -> float:
        page.until(lambda: not page.value("byId('changes').getAnimations().length"))
        found: float = page.box("#changes")[1]
        return found

    shut = top()
    assert shut > 700
    assert page.value("getComputedStyle(list).visibility") == "hidden"
    x, y = page.middle("#handle")
    page.touch("touchStart", (x, y))
    page.touch("touchEnd")
    assert top() < shut - 300
    assert page.value("byId('handle').getAttribute('aria-expanded')") == "true"
    x, y = page.middle("#list li:nth-child(2) button")
    page.touch("touchStart", (x, y))
    page.touch("touchEnd")
    page.settle()
    assert chosen(page) == 2
    assert top() == shut  # the picture is in view again
    for selector in ("#accept", "#reject", "#unsure"):
        assert min(page.box(selector)[2:]) >= 44
    x, y = page.middle("#handle")
    page.touch("touchStart", (x, y))
    for up in (20, 60, 120):
        page.touch("touchMove", (x, y - up))
    page.touch("touchEnd")
    assert top() < shut - 300
    page.value("byId('about').open = true")
    assert page.value("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]


@pytest.mark.skipif(AXE is None, reason="axe-core-python is not installed")
def test_axe_finds_nothing(page: Page, result: Path) -> None:
    assert AXE is not None
    assert AXE.submodule_search_locations is not None
    script = (Path(AXE.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")

    def violations() -> Any:
        page.value(f"{script};0")
        told = "violations.map(({ id, nodes }) => [id, ...nodes.map(({ target }) => target.join(' '))])"
        return page.value(f"axe.run(document).then(({{ violations }}) => {told})")

    page.press("n")
    page.press("a")
    assert violations() == []
    for panel in ("filters", "files"):
        page.value(f"byId({panel!r}).open = true")
        assert violations() == []
    click(page, "#pictures")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert violations() == []
    page.call("Emulation.setEmulatedMedia", features=[])
    page.resize(390, 844, ratio=1, touch=True)
    page.open(result / "report.html")
    page.value("setSheet(true)")
    assert violations() == []
    page.value("document.body.append(Object.assign(document.createElement('button'), { style: 'width: 40px' }))")
    assert [kind for kind, *_ in violations()] != []  # it does find what is wrong


def test_paper_holds_a_cover_a_map_and_each_listed_change(page: Page) -> None:
    page.value("choose(places[1]); decide('accept'); note.value = 'new hall'; note.dispatchEvent(new Event('input'))")
    page.value("choose(places[0]); decide('reject')")
    set_control(page, "show", "kept")
    page.value("window.print = () => { window.paperOut = true; }; 0")
    page.value("byId('files').open = true")
    click(page, "#print")
    page.until(lambda: page.value("'paperOut' in window"))
    assert page.value("[...document.querySelectorAll('.entry h3')].map((one) => one.textContent)") == [
        "#2", "#3", "#4", "#5",
    ]  # fmt: skip
    entry = page.value("document.querySelector('.entry').textContent")
    assert re.match(r"#2121 m² · probability 70 %, up to 70 % · 42\.\d+, 3\.\d+ · acceptednew hallbeforeafter$", entry)
    assert page.value("[...document.querySelectorAll('#paper img')].every((one) => one.naturalWidth > 400)")
    assert page.value("document.querySelectorAll('#paper img').length") == 1 + 2 * 4
    assert text(page, "#printed-title") == "Changes, 4 of 5"
    assert text(page, "#printed-review") == "2 of 5 reviewed: 1 accepted, 1 rejected"
    cover = text(page, ".cover")
    for words in ("42.0", "° N, 3.0", "a.tif, date not stated", "b.tif, date not stated", "Changed area"):
        assert words in cover


def test_a_print_from_the_menu_holds_the_same(page: Page) -> None:
    page.value("dispatchEvent(new Event('beforeprint'))")
    assert page.value("document.querySelectorAll('.entry').length") == 5


def test_a_pdf_has_numbered_pages_without_what_was_rejected(result: Path, tmp_path: Path) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    summary = json.loads((result / "summary.json").read_text())
    write_pdf(
        result / "report.html", tmp_path / "report.pdf", decisions_of(summary, (2, "reject"), (3, "accept", "</x>"))
    )
    assert [path.name for path in tmp_path.iterdir()] == ["report.pdf"]
    with pdfium.PdfDocument(tmp_path / "report.pdf") as document:
        pages = [document[index].get_textpage().get_text_range() for index in range(len(document))]
    assert all(f"{number} / {len(pages)}" in words for number, words in enumerate(pages, 1))
    assert "What changed" in pages[0]
    whole = "".join(pages)
    assert [f"#{number}" in whole for number in IDS] == [True, False, True, True, True]
    assert "</x>" in whole


def test_from_the_first_key_to_a_dataset(page: Page, result: Path, tmp_path: Path) -> None:
    dataset = reviewed_dataset(page, result, tmp_path)
    about, _, _, columns = pyogrio.raw.read(result / "changes-reviewed.gpkg", layer="changes")
    fields = dict(zip(about["fields"], columns, strict=True))
    assert fields["id"].tolist() == [1, 3, 4, 5]
    assert fields["decision"].tolist() == ["accept", "unsure", "accept", "accept"]
    files = pair_files(dataset, "train")
    changed = 0
    for entry in files:
        with Sample(entry, LabelRule.for_files(files)) as sample:
            assert sample.images()[0].shape == (3, 64, 64)
            changed += int(sample.label().sum())
    assert changed == 24 * 24 - 4 * 4 + 18 * 18 + 16 * 16


def reviewed_dataset(page: Page, result: Path, folder: Path) -> Path:
    """Accept 1, 4 and 5, reject 2, be unsure of 3; save; review; make a dataset."""
    for key in "nanxnunana":
        page.press(key)
    saved(page, "save", folder / "decisions.json")
    done = review(result, folder / "decisions.json", labels=folder / "labels")
    assert (done.reviewed, done.labels) == (5, (3, 1))
    make_dataset(folder / "labels" / "pairs.csv", folder / "data", tile=64, shares=(1, 0, 0))
    return folder / "data"


@pytest.mark.slow
def test_one_step_of_training_takes_it(page: Page, result: Path, tmp_path: Path) -> None:
    pytest.importorskip("schanger_export.train", reason="training needs the export extra")
    dataset = reviewed_dataset(page, result, tmp_path)
    command = [sys.executable, "-m", "schanger_edge", "train", dataset, "-o", tmp_path / "training", "--init"]
    command += ["schanger-small", "--epochs", "1", "--warmup-epochs", "0", "--tile", "64", "--batch", "4"]
    done = subprocess.run(
        [*map(str, command), "--val", f"{dataset},split=train"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "training" / "last.pth").stat().st_size > 0


@pytest.mark.parametrize("turn", [0, 30, 200])
def test_north_is_where_the_latitude_grows(turn: float) -> None:
    """Of a grid that is turned by so many degrees, on the meridian of its zone."""
    place = Affine.translation(500_000, 4_650_000) @ Affine.rotation(turn) @ Affine.scale(0.5, -0.5)
    assert north_of(Grid(CRS.from_epsg(32631), place, 10, 10)) == pytest.approx((turn + 180) % 360 - 180, abs=0.1)
    lon, lat = transformer("EPSG:32631", "OGC:CRS84").transform(*(place @ (0, 0)))
    assert (lon, lat) == (pytest.approx(3), pytest.approx(42, abs=0.01))
    assert north_of(Grid(None, Affine.identity(), 10, 10)) is None
