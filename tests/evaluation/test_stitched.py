"""`evaluate --stitched`: the scores are those of the maps that `run` gives."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import load_benchmark, write_tiff
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.errors import DatasetError, ModelError, SchangerError
from schanger_edge.evaluation.demo import score
from schanger_edge.evaluation.evaluate import evaluate
from schanger_edge.evaluation.scores import Counts
from schanger_edge.run.detect import detect
from schanger_edge.sessions import open_session
from schanger_edge.tiling.plan import TilePlan, blend_of

SIZES = {"a": (150, 211), "b": (64, 64), "c": (40, 90)}
FOLDERS = ("A", "B", "label")


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=6, tile=64, halo=8)
    return tmp_path / "m.onnx"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three georeferenced pairs, one smaller than a tile; both dates and a label lie on one grid."""
    rng = np.random.default_rng(5)
    for name, size in SIZES.items():
        images = [cv2.GaussianBlur(rng.integers(1, 255, (*size, 3), np.uint8), (0, 0), 2) for _ in range(2)]
        label = (cv2.GaussianBlur(rng.random(size), (0, 0), 4) > 0.5).astype(np.uint8)
        for folder, pixels in zip(FOLDERS, (*(i.transpose(2, 0, 1) for i in images), label[None]), strict=True):
            write_tiff(tmp_path / "data" / "val" / folder / f"{name}.tif", pixels)
    return tmp_path / "data"


def counts_of_run(root: Path, model: Path, folder: Path) -> Counts:
    """`run` on each pair, its change.tif against the label."""
    total = Counts()
    for name in SIZES:
        before, after, label = (root / "val" / part / f"{name}.tif" for part in FOLDERS)
        result = detect(before, after, folder / name, model=model, threshold=0.5, min_area=0)
        total += score(result.change, label)
    return total


def test_small_images_get_the_smaller_tile(standin: ModuleType, tmp_path: Path) -> None:
    """By the protocol, and stitched, which equals what `run` gives."""
    rng, scores = np.random.default_rng(6), dict[tuple[str, bool], float]()
    for name, size in {"large": (330, 340), "small": (256, 300)}.items():
        for folder in FOLDERS:
            smooth = cv2.GaussianBlur(rng.integers(1, 255, (*size, 3), np.uint8), (0, 0), 3).transpose(2, 0, 1)
            pixels = smooth if folder != "label" else (smooth[:1] > 128).astype(np.uint8)
            write_tiff(tmp_path / "data" / "val" / folder / f"{name}.tif", pixels)
    for tile, any_tile in ((320, True), (256, False)):
        model = tmp_path / f"{tile}.onnx"
        standin.integer_model(model, radius=4, tile=tile, halo=8, any_tile=any_tile)
        result = evaluate(tmp_path / "data", split="val", model=str(model))
        scores["protocol", any_tile] = result.f1
        assert (result.tile, result.tiles) == (256, 6)
        stitched = evaluate(tmp_path / "data", split="val", model=str(model), stitched=True)
        assert stitched.f1 > 0
        assert stitched.tile == tile
        parts = {}
        for name in ("large", "small"):
            dates = [tmp_path / "data" / "val" / folder / f"{name}.tif" for folder in FOLDERS[:2]]
            parts[name] = detect(*dates, tmp_path / f"{name}-{tile}", model=model, min_area=0)
        assert parts["large"].summary["tiles"]["side"] == tile
        assert parts["small"].summary["tiles"]["side"] == 256
    assert scores["protocol", True] == scores["protocol", False] > 0
    for path in (tmp_path / "data" / "val").glob("*/large.tif"):
        path.unlink()
    small = evaluate(tmp_path / "data", split="val", model=str(tmp_path / "320.onnx"), stitched=True)
    assert (small.tile, small.images) == (256, 1)
    maps = [(tmp_path / f"small-{tile}" / "probability.tif").read_bytes() for tile in (320, 256)]
    assert maps[0] == maps[1]


def test_equals_what_run_gives(root: Path, model: Path, tmp_path: Path) -> None:
    """Also with a hole in one date, and the other date on a grid of its own."""
    hole = np.full((3, *SIZES["a"]), 90, np.uint8)
    hole[:, 30:110, 40:130] = 0
    write_tiff(root / "val" / "A" / "a.tif", hole, nodata=0)
    with rasterio.open(root / "val" / "B" / "c.tif") as source:
        pixels = source.read()
    moved = Affine(0.5, 0, 500_010.2, 0, -0.5, 4_650_000.0)
    write_tiff(root / "val" / "B" / "c.tif", pixels[:, 3:, 5:], transform=moved)
    result = evaluate(root, split="val", model=model, stitched=True)
    assert result.counts == counts_of_run(root, model, tmp_path / "run")
    assert result.counts.total < sum(height * width for height, width in SIZES.values())
    assert result.halo == 8
    assert result.tiles == sum(len(TilePlan(width, height, 64, 8)) for height, width in SIZES.values())


