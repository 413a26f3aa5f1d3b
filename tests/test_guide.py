"""The guide on fine-tuning, taken at its word: its table and its commands, in order, on a pair made for it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from guides import DOCS, commands, read_blocks, run_block

from schanger_edge.synthetic import write_pair

GUIDE = DOCS / "fine-tuning.md"
SHORTER = {"--epochs 200": "--epochs 1 --tile 64"}  # all that is not run as it is written; --tile is for memory
COMMANDS = ("dataset make", "statistics", "train", "export", "evaluate", "evaluate", "run")


def draw_labels(folder: Path, truth: Path) -> None:
    """changes.gpkg in degrees and looked-at.gpkg, as a user would draw them."""
    with rasterio.open(truth) as raster:
        values, place, crs = raster.read(1), raster.transform, raster.crs.to_wkt()
        west, south, east, north = raster.bounds
    found = rasterio.features.shapes(values, values == 1, transform=place)
    outlines = np.array([shapely.geometry.shape(shape) for shape, _ in found])
    degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    drawn = shapely.transform(outlines, degrees.transform, interleaved=False)
    looked_at = np.array([shapely.box(west - 5, south - 5, east + 5, north + 5)])
    for name, shapes, its_crs in (("changes", drawn, "EPSG:4326"), ("looked-at", looked_at, crs)):
        pyogrio.raw.write(
            folder / f"{name}.gpkg", shapely.to_wkb(shapes), field_data=[], fields=[], layer=name, driver="GPKG",
            geometry_type="Polygon", crs=its_crs,
        )  # fmt: skip


def shorter() -> dict[str, str]:
    from schanger_export.weights import bundled_names

    if "schanger-small" in bundled_names():
        return SHORTER
    return {**SHORTER, "--init schanger-small": "--from-scratch"}  # an installation without the bundled checkpoint


def test_the_guide_names_every_step() -> None:
    lines = [line for block in commands(GUIDE) for line in block.splitlines()]
    assert len(lines) == len(COMMANDS)
    for line, command in zip(lines, COMMANDS, strict=True):
        assert line.startswith(f"schanger-edge {command} ")
    for text in SHORTER:
        assert sum(text in line for line in lines) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for a shell")
def test_the_guide_from_labels_to_a_change_map(tmp_path: Path) -> None:
    pytest.importorskip("schanger_export.train", reason="training needs the export extra")
    pair = write_pair(tmp_path, width=1024, height=1024, seed=5, after_crs="EPSG:4326")
    draw_labels(tmp_path, pair.truth)
    (table,) = (block.text for block in read_blocks(GUIDE) if block.kind == "csv")
    (tmp_path / "pairs.csv").write_text(table)
    told = [run_block(block, tmp_path, shorter()) for block in commands(GUIDE)]
    made = json.loads((tmp_path / "mydata" / "dataset.json").read_text())
    for split in ("train", "val", "test"):
        folder = tmp_path / "mydata" / split
        assert made["splits"][split]["tiles"] == len(list((folder / "label").iterdir())) > 0
    assert json.loads((tmp_path / "mydata" / "statistics.json").read_text()).keys() == {"before", "after"}
    for name in ("best.pth", "last.pth", "history.jsonl", "training.png"):
        assert (tmp_path / "training" / name).stat().st_size > 0
    assert re.search(r"^f1 \d+\.\d\d ", told[4], re.MULTILINE)
    assert (tmp_path / "gallery.html").stat().st_size > 0
    best = json.loads((tmp_path / "sweep.json").read_text())
    assert best["points"]
    with rasterio.open(tmp_path / "result" / "change.tif") as change, rasterio.open(pair.truth) as truth:
        assert change.transform == truth.transform
        assert set(np.unique(change.read(1))) <= {0, 1, 255}
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert summary["model"]["file"] == "mymodel.onnx"
