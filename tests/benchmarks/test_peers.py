"""benchmarks/peers: what is counted of maps, how it is told, and the network's forms, on arrays of known answer."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
from helpers import load_benchmark

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def facts() -> ModuleType:
    return load_benchmark("peers/facts")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return load_benchmark("peers/tables")


@pytest.fixture(scope="module")
def models() -> ModuleType:
    return load_benchmark("peers/models")


def map_of(*rows: str) -> np.ndarray:
    """Change where there is a 1."""
    return np.array([[mark == "1" for mark in row] for row in rows])


def test_share_of_differing_pixels(facts: ModuleType) -> None:
    assert facts.share_differing(map_of("1100"), map_of("1010")) == 0.5
    assert facts.share_differing(map_of("1100"), map_of("1010"), where=map_of("1101")) == pytest.approx(1 / 3)


def test_maps_of_other_sizes_are_not_compared(facts: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(1, 3\)"):
        facts.share_differing(map_of("11"), map_of("111"))


def test_pixels_whose_window_is_valid(facts: ModuleType) -> None:
    invalid = map_of("000000", "010000", "000000")
    assert (facts.away_from(invalid, 1) == map_of("000111", "000111", "000111")).all()


def test_what_becomes_of_a_hole(facts: ModuleType, tables: ModuleType) -> None:
    hole = map_of("1111", "0000")
    found = facts.nodata_facts(change=map_of("0010", "0010"), nodata=map_of("1100", "1000"), hole=hole)
    assert found == {"hole_nodata": 0.5, "hole_change": 0.25, "hole_no_change": 0.25, "rest_nodata": 0.25}
    words = tables.told(found)
    assert words == "hole: 50.00 % nodata, 25.00 % change, 25.00 % no change; 25.00 % of the rest reads as nodata"


@pytest.mark.parametrize(
    ("stderr", "sentence"),
    [
        (
            "noise\nTraceback (most recent call last):\n  File\na.b.Wrong: 3 bands\n fix it\n",
            "Wrong: 3 bands",
        ),
        ("a note\nerror: no overlap, check the CRS.\n", "error: no overlap, check the CRS."),
        ("", "no message"),
    ],
)
def test_the_sentence_of_a_refusal(facts: ModuleType, stderr: str, sentence: str) -> None:
    assert facts.refusal(stderr) == sentence


def test_a_map_of_nothing_is_told(tables: ModuleType) -> None:
    fact = {"differ": 0.25, "changed": 0.0, "changed_reference": 0.25}
    assert tables.told(fact) == "25.00 % differ (nothing is change, exit code 0)"
    assert tables.told({**fact, "changed": 0.2}) == "25.00 % differ"
    assert tables.told(None) == "takes one image"


@pytest.mark.parametrize(
    ("share", "words"), [(0, "0 %"), (1, "100 %"), (1e-6, "< 0.01 %"), (0.999999, "> 99.99 %"), (0.0196, "1.96 %")]
)
def test_a_share_in_words_is_0_only_where_it_is_0(tables: ModuleType, share: float, words: str) -> None:
    assert tables.percent(share) == words


def tool(dates: int, cpu: float, **more: object) -> dict[str, object]:
    figure = {"median": cpu, "least": cpu - 1, "most": cpu + 1}
    start = {"median": 1.0, "least": 1.0, "most": 1.0}
    cost = {"cpu": figure, "start_cpu": start, "wall": figure, "peak_mb": figure}
    row = {"dates": dates, "writes": "one map", "cost": cost, "peak_mb_at_half_the_side": 90.0}
    return {**row, "differ_from_one_pass": 0, **more}


def test_tables(tables: ModuleType) -> None:
    refused = {"refused": "Wrong: 3 | 4 bands"}
    tools = {
        "bare": tool(1, 5),
        "bare, two dates": tool(2, 3),
        "other": tool(1, 9, behaviour={"six bands": refused, "two CRSs": None}),
        "ours": tool(2, 4, behaviour={"two CRSs": {"differ": 0.0, "changed": 0.1, "changed_reference": 0.1}}),
    }
    result = {"tools": tools, "not_installed": {"paddlers": "no matching distribution"}}
    costs = tables.cost_table(result).splitlines()
    assert costs[4] == "| other | 1 | one map | 9.0 (8.0 to 10.0) | 1.0 | 2.00 x | 9.0 (8.0 to 10.0) | 9 | 90 | 0 % |"
    assert "| 1.50 x |" in costs[5]
    behaviour = tables.behaviour_table(result).splitlines()
    assert behaviour[0] == "|  | other | ours |"
    assert behaviour[3] == "| six bands | refused: Wrong: 3 \\| 4 bands | - |"
    assert behaviour[2] == "| two CRSs | takes one image | 0 % differ |"
    assert behaviour[-1] == "Not installed: paddlers (no matching distribution)"


def test_medians_over_rounds(facts: ModuleType) -> None:
    runs = [{"cpu": 3.0}, {"cpu": 1.0}, {"cpu": 1.5}]
    assert facts.summary(runs) == {"cpu": {"median": 1.5, "least": 1.0, "most": 3.0}}


def test_all_forms_of_the_network_give_one_map(models: ModuleType, tmp_path: Path) -> None:
    """One date as bytes and, for GeoDeep and geoai, as fractions of one; two dates apart and stacked."""
    before, after = np.random.default_rng(3).integers(0, 181, (2, 1, 3, 32, 32)).astype(np.uint8)
    after[..., :16] += 40
    six = np.concatenate([before, after], axis=1)
    form = {"tile": 32, "halo": 4, "centimetres": 50}

    def change(path: Path, **inputs: np.ndarray) -> np.ndarray:
        (output,) = onnxruntime.InferenceSession(str(path)).run(None, inputs)
        return output[0].argmax(axis=0) == 1 if output.shape[1] == 2 else output[0, 0] > 0.5

    one = change(models.image_model(tmp_path / "a.onnx"), image=before)
    two = change(models.pair_model(tmp_path / "b.onnx", tile=None), before=before, after=after)
    share = (before / 255.0).astype(np.float32), (six / 255.0).astype(np.float32)
    assert 0.1 < one.mean() < 0.9
    assert 0.1 < two.mean() < 0.9
    assert (change(models.geodeep_model(tmp_path / "c.onnx", **form), image=share[0]) == one).all()
    assert (change(models.geoai_model(tmp_path / "d.onnx"), image=share[0]) == one).all()
    assert (change(models.geodeep_model(tmp_path / "e.onnx", **form, bands=6), image=share[1]) == two).all()
    assert (change(models.geoai_model(tmp_path / "f.onnx", bands=6), image=share[1]) == two).all()


def test_cores_of_the_bare_loop_cover_each_pixel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "peers"))
    bare = load_benchmark("peers/bare_driver")
    for length in (256, 257, 480, 481, 1024):
        spans = bare.spans(length)
        assert [pixel for _, first, last in spans for pixel in range(first, last)] == list(range(length))
        for start, first, last in spans:
            assert start >= 0
            assert start + 256 <= length
            assert first == 0 or first >= start + 16
            assert last == length or last <= start + 240
    sys.modules.pop("driver", None)
