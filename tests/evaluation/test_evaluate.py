"""Evaluate end to end on a small dataset: layouts, label rules, gallery, sweep, and what is refused before the work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.samples import LabelRule
from schanger_edge.errors import DatasetError, SchangerError
from schanger_edge.evaluation.evaluate import evaluate
from schanger_edge.evaluation.protocol import predicted_tiles
from schanger_edge.evaluation.sweep import THRESHOLDS, SweepCounter, false_alarm_objects
from schanger_edge.geo.grid import Window
from schanger_edge.model.bundled import model_path
from schanger_edge.sessions import open_session


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pairs of 96 x 128 pixels as SYSU-CD lays them out; the third without change."""
    rng = np.random.default_rng(3)
    for index in range(3):
        label = np.zeros((96, 128), np.uint8)
        label[20:60, 30 : 60 + 10 * index] = 0 if index == 2 else 255
        images = [cv2.GaussianBlur(rng.integers(0, 255, (96, 128, 3), np.uint8), (0, 0), 2) for _ in range(2)]
        for folder, image in zip(("time1", "time2", "label"), (*images, label), strict=True):
            path = tmp_path / "data" / "val" / folder
            path.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path / f"{index}.png"), image)
    return tmp_path / "data"


def truth(root: Path, model: Path) -> tuple[np.ndarray, np.ndarray]:
    """All probabilities and labels, image by image (3, 96, 128)."""
    files = pair_files(root, "val")
    probability, label = np.zeros((3, 96, 128), np.float32), np.zeros((3, 96, 128), bool)
    with open_session(model) as session:
        for tile, values in predicted_tiles(files, LabelRule(), session.run, 64):
            at = (int(tile.files.name), *tile.owned.slices_in(tile.scene))
            probability[at], label[at] = values, tile.label
    return probability, label


