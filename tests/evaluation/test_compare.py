"""`schanger-edge compare`: agreement and latency of two models, and the sheet of the worst tiles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from helpers import Ground, Tiff
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.errors import ModelError, ProductError
from schanger_edge.evaluation import compare as compare_module
from schanger_edge.evaluation.compare import COLUMNS, GAP, HEAD, ROWS, SIDE, TileSheet, compare
from schanger_edge.sessions import Session, open_session

TILE = 64


@pytest.fixture
def models(standin: ModuleType, tmp_path: Path) -> tuple[Path, Path]:
    """Two networks of other weights."""
    paths = tmp_path / "one.onnx", tmp_path / "two.onnx"
    for seed, path in enumerate(paths):
        standin.integer_model(path, radius=2, tile=TILE, halo=4, seed=seed)
    return paths


def test_tiles_that_both_take(standin: ModuleType, tmp_path: Path) -> None:
    """A model that leaves the size open is compared with one of 256, and with one of its own."""
    paths = []
    for tile, any_tile in ((320, True), (256, False), (320, False)):
        paths.append(tmp_path / f"{tile}-{any_tile}.onnx")
        standin.integer_model(paths[-1], radius=2, tile=tile, halo=4, any_tile=any_tile)
    for other in paths:
        assert compare(paths[0], other, count=1).agreement.mean_difference == 0
    with pytest.raises(ModelError, match="take tiles of 256 and 320 pixels"):
        compare(paths[1], paths[2], count=1)


def test_a_model_agrees_with_itself(models: tuple[Path, Path]) -> None:
    result = compare(models[0], models[0], count=3)
    assert result.agreement.mean_difference == 0
    assert result.agreement.agreement == 1
    assert result.agreement.tiles == len(result.tiles) == 3
    assert result.latency_ratio > 0


def test_two_models_differ_and_the_files_say_how(models: tuple[Path, Path], tmp_path: Path) -> None:
    sheet, values = tmp_path / "worst.png", tmp_path / "compare.json"
    result = compare(*models, count=4, worst=sheet, json_file=values)
    assert result.agreement.mean_difference > 0
    written = json.loads(values.read_text())
    assert written["agreement"]["mean_difference"] == pytest.approx(result.agreement.mean_difference, abs=1e-6)
    assert written["models"] == [str(path) for path in models]
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape[1] == COLUMNS * (SIDE + GAP) + GAP


def test_own_pairs(models: tuple[Path, Path], make_tiff: Tiff, ground: Ground) -> None:
    pair = f"{make_tiff('a.tif', ground(128, 128, 1))},{make_tiff('b.tif', ground(128, 128, 2))}"
    result = CliRunner().invoke(app, ["compare", *map(str, models), "--data", pair, "--tiles", "4"])
    assert result.exit_code == 0, result.output
    assert "4 tiles: agreement" in result.output
    assert "times as long as the first" in result.output
    told = CliRunner().invoke(app, ["compare", *map(str, models), "--data", pair, "--tiles", "4", "--json"])
    assert json.loads(told.stdout)["agreement"]["tiles"] == 4


def test_labels_that_are_all_alike_are_told(
    models: tuple[Path, Path], make_tiff: Tiff, ground: Ground, tmp_path: Path
) -> None:
    images = [make_tiff(f"{name}.tif", ground(128, 128, seed)) for seed, name in enumerate("ab")]
    label = make_tiff("label.tif", np.full((1, 128, 128), 3, np.uint8))
    command = ["compare", *map(str, models), "--tiles", "4", "-o", str(tmp_path / "a.json")]
    pair = f"{images[0]},{images[1]}"
    done = CliRunner().invoke(app, [*command, "--data", f"{pair},label={label}"])
    assert "label: value != 0\n" in done.output
    assert "warning: every label pixel of these tiles counts by the rule `value != 0`" in done.stderr
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["label_rules"] == ["value != 0"]
    assert len(written["warnings"]) == 1
    assert "label:" not in CliRunner().invoke(app, [*command, "--data", pair]).output


def test_notes_and_the_progress_of_a_build_are_shown(
    models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(model: Path, device: str, *, binding: str | None, progress: Callable[[str, int, int], None]) -> Session:
        progress("Building engine", 1, 2)
        session = open_session(model)
        session.notes.append(f"opened for {device}, {binding}")
        return session

    monkeypatch.setattr(compare_module, "open_session", opened)
    options = ["--tiles", "1", "--device", "cuda", "--cuda", "pycuda"]
    result = CliRunner().invoke(app, ["compare", *map(str, models), *options], catch_exceptions=False)
    assert "Building engine" in result.output
    for model in models:
        assert f"{model.name}: opened for cuda, pycuda" in result.output


def test_models_of_other_tiles(models: tuple[Path, Path], standin: ModuleType, tmp_path: Path) -> None:
    standin.integer_model(tmp_path / "large.onnx", radius=2, tile=128, halo=4)
    with pytest.raises(ModelError, match="tiles of 64 and 128"):
        compare(models[0], tmp_path / "large.onnx")


def test_no_tiles(models: tuple[Path, Path]) -> None:
    with pytest.raises(ProductError, match="at least 1"):
        compare(*models, count=0)


def test_sheet_keeps_the_worst_first(tmp_path: Path) -> None:
    sheet, map_ = TileSheet(), np.zeros((TILE, TILE), np.float32)
    for number in range(12):
        image = np.full((3, TILE, TILE), 20 * number, np.uint8)
        sheet.add(number / 100, str(number), image, image, map_, map_ + number / 12)
    sheet.write(tmp_path / "sheet.png", ("a", "b"))
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture is not None
    assert picture[HEAD + SIDE // 2, GAP + SIDE // 2].tolist() == [220, 220, 220]
    assert len(sheet._kept) == ROWS
    assert min(entry[0] for entry in sheet._kept) == pytest.approx(0.04)
