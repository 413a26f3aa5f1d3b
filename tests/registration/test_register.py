"""What a run does about the offset between the dates: tells, warns, aligns; never makes it worse."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import Tiff, terrain

from schanger_edge import detect
from schanger_edge.errors import SchangerError
from schanger_edge.registration.register import Registered, register
from schanger_edge.scene import open_pair

SIDE = 400


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=128, halo=4)
    return tmp_path / "m.onnx"


def registered(before: Path, after: Path, **options: Any) -> Registered:
    with open_pair(before, after) as pair:
        found = register(pair, **options)
    assert found is not None
    return found


def dates(make_tiff: Tiff, offset: tuple[float, float]) -> tuple[Path, Path]:
    return make_tiff("a.tif", terrain(SIDE, SIDE)), make_tiff("b.tif", terrain(SIDE, SIDE, at=offset))


def test_a_small_offset_is_told_and_no_warning(make_tiff: Tiff) -> None:
    found = registered(*dates(make_tiff, (1.2, 0.9)))
    told = r"the dates are 1\.(4|5)\d pixels \(0\.7\d* m\) apart \(25 of 25 windows agree\)"
    assert re.fullmatch(told, found.note)
    assert found.warnings == ()
    assert found.applied is None


def test_a_large_offset_is_a_warning(make_tiff: Tiff) -> None:
    pair = dates(make_tiff, (3, 4))
    (warning,) = registered(*pair).warnings
    assert warning == (
        "the dates are 5.00 pixels (2.5 m) apart, more than 2 pixels: expect false alarms along edges; "
        "--align corrects this."
    )
    assert registered(*pair, max_offset=6).warnings == ()
    aligned = registered(*pair, align=True)
    assert aligned.warnings == ()
    assert aligned.note.startswith("the dates are 5.00 pixels (2.5 m) apart")
    assert "aligned to 0.0" in aligned.note


def test_metres_on_a_grid_in_degrees(make_tiff: Tiff) -> None:
    """At 60 degrees north a degree of longitude is half as long as one of latitude."""
    place = Affine(1e-5, 0, 10, 0, -1e-5, 60)
    paths = [
        make_tiff(name, terrain(SIDE, SIDE, at=at), crs="EPSG:4326", transform=place)
        for name, at in (("a.tif", (0, 0)), ("b.tif", (0, 3)), ("c.tif", (3, 0)))
    ]
    along, across = (registered(paths[0], path).summary()["offset_m"] for path in paths[1:])
    assert along == pytest.approx(3.34, abs=0.05)
    assert across == pytest.approx(1.68, abs=0.05)


def test_relief_is_a_warning_that_says_where(make_tiff: Tiff) -> None:
    before, after = terrain(600, 600), terrain(600, 600)
    after[:, 380:] = terrain(600, 600, at=(6, 0))[:, 380:]
    found = registered(make_tiff("a.tif", before), make_tiff("b.tif", after), align=True)
    (warning,) = found.warnings
    assert "10 of 25 comparable places are more than 2 pixels from the common offset, the worst 6.0" in warning
    assert "no shift can correct" in warning
    assert " 3.00" in warning  # longitude of the origin
    summary = found.summary()
    assert summary["astray_share"] == pytest.approx(0.4)
    assert all(place["pixel"][1] > 380 for place in summary["worst"])
    assert len(summary["local"]) == 25
    assert not summary["aligned"]  # most of the scene lies right


def test_align_says_where_it_did_nothing(make_tiff: Tiff) -> None:
    unrelated = make_tiff("a.tif", terrain(SIDE, SIDE)), make_tiff("b.tif", terrain(SIDE, SIDE, seed=5))
    found = registered(*unrelated, align=True)
    (warning,) = found.warnings
    assert warning.startswith("--align moved nothing: the offset between the dates is unknown: ")
    assert found.summary()["offset"] is None
    assert registered(*unrelated).warnings == ()
    small = registered(*dates(make_tiff, (0.1, 0.1)), align=True)
    assert (small.applied, small.warnings) == (None, ())


def test_a_rough_offset_is_taken_away_only_where_it_is_large(make_tiff: Tiff) -> None:
    """Four strips lean by -4.5 to 4.5 pixels in no order, as blocks of tall houses seen obliquely do."""
    strips = [(slice(200 * index, 200 * index + 200), lean) for index, lean in enumerate((4.5, -2.2, 1.5, -4.5))]
    for offset, moves in ((1.0, False), (20.0, True)):
        after = terrain(800, 800)
        for rows, lean in strips:
            after[:, rows] = terrain(800, 800, at=(offset + lean, 0))[:, rows]
        found = registered(make_tiff("a.tif", terrain(800, 800)), make_tiff("b.tif", after), align=True)
        summary = found.summary()
        assert summary["kind"] == "rough"
        assert summary["offset"] == pytest.approx([offset, 0], abs=2)
        assert summary["aligned"] == moves
        assert "agree roughly" in found.note
        assert any("no shift can correct" in warning for warning in found.warnings)


def test_an_alignment_that_is_no_better_is_taken_back(make_tiff: Tiff, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["schanger_edge.registration.register"]
    with open_pair(*dates(make_tiff, (3, 4))) as pair:
        before = pair.read(pair.grid.window)
        estimate = module.estimate_offset(pair)  # type: ignore[attr-defined]
        monkeypatch.setattr(module, "estimate_offset", lambda pair: estimate)
        found = register(pair, align=True)
        after = pair.read(pair.grid.window)
    assert found is not None
    assert found.applied is None
    assert "did not make the dates agree better" in found.warnings[0]
    assert "more than 2 pixels" in found.warnings[1]
    assert not any("corrects this" in warning for warning in found.warnings)
    assert (after.after == before.after).all()
    assert after.valid.all()


@pytest.mark.parametrize("value", [0, -1.0, math.nan])
def test_max_offset_must_be_a_number_of_pixels(make_tiff: Tiff, model: Path, tmp_path: Path, value: float) -> None:
    with pytest.raises(SchangerError, match="--max-offset must be greater than 0 pixels, or inf, not"):
        detect(*dates(make_tiff, (0, 0)), tmp_path / "out", model=model, max_offset=value)
    assert not (tmp_path / "out").exists()


def test_infinity_does_not_look(make_tiff: Tiff, model: Path, tmp_path: Path) -> None:
    pair = dates(make_tiff, (3, 4))
    result = detect(*pair, tmp_path / "out", model=model, max_offset=math.inf)
    assert result.summary["registration"] is None
    assert not any("apart" in warning for warning in result.warnings)
    aligned = detect(*pair, tmp_path / "out", model=model, max_offset=math.inf, align=True)
    assert aligned.summary["registration"]["aligned"]
    assert aligned.summary["registration"]["max_offset"] is None


class TestWholeRun:
    """The change map of an aligned pair against that of a pair that was never shifted."""

    def maps(self, make_tiff: Tiff, model: Path, folder: Path, offset: tuple[float, float], **options: Any) -> Any:
        """Three change maps: unshifted, shifted, shifted and aligned."""
        before, right = make_tiff("a.tif", terrain(SIDE, SIDE)), make_tiff("r.tif", terrain(SIDE, SIDE, seed=0) // 2)
        wrong = make_tiff("w.tif", terrain(SIDE, SIDE, at=offset) // 2)
        files = [before.read_bytes(), wrong.read_bytes()]
        runs = [
            detect(before, after, folder / str(index), model=model, threshold=0.2, min_area=0, **options, **more)
            for index, (after, more) in enumerate(((right, {}), (wrong, {}), (wrong, {"align": True})))
        ]
        assert [before.read_bytes(), wrong.read_bytes()] == files
        maps = []
        for run in runs:
            with rasterio.open(run.change) as dataset:
                maps.append(dataset.read(1))
        return (*maps, runs[2])

    def test_whole_pixels_give_the_same_map(self, make_tiff: Tiff, model: Path, tmp_path: Path) -> None:
        right, wrong, aligned, run = self.maps(make_tiff, model, tmp_path, (3, -2))
        both = np.s_[8:-8, 8:-8]  # where the stand-in sees no border
        assert 0.02 < np.mean(right[both] == 1) < 0.98
        assert (aligned[both] == right[both]).all()
        assert np.mean(wrong[both] != right[both]) > 0.05
        assert (aligned[:, :3] == 255).all()  # there the moved image has no data
        summary = json.loads((run.folder / "summary.json").read_text())["registration"]
        assert summary["offset"] == pytest.approx([3, -2], abs=0.05)
        assert summary["applied"] == [1, 0, 3, 0, 1, -2]
        assert summary["residual"]["offset"] == pytest.approx([0, 0], abs=0.05)
        assert run.summary["inputs"]["after"]["resampling"] == "none"

    @pytest.mark.parametrize("grid", ["before", "after"])
    def test_fractions_give_nearly_the_same(self, make_tiff: Tiff, model: Path, tmp_path: Path, grid: str) -> None:
        right, wrong, aligned, run = self.maps(make_tiff, model, tmp_path, (4.4, -2.7), grid=grid)
        both = np.s_[8:-8, 8:-8]
        if grid == "after":  # the map lies on the shifted grid: move it back by whole pixels
            right = np.roll(right, (3, -4), (0, 1))
        assert np.mean(aligned[both] != right[both]) < 0.5 * np.mean(wrong[both] != right[both])
        moved = "after" if grid == "before" else "before"
        assert run.summary["inputs"][moved]["resampling"] == "bilinear"
