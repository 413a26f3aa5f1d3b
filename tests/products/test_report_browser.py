"""The report in a real browser: it swipes, jumps, zooms and copies, by mouse, touch and keys, and nothing complains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import BROWSER, Page
from reports import make_report, summary_of, three_blobs

from schanger_edge.products import thumbnail as thumbnail_module
from schanger_edge.products.report import page as report_module

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or Chrome is installed to open the page")

BEFORE, AFTER = (60, 180)  # grey levels of the two dates
CHOSEN = (0, 229, 255)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three changes: 1 is the largest, 3 the surest."""
    folder = tmp_path_factory.mktemp("report")
    change = three_blobs()
    probability = np.where(change, 0.7, 0.1)
    probability[60:70, 100:130] = 0.8
    probability[100, 5] = 0.95
    made, grid = make_report(folder, change, probability=probability)
    made.write(folder / "report.html", summary_of(grid))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with Page(tmp_path_factory.mktemp("browser"), 1400, 900) as page:
        yield page
    assert page.problems == []


@pytest.fixture
def desk(browser: Page, report: Path) -> Iterator[Page]:
    """The report on a desk; whatever a test does, nothing may complain or load anything."""
    browser.requests.clear()
    browser.open(report)
    yield browser
    assert browser.requests == [report.as_uri()]
    assert browser.problems == []


def stage_pixels(page: Page) -> np.ndarray:
    left, top, width, height = (round(value) for value in page.box("#stage"))
    return page.screenshot()[top : top + height, left : left + width].astype(int)