def test_everything_in_one_run(root: Path, model: Path, tmp_path: Path) -> None:
    plain = evaluate(root, split="val", model=model)
    seen: list[tuple[str, int, int]] = []
    page, sweep = tmp_path / "page.html", tmp_path / "sweep.json"
    result = evaluate(
        root, split="val", model=model, gallery=page, gallery_count=2, sweep=sweep, gsd=0.5,
        progress=lambda stage, done, total: seen.append((stage, done, total)),
    )  # fmt: skip
    assert result.as_dict() == plain.as_dict()
    assert seen == [("images", 1, 3), ("images", 2, 3), ("images", 3, 3)]
    assert page.read_text().count("<section") == 2
    stored = json.loads(sweep.read_text())
    assert stored["split"] == "val"
    assert [point["threshold"] for point in stored["points"]] == list(THRESHOLDS)
    picture = cv2.imread(str(tmp_path / "sweep.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 600
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data",
        "m.onnx",
        "page.html",
        "sweep.json",
        "sweep.png",
    ]


def test_sweep_equals_counting_at_each_threshold(root: Path, model: Path, tmp_path: Path) -> None:
    probability, label = truth(root, model)
    sweep = evaluate(root, split="val", model=model, sweep=tmp_path / "sweep.json", gsd=2.0).sweep
    assert sweep is not None
    for point in sweep.points:
        change = probability > point.threshold
        hits, predicted = (change & label).sum(), change.sum()
        assert point.recall == pytest.approx(hits / label.sum())
        assert point.precision == pytest.approx(hits / predicted if predicted else 0)
        assert point.f1 == pytest.approx(2 * hits / (predicted + label.sum()))
    best = max(point.f1 for point in sweep.points)
    assert sweep.best is not None
    assert sweep.best.f1 == best
    assert (sweep.at_model_threshold.threshold, sweep.at_model_threshold.f1) == (0.5, sweep.points[50].f1)
    area = 3 * 96 * 128 * 4 / 1e6
    for entry in sweep.false_alarms:
        objects = sum(
            brute_objects(p > np.float32(entry.threshold), t) for p, t in zip(probability, label, strict=True)
        )
        assert entry.objects == objects
        assert entry.per_km2 == pytest.approx(objects / area)
    assert sweep.false_alarms[0].objects > 0


def brute_objects(change: np.ndarray, label: np.ndarray) -> int:
    """By flood fill."""
    left, count = change.copy(), 0
    while left.any():
        heap, touched = [tuple(np.argwhere(left)[0])], False
        while heap:
            row, col = heap.pop()
            if 0 <= row < left.shape[0] and 0 <= col < left.shape[1] and left[row, col]:
                left[row, col], touched = False, touched or label[row, col]
                heap += [(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)]
        count += not touched
    return count


def test_false_alarm_objects_are_judged_over_the_whole_image() -> None:
    change, label = np.zeros((8, 12), bool), np.zeros((8, 12), bool)
    change[2, :] = True  # one object across what would be two tiles
    change[5, 5] = change[6, 6] = True  # two: corners don't connect
    assert false_alarm_objects(change, label) == 3
    label[2, 11] = True
    assert false_alarm_objects(change, label) == 2
    assert false_alarm_objects(np.zeros((4, 4), bool), label[:4, :4]) == 0


def test_average_precision_and_thresholds_between_the_steps() -> None:
    rng = np.random.default_rng(5)
    label = rng.random((50, 80)) < 0.3
    probability = np.clip(np.round(label * 0.3 + rng.random((50, 80)) * 0.7, 2) - 0.005, 0, 1).astype(np.float32)
    counter = SweepCounter(0.375)
    counter.add(Window(0, 0, 80, 50), Window(0, 0, 80, 50), probability, label)
    counter.end_image()
    sweep = counter.result()
    order = np.unique(probability)[::-1]  # every value lies between two steps: the sum over steps is exact
    total, recall = 0.0, 0.0
    for value in order:
        change = probability >= value
        now = (change & label).sum() / label.sum()
        total, recall = total + (now - recall) * (change & label).sum() / change.sum(), now
    assert sweep.average_precision == pytest.approx(total)
    assert sweep.at_model_threshold.threshold == 0.375
    assert sweep.at_model_threshold.recall == pytest.approx(((probability > 0.375) & label).sum() / label.sum())
    assert len(sweep.points) == 101
    assert (sweep.gsd, sweep.area_km2, sweep.gsd_source) == (None, None, "unknown")
    assert all(entry.per_km2 is None for entry in sweep.false_alarms)


def test_probabilities_on_a_threshold_are_not_greater() -> None:
    probability = np.array([THRESHOLDS], np.float32)
    counter = SweepCounter(0.5)
    counter.add(Window(0, 0, 101, 1), Window(0, 0, 101, 1), probability, np.ones((1, 101), bool))
    sweep = counter.result()
    assert [round(point.recall * 101) for point in sweep.points] == list(range(100, -1, -1))


def test_nothing_labelled_has_no_best_threshold(root: Path, model: Path, tmp_path: Path) -> None:
    for path in (root / "val" / "label").iterdir():
        cv2.imwrite(str(path), np.zeros((96, 128), np.uint8))
    result = evaluate(root, split="val", model=model, sweep=tmp_path / "sweep.json", gallery=tmp_path / "page.html")
    assert result.sweep is not None
    assert (result.sweep.best, result.sweep.average_precision) == (None, 0)
    (warning,) = result.warnings
    assert warning.startswith(
        f"no label pixel of {root} val counts by the rule `value != 0` (values in 0.png: 0): scores say"
    )
    assert result.as_dict()["warnings"] == (warning,)
    assert json.loads((tmp_path / "sweep.json").read_text())["best"] is None


def test_where_the_gsd_is_from(root: Path, model: Path, tmp_path: Path) -> None:
    def source(**options: float | str) -> tuple[float | None, str]:
        result = evaluate(root, split="val", model=model, sweep=tmp_path / "sweep.json", **options)  # type: ignore[arg-type]
        assert result.sweep is not None
        return result.sweep.gsd, result.sweep.gsd_source

    assert source(gsd=0.3, dataset="levir-cd") == (0.3, "given")
    assert source(dataset="sysu-cd") == (0.5, "sysu-cd as published")
    with open_session(model) as session:
        own = session.card.gsd
    expected = (None, "unknown") if own is None else (own, "model card")
    assert source(dataset="cdd") == source() == expected
    with open_session(model_path(None)) as session:
        assert session.card.gsd is not None


def test_label_rules(root: Path, model: Path) -> None:
    for path in (root / "val" / "label").iterdir():
        cv2.imwrite(str(path), np.tile(np.arange(4, dtype=np.uint8), (96, 32)))
    share = {}
    for rule in ("auto", "2,3", ">127"):
        result = evaluate(root, split="val", model=model, label_rule=rule)
        share[result.label_rule] = (result.counts.true_positive + result.counts.false_negative) / result.counts.total
    assert share == {"value != 0": 0.75, "value = 2 or 3": 0.5, "value > 127": 0}
    with pytest.raises(DatasetError, match="'houses' is unknown"):
        evaluate(root, split="val", model=model, label_rule="houses")


def test_refused_before_the_work(root: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(sentence: str, **options: object) -> None:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(SchangerError, match=sentence):
            evaluate(root, split="val", model=model, progress=lambda *_: pytest.fail("work"), **options)  # type: ignore[arg-type]
        assert sorted(tmp_path.iterdir()) == before

    (tmp_path / "taken").write_text("a file where the folder should be")
    refused("cannot be written", gallery=tmp_path / "taken" / "page.html")
    refused("cannot be written", sweep=tmp_path / "taken" / "sweep.json")
    refused("cannot be written", gallery=tmp_path)
    refused("--sweep must name the .json file", sweep=tmp_path / "sweep.png")
    refused("written to the same file", sweep=tmp_path / "a.json", json_file=tmp_path / "a.json")
    refused("--gallery-count must be at least 1", gallery=tmp_path / "page.html", gallery_count=0)
    refused("--gsd must be a positive number", sweep=tmp_path / "a.json", gsd=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(r"matplotlib is not installed: pip install 'schanger-edge\[bench\]'", sweep=tmp_path / "a.json")


def test_what_the_command_says(root: Path, model: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> Any:
        command = ["evaluate", root, "--model", model, "--sweep", tmp_path / "s.json", *arguments]
        return CliRunner().invoke(app, [str(argument) for argument in command])

    done = run("--split", "val", "--gsd", 0.5, "--gallery", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert "best threshold: 0." in done.output
    assert "the model's threshold: 0.5  f1 " in done.output
    assert "per km2 (GSD 0.5 m, given)" in done.output
    assert "written: " + str(tmp_path / "page.html") in done.output
    assert "choose it on val" not in done.output
    assert "warning" not in done.output
    done = run("--split", "val", "--label", "1")
    assert "label: value = 1, change: probability > 0.5" in done.output
    assert "(values in 0.png: 0, 255)" in done.stderr
    assert "choose the values that count with --label." in done.stderr
    (root / "val").rename(root / "test")
    done = run("--split", "test")
    assert done.exit_code == 0, done.output
    assert "choose it on val" in done.output


def test_nothing_is_written_where_an_image_is_damaged(root: Path, model: Path, tmp_path: Path) -> None:
    (root / "val" / "time2" / "2.png").write_text("no image")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DatasetError, match=r"time2/2\.png is incomplete"):
        evaluate(
            root, split="val", model=model, json_file=tmp_path / "a.json", gallery=tmp_path / "page.html",
            sweep=tmp_path / "sweep.json",
        )  # fmt: skip
    assert sorted(tmp_path.iterdir()) == before


def translated(path: Path, options: str) -> None:
    """What `gdal_translate OPTIONS` makes of a file, in its place, by the same virtual dataset that it builds."""
    kind, low, high, first, last = re.fullmatch(r"-ot (Byte) -scale (\d+) (\d+) (\d+) (\d+)", options).groups()  # type: ignore[union-attr]
    ratio = (int(last) - int(first)) / (int(high) - int(low))
    scaling = f"<ScaleOffset>{int(first) - int(low) * ratio}</ScaleOffset><ScaleRatio>{ratio!r}</ScaleRatio>"
    with rasterio.open(path) as source:
        bands = "".join(
            f'<VRTRasterBand dataType="{kind}" band="{band}"><ComplexSource><SourceFilename>{path}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>{scaling}</ComplexSource></VRTRasterBand>"
            for band in source.indexes
        )
        size = f'rasterXSize="{source.width}" rasterYSize="{source.height}"'
    with rasterio.open(f"<VRTDataset {size}>{bands}</VRTDataset>") as made:
        pixels = made.read()
    path.unlink()
    cv2.imwrite(str(path), pixels[::-1].transpose(1, 2, 0))


def test_the_advice_for_12_bits_keeps_the_score(root: Path, model: Path) -> None:
    """Twelve bits in sixteen, as many sensors give them; GDAL's own way to bytes would leave nothing but white."""
    as_bytes = evaluate(root, split="val", model=model)
    images = [path for folder in ("time1", "time2") for path in sorted((root / "val" / folder).iterdir())]
    for path in images:
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 16)  # type: ignore[union-attr]
    with pytest.raises(DatasetError) as refused:
        evaluate(root, split="val", model=model)
    options = str(refused.value).partition("`gdal_translate ")[2].partition(" IN OUT`")[0]
    for path in images:
        translated(path, options)
    advised = evaluate(root, split="val", model=model)
    assert advised.counts.true_positive > 0
    assert advised.f1 == pytest.approx(as_bytes.f1, abs=0.01)
