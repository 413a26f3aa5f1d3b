"""A review: what it leaves of a run's changes, the labels it makes, and whatever may be wrong with the decisions."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyogrio.raw
import pytest
import shapely
from helpers import MakePair, command_line
from reports import HALF_METRE, decisions_of, make_result, three_blobs

from schanger_edge import detect
from schanger_edge.datasets.make import make_dataset
from schanger_edge.errors import ProductError, ReviewError
from schanger_edge.products import pdf
from schanger_edge.products.polygons import LAYER
from schanger_edge.products.register import FORMATS, REVIEWED, REVIEWED_NAMES
from schanger_edge.run.review import Review, review

Summary = dict[str, Any]


@pytest.fixture
def result(tmp_path: Path) -> Path:
    make_result(tmp_path / "result", three_blobs())
    return tmp_path / "result"


def saved(result: Path, *decided: Any, **changes: Any) -> Path:
    """decisions.json on a result."""
    content = decisions_of(json.loads((result / "summary.json").read_text()), *decided) | changes
    path = result.parent / "decisions.json"
    path.write_text(json.dumps(content))
    return path


def reviewed(result: Path, *decided: Any, **options: Any) -> Review:
    return review(result, saved(result, *decided), **options)


def rows(path: Path, layer: str | None = LAYER) -> tuple[dict[str, list[Any]], Any]:
    about, _, wkb, columns = pyogrio.raw.read(path, layer=layer)
    return {name: column.tolist() for name, column in zip(about["fields"], columns, strict=True)}, shapely.from_wkb(wkb)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rejected_changes_go_and_the_others_say_what_was_decided(result: Path) -> None:
    done = reviewed(result, (2, "reject", "a shadow"), (1, "accept", "a & <b>"), also=tuple(FORMATS))
    assert (done.reviewed, done.changes, done.kept) == (2, 3, 2)
    assert done.counts == {"accept": 1, "reject": 1, "unsure": 0}
    before, shapes = rows(result / "changes.gpkg")
    after, kept = rows(result / "changes-reviewed.gpkg")
    assert after.pop("decision") == ["accept", None]
    assert after.pop("note") == ["a & <b>", None]
    assert after == {name: [column[0], column[2]] for name, column in before.items()}
    assert shapely.equals_exact(kept, shapes[[0, 2]]).all()
    assert {path.name for path in done.written} == {REVIEWED[name].name for name in ("", *FORMATS)}
    with (result / "changes-reviewed.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["id"], row["decision"], row["note"]) for row in table] == [("1", "accept", "a & <b>"), ("3", "", "")]
    about = [one.text for one in ElementTree.parse(result / "changes-reviewed.gpx").findall(".//{*}desc")]
    assert about == ["275.2 m2, probability 0.90, accept, a & <b>", "0.3 m2, probability 0.90"]
    assert "a &amp; &lt;b&gt;" in (result / "changes-reviewed.kml").read_text(encoding="utf-8")
    for name in ("geojson", "shapefile", "flatgeobuf"):
        columns, _ = rows(result / REVIEWED[name].name, None)
        assert (sorted(columns["id"]), set(columns["note"])) == ([1, 3], {"a & <b>", None})


def test_summary_tells_of_the_review_and_the_next_takes_its_place(result: Path) -> None:
    reviewed(result, (1, "accept"), also=("csv", "gpx"))
    reviewed(result, (1, "unsure"), (3, "accept"), also=("csv",))
    summary = json.loads((result / "summary.json").read_text())
    assert summary["review"] == {"accept": 1, "reject": 0, "unsure": 1, "not_reviewed": 1}
    assert set(summary["products"]) == {"changes.gpkg", "changes-reviewed.gpkg", "changes-reviewed.csv"}
    assert not (result / "changes-reviewed.gpx").exists()
    assert rows(result / "changes-reviewed.gpkg")[0]["decision"] == ["unsure", None, "accept"]


def test_decisions_hold_for_the_same_changes_and_go_with_a_new_run(
    make_pair: MakePair, model: Path, tmp_path: Path
) -> None:
    images, out = make_pair(150, 200), tmp_path / "out"
    first = detect(*images, out, model=model, min_area=0)
    decisions = saved(out, (1, "accept"))
    assert (
        detect(*images, tmp_path / "again", model=model, min_area=0).summary["changes_sha256"]
        == first.summary["changes_sha256"]
    )
    review(tmp_path / "again", decisions)
    review(out, decisions, also=("csv",))
    again = detect(*images, out, model=model, min_area=5, threshold=0.6)
    assert again.summary["changes_sha256"] != first.summary["changes_sha256"]
    assert [name for name in REVIEWED_NAMES if (out / name).exists()] == []
    with pytest.raises(ReviewError, match="decisions on another run's changes"):
        review(out, decisions)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "geojson"}, "holds no decisions"),
        ({"version": 2}, "has version 2 of its format"),
        ({"changes_sha256": "0" * 64}, "decisions on another run's changes"),
        ({"decisions": None}, "has no list of decisions"),
        ({"decisions": [7]}, "decision 1 is no object"),
        ({"decisions": [{"id": 4, "decision": "accept"}]}, "has the id 4, and ids are 1 to 3"),
        ({"decisions": [{"id": True, "decision": "accept"}]}, "has the id true"),
        ({"decisions": [{"id": 1.0, "decision": "accept"}]}, "has the id 1.0"),
        ({"decisions": [{"id": 2, "decision": "accept"}, {"id": 2, "decision": "accept"}]}, "second one on change 2"),
        ({"decisions": [{"id": 1, "decision": "ok"}]}, 'is "ok": write accept, reject or unsure'),
        ({"decisions": [{"id": 1, "decision": ["accept"]}]}, "write accept, reject or unsure"),
        ({"decisions": [{"id": 1, "decision": "accept", "note": "\x00"}]}, "a note that is no text"),
        ({"decisions": [{"id": 1, "decision": "accept", "note": "\ud800"}]}, "a note that is no text"),
    ],
)
def test_decisions_that_are_not_to_be_trusted(result: Path, changes: dict[str, Any], says: str) -> None:
    before = content(result)
    with pytest.raises(ReviewError, match=says):
        review(result, saved(result, **changes), also=("csv",), labels=result.parent / "labels")
    assert content(result) == before
    assert not (result.parent / "labels").exists()


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, None])
def test_a_file_of_decisions_that_is_none(result: Path, text: bytes | None) -> None:
    path = result.parent / "decisions.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ReviewError, match=r"decisions\.json (is damaged|holds no decisions|cannot be read)"):
        review(result, path)


def test_a_note_keeps_its_letters_and_loses_its_line_feeds(result: Path) -> None:
    reviewed(result, (1, "accept", "neu:\u00a0Halle\nfertig \u2713"))
    assert rows(result / "changes-reviewed.gpkg")[0]["note"][0] == "neu: Halle fertig \u2713"


def test_what_is_no_result(result: Path, tmp_path: Path) -> None:
    decisions = saved(result, (1, "accept"))
    with pytest.raises(ReviewError, match="holds no finished run"):
        review(tmp_path / "absent", decisions)
    summary = json.loads((result / "summary.json").read_text())
    (result / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k != "changes_sha256"}))
    with pytest.raises(ReviewError, match="made by an earlier version"):
        review(result, decisions)


def test_a_damaged_layer_leaves_everything_as_it_was(result: Path) -> None:
    decisions = saved(result, (1, "accept"))
    (result / "changes.gpkg").write_bytes(b"no layer")
    before = content(result)
    with pytest.raises(ProductError, match=r"changes\.gpkg could not be read"):
        review(result, decisions)
    assert content(result) == before


def test_a_file_of_yours_is_not_replaced(result: Path) -> None:
    (result / "changes-reviewed.gpkg").write_text("mine")
    with pytest.raises(ProductError, match="is no result of an earlier run"):
        reviewed(result, (1, "accept"))
    assert (result / "changes-reviewed.gpkg").read_text() == "mine"


def test_without_a_browser_a_pdf_is_one_sentence(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decisions, before = saved(result, (1, "accept")), content(result)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ProductError, match=r"no Chromium or Chrome was found to write report\.pdf: install one, or"):
        review(result, decisions, pdf=True)
    assert content(result) == before


@pytest.mark.skipif(os.name != "posix", reason="a script stands in for the browser")
def test_a_browser_that_fails_is_one_sentence(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = result.parent / "chromium"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(pdf, "find_browser", lambda: str(broken))
    before = content(result)
    with pytest.raises(ProductError, match=r"could not write report\.pdf \(no display\)"):
        review(result, pdf=True)
    assert content(result) == before


def test_without_decisions_only_a_pdf_can_be_made(result: Path) -> None:
    for options in ({}, {"also": ("csv",), "pdf": True}, {"labels": "labels", "pdf": True}):
        with pytest.raises(ReviewError, match=r"name the decisions\.json"):
            review(result, **options)


BOXES = ((40, 30, 64, 54), (240, 40, 262, 62), (150, 150, 170, 170), (30, 260, 48, 278), (250, 270, 266, 286))
"""Of the changes of `scattered`, largest first, in pixels: left, top, right, bottom."""


def scattered() -> np.ndarray:
    change = np.zeros((320, 320), bool)
    for left, top, right, bottom in BOXES:
        change[top:bottom, left:right] = True
    return change


def on_ground(*boxes: tuple[int, int, int, int]) -> Any:
    """Boxes of pixels (left, top, right, bottom) in the CRS."""
    shapes = [shapely.box(*box) for box in boxes]
    return shapely.transform(shapely.union_all(shapes), lambda xy: np.column_stack(HALF_METRE @ xy.T))


def test_accepted_and_rejected_places_become_labels(tmp_path: Path) -> None:
    """With a tile of 64: 1 is accepted, 2 rejected, 3 unsure; 4 is not reviewed, 5 accepted."""
    photos = [np.random.default_rng(seed).integers(1, 256, (3, 320, 320), np.uint8) for seed in (1, 2)]
    make_result(tmp_path / "result", scattered(), photos=photos)
    decided = ((1, "accept"), (2, "reject"), (3, "unsure"), (5, "accept"))
    done = reviewed(tmp_path / "result", *decided, labels=tmp_path / "labels")
    assert done.labels == (2, 1)
    _, labels = rows(tmp_path / "labels" / "changes.gpkg", "changes")
    assert shapely.equals(shapely.union_all(labels), on_ground(BOXES[0], BOXES[4]))
    _, area = rows(tmp_path / "labels" / "looked-at.gpkg", "looked-at")
    looked_at = shapely.union_all(area)
    within = on_ground((0, 0, 128, 118), (176, 0, 320, 126), (186, 206, 320, 320))
    assert shapely.equals(looked_at, shapely.difference(within, on_ground(BOXES[2], BOXES[3])))
    made = make_dataset(tmp_path / "labels" / "pairs.csv", tmp_path / "data", tile=64, shares=(1, 0, 0))
    tiles = json.loads((made.root / "dataset.json").read_text())["tiles"]
    windows = {tuple(tile["window"][:2]): tile["changed"] for tile in tiles}
    assert windows[0, 0] == 24 * 24  # holds the first
    assert windows[192, 0] == 0  # and part of the rejected one
    assert sum(windows.values()) == 24 * 24 + 16 * 16
    assert (128, 128) not in windows  # the unsure one
    assert (0, 256) not in windows  # nobody has looked there


def test_doubtful_ground_beside_a_known_place_is_left_out(tmp_path: Path) -> None:
    change = np.zeros((100, 100), bool)
    change[10:30, 10:30] = change[40:60, 10:30] = True
    make_result(tmp_path / "result", change)
    reviewed(tmp_path / "result", (1, "accept"), labels=tmp_path / "labels")
    _, area = rows(tmp_path / "labels" / "looked-at.gpkg", "looked-at")
    expected = shapely.difference(on_ground((0, 0, 94, 94)), on_ground((10, 40, 30, 60)))
    assert shapely.equals(shapely.union_all(area), expected)


def test_labels_that_cannot_be_made(result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(result)
    with pytest.raises(ReviewError, match="no change was accepted or rejected"):
        reviewed(result, (1, "unsure"), labels=tmp_path / "labels")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "pairs.csv").write_text("mine")
    with pytest.raises(ProductError, match=r"taken.pairs\.csv is no result"):
        reviewed(result, (1, "accept"), labels=tmp_path / "taken")
    (tmp_path / "a.tif").unlink()
    with pytest.raises(ReviewError, match=r"a\.tif is not here: call `review` from the folder in which"):
        reviewed(result, (1, "accept"), labels=tmp_path / "labels")
    assert content(result) == before
    assert not (tmp_path / "labels").exists()
    assert (tmp_path / "taken" / "pairs.csv").read_text() == "mine"
    make_result(tmp_path / "plain" / "result", three_blobs(), crs=None)
    with pytest.raises(ReviewError, match="have no CRS"):
        reviewed(tmp_path / "plain" / "result", (1, "accept"), labels=tmp_path / "labels")


def test_plain_images_have_no_place_on_earth(tmp_path: Path) -> None:
    make_result(tmp_path / "result", three_blobs(), crs=None)
    done = reviewed(tmp_path / "result", (1, "reject"), also=("kml", "csv"))
    assert [path.name for path in done.written] == ["changes-reviewed.gpkg", "changes-reviewed.csv"]
    assert "changes.kml was not written" in done.notes[0]


def test_no_change_and_nothing_to_decide(tmp_path: Path) -> None:
    make_result(tmp_path / "result", np.zeros((40, 50), bool))
    done = reviewed(tmp_path / "result")
    assert (done.reviewed, done.changes, done.kept) == (0, 0, 0)
    assert rows(tmp_path / "result" / "changes-reviewed.gpkg")[0]["decision"] == []


def test_on_the_command_line(result: Path) -> None:
    done = command_line("review", result, saved(result, (1, "accept"), (2, "reject")), "--also", "csv")
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0] == "2 of 3 reviewed: 1 accepted, 1 rejected, 0 unsure; the 2 not rejected are kept"
    assert told[1:] == [f"written: {result / name}" for name in ("changes-reviewed.gpkg", "changes-reviewed.csv")]
    failed = command_line("review", result, saved(result, (4, "accept")))
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (2, "", 1)
    assert "ids are 1 to 3" in failed.stderr