def scene_at(page: Page, box: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    """Where a box of scene pixels lies in the window."""
    left, top, _, _ = page.box("#stage")
    x0, y0 = page.value(f"toStage({box[0]}, {box[1]})")
    x1, y1 = page.value(f"toStage({box[2]}, {box[3]})")
    return left + x0, top + y0, left + x1, top + y1


def in_view(page: Page, box: tuple[int, int, int, int]) -> bool:
    left, top, width, height = page.box("#stage")
    x0, y0, x1, y1 = scene_at(page, box)
    return bool(left < x0 + 1 and top < y0 + 1 and x1 < left + width + 1 and y1 < top + height + 1)


def view(page: Page) -> list[float]:
    values: list[float] = page.value("[view.x, view.y, view.scale]")
    return values


def chosen(page: Page) -> Any:
    return page.value("chosen && chosen.id")


FIRST, SECOND, THIRD = (20, 10, 60, 40), (100, 60, 130, 70), (5, 100, 6, 101)


def test_the_divider_parts_the_two_dates(desk: Page) -> None:
    desk.press("o")  # without outlines
    _, _, width, _ = desk.box("#stage")
    for share in (0.5, 0.25, 0.8):
        x, y = desk.middle("#divider")
        desk.drag((x, y), (desk.box("#stage")[0] + share * width, y))
        pixels = stage_pixels(desk)
        # What is beside the scene, and the buttons over it, are dark.
        middle = pixels[pixels.shape[0] // 2]
        split = round(share * width)
        scene = (
            np.flatnonzero(abs(middle - BEFORE).max(axis=1) <= 3),
            np.flatnonzero(abs(middle - AFTER).max(axis=1) <= 3),
        )
        assert scene[0].max() < split < scene[1].min()
        assert scene[0].size > 0.9 * (split - scene[0].min()) > 50
        assert scene[1].size > 0.9 * (scene[1].max() - split) > 50
        assert int(desk.value("divider.getAttribute('aria-valuenow')")) == round(100 * share)


def test_any_two_pictures_can_be_compared(desk: Page) -> None:
    desk.press("o")
    for key, shift in (("3", False), ("2", True)):
        desk.press(key, f"Digit{key}", shift=shift)
    assert desk.value("[left.value, right.value]") == ["after", "probability"]
    row = stage_pixels(desk)[desk.value("stage.clientHeight") // 3]
    quarter, width = len(row) // 4, len(row)
    assert abs(row[width // 2 - quarter // 2] - AFTER).max() <= 3
    assert row[width // 2 + quarter // 2].max() < 60  # 10 % is nearly black
    assert desk.value("document.getElementById('legend').hidden") is False
    desk.press("1", "Digit1")
    assert abs(stage_pixels(desk)[len(row) // 4][width // 2 + quarter // 2] - BEFORE).max() <= 3
    for key, percent in (("ArrowRight", 52), ("ArrowLeft", 50), ("ArrowLeft", 48)):
        desk.press(key)
        assert int(desk.value("divider.getAttribute('aria-valuenow')")) == percent


def test_the_list_jumps_by_click_and_enter(desk: Page) -> None:
    whole = view(desk)
    assert in_view(desk, (0, 0, 160, 120))
    desk.click(*desk.middle("#list li:nth-child(2) button"))
    assert chosen(desk) == 2
    assert view(desk)[2] > 1.5 * whole[2]
    assert view(desk)[:2] == [115, 65]
    assert in_view(desk, SECOND)
    assert not in_view(desk, FIRST)
    desk.press("ArrowUp")
    assert chosen(desk) == 2  # only looked at
    assert view(desk)[:2] == [115, 65]
    desk.press("Enter")
    assert chosen(desk) == 1
    assert view(desk)[:2] == [40, 25]
    assert in_view(desk, FIRST)
    left, top, right, bottom = scene_at(desk, FIRST)
    assert (right - left) * (bottom - top) > 0.05 * np.prod(desk.box("#stage")[2:])  # large enough to see
    edge = desk.screenshot()[round((top + bottom) / 2), round(left) - 6 : round(left) + 7].astype(int)
    assert (abs(edge - CHOSEN).max(axis=1) < 40).any()  # its outline
    text = desk.value("document.getElementById('place').textContent")
    assert text.startswith("#1275 m²probability 70 %, up to 70 %42.0")


def test_next_and_previous_follow_the_order_of_the_list(desk: Page) -> None:
    seen = []
    for key in "njkpp":
        desk.press(key)
        seen.append(chosen(desk))
    assert seen == [1, 2, 1, 3, 2]
    desk.click(*desk.middle("#by-probability"))
    numbers = "[...document.querySelectorAll('#list .number')].map((one) => one.textContent)"
    assert desk.value(numbers) == ["#3", "#2", "#1"]
    desk.click(*desk.middle("#next"))
    assert chosen(desk) == 1
    desk.click(*desk.middle("#next"))
    assert chosen(desk) == 3
    assert in_view(desk, THIRD)
    desk.click(*desk.middle("#by-area"))
    assert desk.value(numbers) == ["#1", "#2", "#3"]


def test_hover_says_what_it_is_and_a_click_chooses(desk: Page) -> None:
    def point(col: float, row: float) -> tuple[float, float]:
        x, y, _, _ = scene_at(desk, (col, row, col, row))  # type: ignore[arg-type]
        return x, y

    tip = "[tip.hidden, tip.textContent]"
    desk.mouse("mouseMoved", *point(110, 65))
    hidden, text = desk.value(tip)
    assert not hidden
    assert text.startswith("#2, 75 m²probability 80 %, up to 80 %42.0")
    assert ", 3.00" in text
    desk.mouse("mouseMoved", *point(35, 20))  # in the hole of the first
    assert desk.value(tip)[0] is True
    desk.mouse("mouseMoved", *point(5.5, 101.8))  # beside a change of one pixel
    assert desk.value(tip)[1].startswith("#3")
    before = view(desk)
    desk.click(*point(25, 30))
    assert chosen(desk) == 1
    assert view(desk) == before
    assert desk.value("document.activeElement === document.body || document.activeElement === divider")


def test_keys_in_the_list_show_a_place_before_it_is_chosen(desk: Page) -> None:
    desk.value("document.querySelector('#files summary').focus()")
    desk.press("Tab")
    assert desk.value("document.activeElement.textContent").startswith("#1")
    desk.press("ArrowDown")
    assert desk.value("[hovered.id, tip.hidden, tip.firstChild.textContent]") == [2, False, "#2, 75 m²"]
    assert chosen(desk) is None
    desk.press("End")
    assert desk.value("hovered.id") == 3
    desk.press("Tab")
    assert desk.value("document.activeElement.closest('#list')") is None  # one stop, not one for each change


def test_zoom_and_pan(desk: Page) -> None:
    left, top, _, _ = desk.box("#stage")
    whole = view(desk)
    x, y = round(left) + 300, round(top) + 250  # the mouse is on whole pixels

    def under(x: float, y: float) -> Any:
        return desk.value(f"toScene({x - left}, {y - top})")

    scene = under(x, y)
    desk.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400)
    desk.settle()
    assert view(desk)[2] > 1.5 * whole[2]
    assert under(x, y) == pytest.approx(scene, abs=0.01)
    desk.drag((x, y), (x + 50, y - 30))
    assert under(x + 50, y - 30) == pytest.approx(scene, abs=0.01)
    assert chosen(desk) is None  # a drag is no click
    scale = view(desk)[2]
    desk.press("+")
    assert view(desk)[2] == pytest.approx(1.5 * scale)
    desk.press("-")
    col = view(desk)[0]
    desk.press("ArrowRight", shift=True)
    assert view(desk)[0] > col
    desk.press("0")
    assert view(desk) == whole


def test_blinking_shows_one_date_after_the_other(desk: Page) -> None:
    desk.press("o")
    desk.press("b")
    assert desk.value("[divider.hidden, byId('blink').getAttribute('aria-pressed')]") == [True, "true"]
    for side in ("left", "right", "left"):
        desk.until(lambda side=side: desk.value("shown.blink") == side)
    desk.value("clearInterval(blinking)")  # from here on the test says when
    for side, grey in (("left", BEFORE), ("right", AFTER)):
        desk.value(f"blinkTo({side!r})")
        desk.settle()
        row = stage_pixels(desk)[desk.value("height() >> 1")]
        same = np.flatnonzero(abs(row - grey).max(axis=1) <= 3)
        assert same.min() < 0.3 * len(row) < 0.7 * len(row) < same.max()
    desk.press("b")
    assert desk.value("[shown.blink, blinking, divider.hidden]") == ["", 0, False]


def test_the_first_view_fits_what_was_compared(browser: Page, tmp_path: Path) -> None:
    valid = np.zeros((300, 400), bool)
    valid[40:100, 100:200] = True
    change = np.zeros_like(valid)
    change[50:60, 120:130] = True
    made, grid = make_report(tmp_path, change, valid=valid)
    made.write(tmp_path / "report.html", summary_of(grid))
    browser.open(tmp_path / "report.html")
    left, top, right, bottom = browser.value("[...toStage(100, 40), ...toStage(200, 100)]")
    width, height = browser.value("[width(), height()]")
    assert max(right - left - width, bottom - top - height) == pytest.approx(0, abs=0.01)  # as large as it can be
    assert ((left + right) / 2, (top + bottom) / 2) == (pytest.approx(width / 2), pytest.approx(height / 2))
    browser.value("choose(places[0]); jump(places[0])")
    browser.settle()
    browser.press("0")
    assert browser.value("toStage(100, 40)") == pytest.approx([left, top])
    assert browser.value("byId('north').style.transform") == "rotate(0deg)"


def test_help_and_copy(desk: Page) -> None:
    desk.press("?", shift=True)
    assert desk.value("document.getElementById('help').open")
    desk.press("n")
    assert chosen(desk) is None
    desk.press("Escape")
    assert not desk.value("document.getElementById('help').open")
    desk.call("Emulation.setFocusEmulationEnabled", enabled=True)
    desk.press("n")
    desk.value("addEventListener('copy', () => { window.copied = String(document.getSelection()); })")
    desk.value("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as some browsers treat files
    desk.press("c")
    assert desk.value("window.copied") == desk.value("whereText(chosen)")
    assert desk.value("document.querySelector('.where button').textContent") == "Copied"


def test_detail_pictures_appear_where_a_place_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scene of which the overview shows every 13th pixel, of stripes that are grey in it."""
    monkeypatch.setattr(thumbnail_module, "SIDE", 64)
    monkeypatch.setattr(report_module, "_NARROWEST", 100)
    change = np.zeros((800, 800), bool)
    change[600:640, 500:530] = True
    stripes = np.broadcast_to(np.where(np.arange(800) // 8 % 2, 220, 20).astype(np.uint8), (3, 800, 800))
    made, grid = make_report(tmp_path, change, photos=(stripes, stripes[:, :, ::-1]))
    made.write(tmp_path / "report.html", summary_of(grid))
    with Page(tmp_path, 1400, 900) as page:
        page.open(tmp_path / "report.html")
        page.press("o")
        page.press("+")
        assert stage_pixels(page)[400, 300:1000].std() < 30
        page.press("n")
        left, top, right, bottom = (round(value) for value in scene_at(page, (502, 602, 514, 638)))
        assert page.screenshot()[top:bottom, left:right].std() > 70
        assert page.value("document.getElementById('coarse').hidden")
        page.value("setView(100, 100, view.scale)")
        page.settle()
        assert page.value("document.getElementById('coarse').textContent") == "overview: 6.5 m per screen pixel"
        assert not page.value("document.getElementById('coarse').hidden")
    assert page.problems == []


def test_on_a_phone(report: Path, tmp_path: Path) -> None:
    with Page(tmp_path, 390, 844, ratio=2, touch=True) as page:
        page.open(report)
        assert page.value("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
        assert page.value("document.documentElement.scrollHeight") < 1.25 * 844
        left, top, width, height = page.box("#stage")
        assert width == 390
        assert page.box("#changes")[1] >= top + height
        for selector in ("#next", "#previous", "#divider", "#zoom-in", "#handle", "#by-area", "#list button"):
            assert min(page.box(selector)[2:]) >= 32  # for thumbs
        x, y = page.middle("#divider")
        page.touch("touchStart", (x, y))
        page.touch("touchMove", (x - 50, y))
        page.touch("touchMove", (x - 97.5, y))
        page.touch("touchEnd")
        page.settle()
        assert page.value("shown.split") == pytest.approx(0.25, abs=0.01)
        whole = view(page)[2]
        middle = left + width / 2, top + height / 2
        for apart in (40, 60, 80):
            kind = "touchStart" if apart == 40 else "touchMove"
            page.touch(kind, (middle[0] - apart, middle[1]), (middle[0] + apart, middle[1]))
        page.touch("touchEnd")
        page.settle()
        assert view(page)[2] == pytest.approx(2 * whole, rel=0.1)
        page.press("0")
        x, y, _, _ = scene_at(page, SECOND)
        page.touch("touchStart", (x + 4, y + 4))
        page.touch("touchEnd")
        page.settle()
        assert chosen(page) == 2
        assert page.value("tip.hidden")
        assert page.value("document.documentElement.scrollWidth") == 390
        page.call("Emulation.setDeviceMetricsOverride", width=844, height=390, deviceScaleFactor=2, mobile=True)
        page.until(lambda: page.value("stage.clientWidth") == 844)
        page.settle()
        assert page.value("document.documentElement.scrollWidth") == 844
    assert page.problems == []


def test_names_that_look_like_markup_are_only_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\u2028<\u2215script><script>alert(2)<!--.tif"
    made, grid = make_report(tmp_path, three_blobs())
    summary = summary_of(grid, warnings=[name], device=name)
    summary["inputs"]["after"] = summary["inputs"]["after"] | {"path": name}
    made.write(tmp_path / "report.html", summary)
    with Page(tmp_path) as page:
        page.open(tmp_path / "report.html")
        assert page.value("document.querySelector('.names bdi:last-child').textContent") == name
        assert page.value("document.querySelector('.warnings li').textContent") == name
        assert page.value("[document.images.length, document.scripts.length]") == [0, 3]
        page.press("n")
        assert chosen(page) == 1
    assert page.problems == []


@pytest.mark.parametrize("shape", [(50, 60), (1, 900), (900, 1), (1, 1)])
def test_nothing_changed(tmp_path: Path, shape: tuple[int, int]) -> None:
    made, grid = make_report(tmp_path, np.zeros(shape, bool), crs=None)
    summary = summary_of(grid, polygons=0, area_m2={"valid": None, "changed": None})
    made.write(tmp_path / "report.html", summary)
    with Page(tmp_path) as page:
        page.open(tmp_path / "report.html")
        for key in "npc+-0o":
            page.press(key)
        assert page.value("document.getElementById('next').disabled")
        assert "No change was found" in page.value("document.body.innerText")
        assert in_view(page, (0, 0, shape[1], shape[0]))
    assert page.problems == []


def test_what_goes_wrong_in_a_page_is_seen(report: Path, tmp_path: Path) -> None:
    """The other tests could not fail otherwise; and the page cannot reach the network."""
    with Page(tmp_path) as page:
        page.open(report)
        page.value("setTimeout(() => { throw new Error('thrown') }), Promise.reject(new Error('rejected')), 0")
        page.value("console.error('said')")
        page.value("new Image().src = 'http://127.0.0.1:9/x.png'")
        page.until(lambda: len(page.problems) >= 4)
        assert page.value("fetch('http://127.0.0.1:9/').then(() => 'reached', () => 'refused')") == "refused"
    found = "\n".join(page.problems)
    for words in ("thrown", "rejected", "said", "violates the following Content Security Policy"):
        assert words in found
