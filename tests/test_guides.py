"""The guides in docs/, taken at their word: every block of commands is run, or says which hardware it needs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import rasterio
from guides import (
    DOCS,
    NEEDS,
    SHORTER,
    commands,
    fly_twice,
    lay_out_site,
    lay_out_station,
    lay_out_training,
    read_blocks,
    run_block,
)
from helpers import ROOT
from reports import decisions_of

from schanger_edge.model.card import METADATA_KEY
from schanger_edge.products.register import FORMATS
from schanger_edge.synthetic import SyntheticPair

GUIDES = ("drone-crews", "ground-stations", "gis-analysts", "ml-engineers", "contributing", "fine-tuning", "review")
OTHER_KINDS = {"csv"}
EXCERPTS = {"contributing": {"python"}}  # of files to be written, which cannot run alone
MAKE = {"make ": "make -n "}  # this test is part of what they run
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for a shell")


def page(guide: str) -> Path:
    return DOCS / f"{guide}.md"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An engine cache for all guides: plans that a machine with a GPU builds don't go to the user's."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    return fly_twice(tmp_path_factory.mktemp("flights"))


def run_guide(guide: str, folder: Path, cache: str, shorter: Mapping[str, str] | None = None) -> list[str]:
    """Run all blocks of a guide in one folder, in order; what each said."""
    return [run_block(block, folder, shorter, SCHANGER_EDGE_CACHE=cache) for block in commands(page(guide))]


@pytest.mark.parametrize("guide", GUIDES)
def test_every_block_is_run_or_says_what_it_needs(guide: str) -> None:
    text = page(guide).read_text(encoding="utf-8")
    found = read_blocks(page(guide))
    assert text.count("```") == 2 * len(found)
    assert commands(page(guide))
    assert {block.kind for block in found} <= {"sh"} | OTHER_KINDS | EXCERPTS.get(guide, set())
    for block in found:
        if block.kind == "python":
            compile(block.text, guide, "exec")
            assert block.text.startswith("# schanger_edge/")  # the file it belongs to
    marked = [block.needs for block in found if block.needs is not None]
    assert len(marked) == text.count("<!-- needs:")
    assert set(marked) <= set(NEEDS)
    for written in SHORTER.get(guide, {}):
        assert any(written in block for block in commands(page(guide))), written


@pytest.mark.parametrize("guide", GUIDES)
def test_extras_and_linked_pages_exist(guide: str) -> None:
    text = page(guide).read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"schanger-edge\[(\w+)\]", text):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (DOCS / link).exists(), link


def test_readme(flights: SyntheticPair, cache: str, tmp_path: Path) -> None:
    """Its links, its extras, and its quickstart, on a smaller scene."""
    lay_out_site(flights, tmp_path)
    text = README.read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    extras = re.findall(r"`(?:schanger-edge)?\[(\w+)\]`", text)
    assert len(extras) > 5
    for extra in extras:
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE), extra
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
    published, install, quickstart = commands(README)
    assert "pip install 'schanger-edge[models]'" in published  # what follows it needs a network
    assert install == "pip install schanger-edge\n"
    run_block(quickstart, tmp_path, {"demo -o": "demo --side 256 -o"}, SCHANGER_EDGE_CACHE=cache)
    named = re.findall(r"`([a-z]+\.[a-z]+)`", text[text.index("| in `result/`") : text.index("Put two images")])
    assert len(named) == 7
    assert [name for name in named if not (tmp_path / "result" / name).exists()] == []
    assert (tmp_path / "site" / "changes.geojson").exists()


def test_gis_analysts(flights: SyntheticPair, cache: str, tmp_path: Path) -> None:
    lay_out_site(flights, tmp_path)
    run_guide("gis-analysts", tmp_path, cache)
    text = page("gis-analysts").read_text(encoding="utf-8")
    written = {path.name for folder in ("result", "formats") for path in (tmp_path / folder).iterdir()}
    assert len(written) > len(FORMATS)
    assert {name for name in (*written, *FORMATS) if f"`{name}`" not in text} == set()
    polygons = {
        folder: json.loads((tmp_path / folder / "summary.json").read_text())["polygons"]
        for folder in ("result", "parcel")
    }
    assert 0 < polygons["parcel"] < polygons["result"]


def test_drone_crews(flights: SyntheticPair, cache: str, tmp_path: Path) -> None:
    parcel = lay_out_site(flights, tmp_path)
    told = run_guide("drone-crews", tmp_path, cache)
    assert re.search(r"^against the exact truth: f1 \d", told[0], re.MULTILINE)
    summaries = {
        name: json.loads((tmp_path / name / "summary.json").read_text())
        for name in ("result", "coarse", "aligned", "parcel")
    }
    warnings = {name: " ".join(summary["warnings"]) for name, summary in summaries.items()}
    assert "pixels (1.5 m) apart" in warnings["coarse"]  # what the page says to read, and what takes it away
    assert "m) apart" not in warnings["aligned"]
    assert summaries["result"]["grid"]["width"] == 256
    assert summaries["coarse"]["grid"]["width"] == 128
    with rasterio.open(tmp_path / "parcel" / "change.tif") as change:
        inside = np.count_nonzero(change.read(1) != 255)
    assert inside * 0.25 == pytest.approx(parcel.area, rel=0.1)
    for name in summaries:
        assert (tmp_path / name / "report.html").stat().st_size > 0


def test_review(flights: SyntheticPair, cache: str, tmp_path: Path) -> None:
    lay_out_site(flights, tmp_path)
    first, *others = commands(page("review"))
    run_block(first, tmp_path, SCHANGER_EDGE_CACHE=cache)
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    count = summary["polygons"]
    assert count > 1
    decided = [(number, "accept" if number < count else "reject") for number in range(1, count + 1)]
    (tmp_path / "decisions.json").write_text(json.dumps(decisions_of(summary, *decided)))
    told = [run_block(block, tmp_path, SHORTER["review"], SCHANGER_EDGE_CACHE=cache) for block in others]
    assert told[0].startswith(
        f"{count} of {count} reviewed: {count - 1} accepted, 1 rejected, 0 unsure; the {count - 1} "
    )
    for name in re.findall(r"`result/(changes-reviewed\.\w+)`", page("review").read_text(encoding="utf-8")):
        assert (tmp_path / "result" / name).is_file()
    tiles = json.loads((tmp_path / "reviewed" / "dataset.json").read_text())["tiles"]
    assert sum(tile["changed"] for tile in tiles) > 0


def test_ground_stations(flights: SyntheticPair, cache: str, tmp_path: Path) -> None:
    lay_out_station(flights, tmp_path)
    (tmp_path / "results").mkdir()
    told = run_guide("ground-stations", tmp_path, cache, SHORTER["ground-stations"])
    assert json.loads((tmp_path / "station.json").read_text())
    summary = json.loads((tmp_path / "results" / "20240601" / "summary.json").read_text())
    assert f"{summary['area_m2']['changed']}\n" in told[2]
    assert (tmp_path / "station" / "results" / "20240601__20240501" / "summary.json").is_file()
    assert "results: 1, 1 in the last 24 hours" in told[3]
    assert "pairs: 1 done, 0 already done, 0 failed" in told[4]


def test_contributing() -> None:
    told = [run_block(block, ROOT, MAKE) for block in commands(page("contributing"))]
    for recipe in (
        "ruff check .",
        "mypy",
        "lint-imports",
        'pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow"',
    ):
        assert recipe in told[0]
    assert re.search(r"^\d+ passed", told[1], re.MULTILINE)


@pytest.mark.slow
def test_ml_engineers(cache: str, tmp_path: Path) -> None:
    pytest.importorskip("schanger_export.train", reason="training needs the export extra")
    lay_out_training(tmp_path)
    run_guide("ml-engineers", tmp_path, cache, SHORTER["ml-engineers"])
    for name in ("prior/last.pth", "training/best.pth", "town.fp16.onnx", "town.int8.report.json", "differences.png"):
        assert (tmp_path / name).stat().st_size > 0
    assert json.loads((tmp_path / "bench" / "bench.json").read_text())
    for served, model in (("town", "town.onnx"), ("town-int8", "town.int8.onnx")):
        folder = tmp_path / "models" / served
        assert METADATA_KEY in (folder / "config.pbtxt").read_text()
        assert (folder / "1" / "model.onnx").read_bytes() == (tmp_path / model).read_bytes()


def test_notebook(tmp_path: Path) -> None:
    """It runs, and says what it said when it was committed."""
    cells = [cell for cell in json.loads((DOCS / "notebook.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    told = [out for cell in cells for out in cell["outputs"] if out["output_type"] == "stream"]
    assert {out["name"] for out in told} == {"stdout"}
    assert sum("image/png" in out.get("data", {}) for cell in cells for out in cell["outputs"]) == 1
    assert sum("text/html" in out.get("data", {}) for cell in cells for out in cell["outputs"]) == 1  # the GeoDataFrame
    (tmp_path / "notebook.py").write_text("\n".join("".join(cell["source"]) for cell in cells))
    said = run_block("MPLBACKEND=Agg python notebook.py", tmp_path)
    assert said == "".join("".join(out["text"]) for out in told), "run docs/notebook.ipynb anew, in a folder of its own"
    assert json.loads((tmp_path / "large.geojson").read_text())["features"]
