"""Tables, page and plot of a benchmark, from a document made up for it; no figure here was measured."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import BROWSER, Page

from schanger_edge.bench.pareto import COLORS, Point, front, points
from schanger_edge.bench.report import PARETO, html, markdown, read_document, write_results
from schanger_edge.bench.tables import Table, tables
from schanger_edge.errors import ProductError


def spread(value: float, n: int = 5) -> dict[str, Any]:
    return {"median": value, "low": 0.9 * value, "high": 1.1 * value, "n": n}


def state(**changes: Any) -> dict[str, Any]:
    return {
        "power_mode": "15W", "governor": None, "cpu_mhz": 1510.4, "gpu_mhz": None, "celsius": {"cpu": 51.2},
        "throttle_counts": {}, "gpu_held_down_by": [], "load": 0.1, **changes,
    }  # fmt: skip


def speed(model: str, batch: int, milliseconds: float, **changes: Any) -> dict[str, Any]:
    return {
        "device": "cpu", "model": model, "batch": batch, "failed": None, "warm_up": {"calls": 6, "settled": True},
        "latency_ms": {"n": 1234, "p50": milliseconds, "p95": 2 * milliseconds, "p99": None,
                       "p50_of_rounds": spread(milliseconds)},
        "megapixels_per_second": spread(1.5), "gsd": 0.5, "km2_per_second": spread(0.375), "energy_of": None,
        "joules_per_km2": None, "host_bytes": 420_000_000, "device_bytes": None, "memory_n": 1, **changes,
    }  # fmt: skip


def score(model: str, f1: float, **changes: Any) -> dict[str, Any]:
    return {
        "device": "cpu", "model": model, "dataset": "levir-cd", "split": "test", "f1": f1, "precision": 0.8,
        "recall": 0.7, "iou": 0.6, "accuracy": 0.9, "images": 128, "tiles": 2048, "official_tiles": 2048,
        "label_rule": "value != 0", "paper_f1": 92.45, "checkpoint_f1": 92.4391, **changes,
    }  # fmt: skip


def made_up(**changes: Any) -> dict[str, Any]:
    """Two models on a CPU, one dataset, a pair."""
    models = [
        {"name": name, "file": f"{name}.onnx", "bytes": 2_400_000, "sha256": "ab" * 32, "size": "small",
         "dataset": "levir-cd", "precision": precision, "tile": 256, "halo": 32, "gsd": 0.5}
        for name, precision in (("plain", "fp32"), ("small<b>|x", "int8"))
    ]  # fmt: skip
    names = [model["name"] for model in models]
    return {
        "format": 1, "schanger_edge": "1.0", "ended": "2020-01-02T03:04:05+00:00",
        "machine": {"devices": {"cpu": "Fake 9000, 2 cores"}, "facts": {"Python": "3.11"}},
        "options": {"devices": ["cpu"], "batches": [1, 4], "rounds": 5, "repetitions": 100, "pair_runs": 3,
                    "gsd": None},
        "models": models,
        "engines": [{"device": "cpu", "model": name, "engine": "ONNX Runtime 1 (CPU, 2 threads)", "notes": []}
                    for name in names],
        "accuracy": [score(names[0], 0.81234), score(names[1], 0.79), score(names[0], 0.5, dataset="own", split="val",
                     official_tiles=None, paper_f1=None, checkpoint_f1=None)],
        "published": [
            {"dataset": "levir-cd", "size": "small", "paper_f1": 92.45, "checkpoint_f1": 92.4391, "tiles": 2048},
            {"dataset": "cdd", "size": "small", "paper_f1": 95.75, "checkpoint_f1": 95.7662, "tiles": 3000},
        ],
        "speed": [speed(names[0], 1, 500.0), speed(names[0], 4, 2100.0), speed(names[1], 1, 300.0),
                  speed(names[1], 4, 0, failed="no room", latency_ms=None, megapixels_per_second=None,
                        km2_per_second=None, host_bytes=None)],
        "end_to_end": [{"device": "cpu", "model": name, "batch": 1, "megapixels": 4.19, "seconds": spread(3.0, 3),
                        "megapixels_per_second": spread(1.4, 3), "gsd": 0.5, "km2_per_second": spread(0.35, 3),
                        "read_busy": spread(0.5, 3), "infer_busy": spread(2.5, 3), "write_busy": spread(0.4, 3),
                        "energy_of": None, "joules_per_km2": None} for name in names],
        "conditions": [{"began": "2020-01-02T03:00:00+00:00", "ended": "2020-01-02T03:04:05+00:00",
                        "idle_watts": {}, "before": state(), "after": state(celsius={})}],
        "doubts": [], "method": ["How it is <done>."], "advice": ["cpu: take <it>."], "others": [], **changes,
    }  # fmt: skip


def cells(found: Table, *names: str) -> list[tuple[str, ...]]:
    """Some columns of a table."""
    places = [found.head.index(name) for name in names]
    return [tuple(row[place] for place in places) for row in found.rows]


def by_title(document: dict[str, Any]) -> dict[str, Table]:
    found = tables(document)
    assert all(len(row) == len(entry.head) for entry in found for row in entry.rows)
    return {entry.title.split(",")[0].split(" on ")[0]: entry for entry in found}


def test_scores_stand_beside_what_was_published() -> None:
    found = by_title(made_up())
    assert cells(found["Accuracy"], "dataset", "F1", "n tiles", "paper / checkpoint F1", "official split") == [
        ("levir-cd test", "81.23", "2,048", "92.45 / 92.44", "yes"),
        ("levir-cd test", "79.00", "2,048", "92.45 / 92.44", "yes"),
        ("own val", "50.00", "2,048", "-", "-"),
    ]
    assert cells(found["Published F1 of the authors' weights"], "dataset", "paper F1", "here") == [
        ("levir-cd test", "92.45", "plain 81.23, small<b>|x 79.00"),
        ("cdd test", "95.75", "not measured here"),
    ]


def test_a_part_of_a_split_is_not_official() -> None:
    found = by_title(made_up(accuracy=[score("plain", 0.9, tiles=32), score("plain", 0.9, split="val",
                                                                         official_tiles=None)]))  # fmt: skip
    assert cells(found["Accuracy"], "official split") == [("no",), ("no",)]
    assert cells(found["Published F1 of the authors' weights"], "here")[0] == ("not measured here",)


def test_every_figure_has_its_n() -> None:
    found = by_title(made_up())
    assert cells(found["Latency of one batch"], "batch", "p50", "rounds", "p95", "p99", "n calls") == [
        ("1", "500", "450-550", "1,000", "-", "1,234"), ("4", "2,100", "1,890-2,310", "4,200", "-", "1,234"),
        ("1", "300", "270-330", "600", "-", "1,234"), ("4", "no room", "-", "-", "-", "0"),
    ]  # fmt: skip
    assert cells(found["Network alone"], "megapixels/s", "n rounds", "host MB")[0] == ("1.50 (1.35-1.65)", "5", "420")
    assert cells(found["Network alone"], "host MB")[3] == ("not measured",)
    assert found["Network alone"].note.endswith("Not measured without a sensor: device MB, J/km2.")
    assert cells(found["End to end"], "seconds", "infer", "n runs")[0] == ("3.00 (2.70-3.30)", "2.50", "3")


def test_energy_says_what_it_is_of() -> None:
    document = made_up(speed=[speed("plain", 1, 5, energy_of="board (INA3221 VDD_IN)", joules_per_km2=spread(40))])
    found = by_title(document)["Network alone"]
    assert cells(found, "J/km2 (board (INA3221 VDD_IN))") == [("40.0 (36.0-44.0)",)]


def test_other_machines_stand_beside_by_name(tmp_path: Path) -> None:
    other = made_up(machine={"devices": {"cpu": "Other 1"}, "facts": {}})
    (tmp_path / "b.json").write_text(json.dumps(other))
    document = made_up(others=[read_document(tmp_path / "b.json")])
    found = by_title(document)["Latency of one batch"]
    assert [row[0] for row in found.rows] == ["Fake 9000, 2 cores (cpu)"] * 4 + ["Other 1 (cpu)"] * 4
    assert {point.device for found in points(document).values() for point in found} == {
        "Fake 9000, 2 cores (cpu)", "Other 1 (cpu)",
    }  # fmt: skip


def test_what_is_no_bench_json(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"format": 0}'):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(ProductError, match=r"is not a bench\.json of this version"):
            read_document(tmp_path / "b.json")
    with pytest.raises(ProductError, match=r"is not a bench\.json"):
        read_document(tmp_path / "none.json")


def test_the_front_is_what_nothing_dominates() -> None:
    def point(milliseconds: float, f1: float) -> Point:
        return Point("d", "m", "fp32", milliseconds, 0, 0, f1)

    fast, good, beaten, twin = point(1, 70), point(3, 80), point(4, 75), point(3, 79)
    assert front([beaten, good, twin, fast]) == [fast, good]


def test_markdown_keeps_its_columns_and_its_words() -> None:
    text = markdown(made_up(), has_picture=True)
    assert r"small\<b>\|x" in text
    found = re.findall(r"(?:^\| .*\n)+", text, re.MULTILINE)
    assert len(found) == len(tables(made_up()))
    for table in found:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "![Latency against F1](pareto.png)" in text
    assert "- none." in text
    assert "power mode 15W, CPU clock 1510 MHz, temperature cpu 51 C, load 0.1; not readable: governor" in text
    assert "![" not in markdown(made_up(), has_picture=False)


def test_all_files_follow_from_the_json_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    write_results(first, made_up())
    paths = write_results(second, json.loads((first / "bench.json").read_text()))
    assert sorted(path.name for path in paths) == ["bench.html", "bench.json", "bench.md", "pareto.png"]
    for path in paths:
        assert (first / path.name).read_bytes() == path.read_bytes()


def test_no_plot_without_a_dataset(tmp_path: Path) -> None:
    write_results(tmp_path, made_up())
    write_results(tmp_path, made_up(accuracy=[]))
    assert not (tmp_path / PARETO).exists()
    assert "<img" not in (tmp_path / "bench.html").read_text()


def test_the_plot_has_a_line_for_each_device(tmp_path: Path) -> None:
    other = made_up(machine={"devices": {"cpu": "Other 1"}, "facts": {}})
    other["speed"] = [speed("plain", 1, 50.0), speed("small<b>|x", 1, 30.0)]
    write_results(tmp_path, made_up(others=[other]))
    picture = cv2.imread(str(tmp_path / PARETO))
    assert picture is not None
    for color in COLORS[:2]:
        rgb = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
        assert (abs(picture[..., ::-1].astype(int) - rgb).max(axis=2) <= 8).sum() > 500


def test_page_is_whole_in_one_file_and_escaped() -> None:
    text = html(made_up(doubts=["a <script> ran"]), b"png")
    assert "take &lt;it&gt;." in text
    assert "a &lt;script&gt; ran" in text
    assert "small&lt;b&gt;|x" in text
    assert "<b>" not in text
    assert re.findall(r"<script|<link|https?://|@import|url\(", text) == []
    assert re.findall(r'src="([^,]*),', text) == ["data:image/png;base64"]


@pytest.mark.skipif(BROWSER is None, reason="no chromium or Chrome is installed to open the page")
@pytest.mark.parametrize("width", [390, 1400])
def test_a_browser_shows_the_page(tmp_path: Path, width: int) -> None:
    """Nothing complains, nothing is loaded, and only tables scroll sideways."""
    write_results(tmp_path, made_up(doubts=["The last round was 20% slower."]))
    with Page(tmp_path, width, 1000, touch=width < 500) as page:
        page.call("Page.navigate", url=(tmp_path / "bench.html").as_uri())
        page.until(lambda: page.value("document.readyState === 'complete' && document.images[0].naturalWidth > 0"))
        assert page.value("document.documentElement.scrollWidth <= innerWidth")
        assert page.value("[...document.querySelectorAll('table')].every((t) => t.scrollWidth > 0)")
        assert page.value("document.querySelectorAll('tbody tr').length") == sum(
            len(found.rows) for found in tables(made_up())
        )
        assert np.ptp(page.screenshot()) > 200
    assert page.problems == []
    assert page.requests == [(tmp_path / "bench.html").as_uri()]


def test_a_document_is_left_as_it_was() -> None:
    document = made_up()
    before = copy.deepcopy(document)
    tables(document)
    markdown(document, has_picture=False)
    assert document == before
