"""Labelled files are read as a run reads images, and what they leave in doubt is said by all that use them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio
from helpers import Ground, write_tiff
from rasterio.windows import Window as Part
from typer.testing import CliRunner

from schanger_edge.bench.plan import Request
from schanger_edge.bench.tool import bench
from schanger_edge.cli import app
from schanger_edge.datasets.doubts import Doubts
from schanger_edge.datasets.layouts import LabelledFiles, pair_files
from schanger_edge.datasets.make import make_dataset
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.datasets.statistics import color_statistics
from schanger_edge.errors import DatasetError
from schanger_edge.evaluation.compare import compare
from schanger_edge.evaluation.evaluate import evaluate
from schanger_edge.geo.grid import Window

SIDE = 128
HOLE = (slice(0, 20), slice(64, 128))
FILL = ((1, 2, 3), (4, 5, 6))


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=3, tile=64, halo=8)
    return tmp_path / "m.onnx"


@pytest.fixture
def root(tmp_path: Path, ground: Ground) -> Path:
    """Two pairs whose first date has its bands as blue, green, red and a hole; everything is labelled as change."""
    for number, name in enumerate("ab"):
        before = ground(SIDE, SIDE, number)
        before[(slice(None), *HOLE)] = 255
        path = write_tiff(tmp_path / "data/val/A" / f"{name}.tif", before[::-1], nodata=255, photometric="MINISBLACK")
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("blue", "green", "red")
        write_tiff(tmp_path / "data/val/B" / f"{name}.tif", ground(SIDE, SIDE, number + 5))
        write_tiff(tmp_path / "data/val/label" / f"{name}.tif", np.ones((1, SIDE, SIDE), np.uint8))
    return tmp_path / "data"


def unwritten(path: Path, image: np.ndarray) -> Path:
    """The image with a lower half that was never written."""
    height, width = image.shape[1:]
    write_tiff(path, image[:, :1, :1])
    with rasterio.open(path) as file:
        profile = file.profile | {"height": height, "width": width, "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(path, "w", **profile, sparse_ok=True, compress="deflate") as file:
        file.write(image[:, : height // 2], window=Part(0, 0, width, height // 2))
    return path


def test_images_are_read_as_a_run_reads_them(root: Path, ground: Ground) -> None:
    entry = pair_files(root, "val")[0]
    expected = ground(SIDE, SIDE, 0)
    with Sample(entry, LabelRule(), FILL) as sample:
        (before, after), valid = sample.read()
        part = sample.images(Window(60, 10, 20, 20))
        label = sample.label()
    assert valid is not None
    assert not valid[HOLE].any()
    assert valid.sum() == label.sum() == SIDE * SIDE - valid[HOLE].size
    assert (before[:, valid] == expected[:, valid]).all()
    for image, color, window in zip((before, after), FILL, part, strict=True):
        assert (image[(slice(None), *HOLE)] == np.array(color)[:, None, None]).all()
        assert (window == image[:, 10:30, 60:80]).all()


def test_blocks_that_were_never_written(root: Path, ground: Ground) -> None:
    entry = pair_files(root, "val")[0]
    unwritten(entry.images[1], ground(SIDE, SIDE, 5))
    with Sample(entry, LabelRule()) as sample:
        valid = sample.read()[1]
        assert any("50.0% of the blocks" in warning for warning in sample.warnings)
    assert valid is not None
    assert not valid[SIDE // 2 :].any()
    unwritten(entry.label, np.ones((1, SIDE, SIDE), np.uint8))
    with pytest.raises(DatasetError, match=r"50\.0% of the blocks of .*a\.tif were never written"), _opened(entry):
        pass
    with rasterio.open(entry.label, "r+") as file:
        file.nodata = 0  # says that they are no change
    with _opened(entry) as sample:
        assert not sample.label()[SIDE // 2 :].any()


def _opened(entry: LabelledFiles) -> Sample:
    return Sample(entry, LabelRule())


@pytest.mark.parametrize("stitched", [False, True])
def test_evaluate_leaves_out_what_has_no_data_and_says_so(root: Path, model: Path, stitched: bool) -> None:
    flags = ["--model", str(model), "--device", "cpu", *(["--stitched"] if stitched else [])]
    said = CliRunner().invoke(app, ["evaluate", str(root), "--split", "val", *flags])
    assert said.exit_code == 0
    found = evaluate(root, model=model, split="val", device="cpu", stitched=stitched)
    assert found.counts.total == 2 * (SIDE * SIDE - 20 * 64)
    assert found.warnings[-1] == "2,560 pixels have no data in one of the dates: they don't count."
    assert found.as_dict()["warnings"] == found.warnings
    for warning in found.warnings:
        assert " ".join(warning.split()) in " ".join(said.stderr.split())


def test_statistics_are_of_pixels_with_data(root: Path, ground: Ground) -> None:
    found = color_statistics(root, split="val")
    seen = np.ones((SIDE, SIDE), bool)
    seen[HOLE] = False
    means = np.mean([ground(SIDE, SIDE, number)[:, seen].mean(1) / 255 for number in (0, 1)], 0)
    np.testing.assert_allclose(found.before.mean, means, atol=1e-6)


def test_compare_and_bench_tell_of_an_unwritten_part(
    root: Path, model: Path, ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_tiff(tmp_path / "a.tif", ground(256, SIDE))
    after = unwritten(tmp_path / "b.tif", ground(256, SIDE, 1))
    found = compare(model, model, [f"{before},{after}"], count=2, device="cpu")
    assert [int(name.rpartition(",")[2]) < 128 for name in found.tiles] == [True, True]
    assert [warning for warning in found.warnings if "never written" in warning]
    monkeypatch.setattr("schanger_edge.bench.method.BLOCK_SECONDS", 0.0)
    monkeypatch.setattr("schanger_edge.bench.measure.peak_memory", lambda *_: {"host_bytes": 1, "device_bytes": None})
    request = Request([str(model)], batch_sizes=(1,), repetitions=10, pair=(str(before), str(after)), pair_runs=1)
    result = bench(tmp_path / "bench", request)
    assert [doubt for doubt in result["doubts"] if "never written" in doubt]


def test_dataset_make_tells_of_an_unwritten_part(ground: Ground, tmp_path: Path) -> None:
    before = write_tiff(tmp_path / "a.tif", ground(256, 256))
    after = unwritten(tmp_path / "b.tif", ground(256, 256, 1))
    label = write_tiff(tmp_path / "l.tif", np.ones((1, 256, 256), np.uint8))
    (tmp_path / "pairs.csv").write_text(f"before,after,label,split\n{before},{after},{label},train\n")
    made = make_dataset(tmp_path / "pairs.csv", tmp_path / "tree", tile=64)
    assert [note for note in made.warnings if note.startswith("line 2: 50.0% of the blocks of")]
    assert json.loads((tmp_path / "tree" / "dataset.json").read_text())["warnings"] == list(made.warnings)
    unwritten(label, np.ones((1, 256, 256), np.uint8))
    with pytest.raises(DatasetError, match=r"line 2: 50\.0% of the blocks of .*l\.tif were never written"):
        make_dataset(tmp_path / "pairs.csv", tmp_path / "tree2", tile=64)


def test_a_label_whose_white_is_zero(ground: Ground, tmp_path: Path) -> None:
    before = write_tiff(tmp_path / "a.tif", ground(128, 128))
    dark = np.full((1, 128, 128), 255, np.uint8)
    dark[:, :64, :64] = 0  # shown white: change
    label = write_tiff(tmp_path / "l.tif", dark, photometric="MINISWHITE")
    (tmp_path / "pairs.csv").write_text(f"before,after,label,split\n{before},{before},{label},train\n")
    assert make_dataset(tmp_path / "pairs.csv", tmp_path / "tree", tile=64).splits["train"].change == 0.25


def test_one_sentence_for_each_kind() -> None:
    doubts = Doubts()
    for number in range(3):
        doubts.add([f"f{number}.tif lacks {number + 1}.5% of it.", "b.tif is odd."], f"f{number}.tif", "b.tif")
    assert doubts.sentences == ("f0.tif lacks 1.5% of it. So it is with 2 more.", "b.tif is odd.")
