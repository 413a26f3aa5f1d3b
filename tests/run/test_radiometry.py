"""How `run` is told to read pixels: through the command line, into summary, report and what --resume compares."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers import Ground, Tiff, command_line

from schanger_edge import detect
from schanger_edge.errors import ProductError, SceneError
from schanger_edge.products.register import STANDARD_NAMES as STANDARD
from schanger_edge.products.report.facts import fact_groups


@pytest.fixture
def pair(make_tiff: Tiff, ground: Ground) -> tuple[Path, Path]:
    raw = (ground(150, 190, 2) * 12.0 + 100).astype(np.uint16)
    return make_tiff("a.tif", ground(150, 190, 1)), make_tiff("b.tif", raw)


@pytest.fixture
def cloud(make_tiff: Tiff) -> Path:
    usable = np.ones((1, 150, 190), np.uint8)
    usable[:, 40:90, 60:120] = 0
    return make_tiff("cloud.tif", usable)


def test_all_of_one_command(pair: Any, cloud: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--stretch", "-20,3000", "--match", "--valid-mask-before", cloud, "--valid-mask-after", cloud]
    done = command_line("run", *pair, "-o", out, "--model", model, *options)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    before, after = summary["inputs"]["before"], summary["inputs"]["after"]
    assert (before["dtype"], after["dtype"]) == ("uint8", "uint16")
    assert before["stretch"] == after["stretch"] == {"kind": "limits", "low": [-20] * 3, "high": [3000] * 3}
    assert before["valid_masks"] == after["valid_masks"] == [str(cloud)]
    assert before["match"] is None
    assert [len(levels) for levels in after["match"]["become"]] == [len(after["match"]["levels"])] * 3
    assert (summary["options"]["stretch"], summary["options"]["match"]) == ([-20, 3000], True)
    with rasterio.open(out / "change.tif") as dataset:
        assert (dataset.read(1)[40:90, 60:120] == 255).all()
    assert summary["pixels"]["valid"] == 150 * 190 - 50 * 60
    facts = fact_groups(summary)["After"]
    assert facts["contrast"] == "stretched to 8 bits from -20 to 3000"
    assert facts["usable"] == "where cloud.tif allows it"
    assert facts["histograms"] == "matched to those of the before image"
    assert not {"histograms", "contrast", "usable"} & fact_groups(_plain(summary))["Before"].keys()
    page = (out / "report.html").read_text()
    assert "where cloud.tif allows it" in page


def _plain(summary: dict[str, Any]) -> dict[str, Any]:
    before = summary["inputs"]["before"] | {"stretch": None, "match": None, "valid_masks": []}
    return summary | {"inputs": {"before": before, "after": before}}


def test_what_is_said_of_no_stretch(pair: Any, model: Path, tmp_path: Path) -> None:
    done = command_line("run", *pair, "-o", tmp_path / "out", "--model", model, "--stretch", "none")
    assert done.returncode == 0
    assert "b.tif has uint16 values, used as 0 to 255" in done.stderr
    assert "a.tif has" not in done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert fact_groups(summary)["After"]["contrast"] == "values used as 0 to 255"
    assert "contrast" not in fact_groups(summary)["Before"]


@pytest.mark.parametrize("text", ["most", "1,x", "5", "9,1", "nan,1"])
def test_a_stretch_that_makes_no_sense(pair: Any, model: Path, tmp_path: Path, text: str) -> None:
    done = command_line("run", *pair, "-o", tmp_path / "out", "--model", model, "--stretch", text)
    assert done.returncode == 2
    assert "MIN,MAX" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_resume_refuses_another_reading(
    pair: Any, cloud: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(importlib.import_module("schanger_edge.run.stages"), "write_polygons", stopped)
        detect(*pair, out, model=model)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"stretch": (0, 4000)}, "before, stretch"),
        ({"stretch": "none"}, "after, stretch, kind"),
        ({"match": True}, "after, match"),
        ({"valid_masks_before": [cloud]}, "before, valid_masks"),
        ({"valid_masks_after": [cloud]}, r"after, files, .*cloud\.tif"),
    ]
    for options, difference in cases:
        with pytest.raises(ProductError, match=rf"differs from this one \(.*{difference}"):
            detect(*pair, out, model=model, resume=True, **options)
    detect(*pair, out, model=model, resume=True)
    assert {path.name for path in out.iterdir()} == set(STANDARD)


def test_a_mask_that_leaves_nothing(pair: Any, make_tiff: Tiff, model: Path, tmp_path: Path) -> None:
    nothing = make_tiff("none.tif", np.zeros((1, 150, 190), np.uint8))
    with pytest.raises(SceneError, match="no pixel has data in both images"):
        detect(*pair, tmp_path / "out", model=model, valid_masks_before=[nothing])
    assert not (tmp_path / "out").exists()