def test_halo_decides(root: Path, model: Path) -> None:
    """A network that sees six pixels far is as if in one piece with a halo of twelve, and not with one of six."""
    counts = {
        halo: evaluate(root, split="val", model=model, stitched=True, halo=halo).counts for halo in (0, 6, 12, 20)
    }
    assert counts[12] == counts[20]
    assert counts[0] != counts[12]
    assert counts[6] != counts[12]


def test_without_halo_it_is_the_protocol(root: Path, model: Path, tmp_path: Path) -> None:
    options = {"split": "val", "model": model, "gallery": tmp_path / "p.html", "sweep": tmp_path / "s.json"}
    plain, stitched = (evaluate(root, stitched=way, halo=0 if way else None, **options) for way in (False, True))  # type: ignore[arg-type]
    assert stitched.counts == plain.counts
    assert stitched.tiles == plain.tiles
    assert stitched.sweep == plain.sweep
    assert (plain.halo, stitched.halo) == (None, 0)


def test_what_is_not_valid_counts_nowhere(root: Path, model: Path, tmp_path: Path) -> None:
    """Not in the sweep, and not in the gallery, whose errors are those of the valid half."""
    half = np.full((3, *SIZES["a"]), 90, np.uint8)
    half[:, :, 100:] = 0
    write_tiff(root / "val" / "A" / "a.tif", half, nodata=0)
    result = evaluate(
        root, split="val", model=model, stitched=True, sweep=tmp_path / "s.json", gallery=tmp_path / "p.html", gsd=1
    )
    assert result.sweep is not None
    assert result.counts.total == 150 * 100 + 64 * 64 + 40 * 90
    assert result.sweep.area_km2 == pytest.approx(result.counts.total / 1e6)
    middle = result.sweep.points[50]
    assert (middle.f1, middle.recall) == pytest.approx((result.counts.f1, result.counts.recall))
    wrong = result.counts.false_positive + result.counts.false_negative
    rows = [line for line in (tmp_path / "p.html").read_text().splitlines() if "wrong pixels" in line]
    assert sum(int(line.split()[0].replace("<p>", "").replace(",", "")) for line in rows) == wrong


def test_published_figures_are_of_the_protocol(root: Path, model: Path) -> None:
    (root / "val").rename(root / "test")
    assert evaluate(root, dataset="levir-cd", model=model).paper_f1 is None  # the card names no published network
    result = evaluate(root, dataset="levir-cd", model=model, stitched=True)
    assert (result.official_tiles, result.paper_f1, result.checkpoint_f1) == (None, None, None)


def test_what_is_refused(root: Path, model: Path) -> None:
    with pytest.raises(SchangerError, match="--halo applies to --stitched only: the official protocol has no halo"):
        evaluate(root, split="val", model=model, halo=8)
    for halo in (-1, 32):
        with pytest.raises(ModelError, match=f"less than half the model's tile of 64, not {halo}"):
            evaluate(root, split="val", model=model, stitched=True, halo=halo)
    write_tiff(root / "val" / "label" / "b.tif", np.zeros((1, 64, 63), np.uint8))
    with pytest.raises(DatasetError, match=r"b\.tif has a different size, 63 x 64 pixels where the first image has 64"):
        evaluate(root, split="val", model=model, stitched=True)


def test_what_the_command_says(root: Path, model: Path, tmp_path: Path) -> None:
    command = ["evaluate", root, "--split", "val", "--model", model, "--stitched", "-o", tmp_path / "j"]
    done = CliRunner().invoke(app, [*map(str, command), "--halo", "4"])
    assert done.exit_code == 0, done.output
    assert "whole images as in run, halo 4" in done.output
    assert json.loads((tmp_path / "j").read_text())["halo"] == 4


def test_the_benchmark_measures_the_same(root: Path, model: Path) -> None:
    """benchmarks/stitching.py blends as `evaluate --stitched` does, for every halo."""
    stitching = load_benchmark("stitching")
    for halo in (0, 3, 8):
        counts = Counts()
        with open_session(model) as session:
            for name, (height, width) in SIZES.items():
                arrays = [rasterio.open(root / "val" / folder / f"{name}.tif").read() for folder in FOLDERS]
                scene = stitching.Scene(name, arrays[0], arrays[1], np.ones((height, width), bool), arrays[2][0] > 0)
                plan = TilePlan(width, height, 64, halo, blend_of(64, halo))
                counts += Counts.of(stitching.blend(stitching.Inference(session, scene), plan) > 0.5, scene.label)
        assert counts == evaluate(root, split="val", model=model, stitched=True, halo=halo).counts
