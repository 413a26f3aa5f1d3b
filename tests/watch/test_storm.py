"""All troubles at once; the whole storm is benchmarks/watch_storm.py."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT, load_benchmark


def test_a_small_storm(tmp_path: Path, standin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    weather(tmp_path, standin, monkeypatch, files=7, places=2, kills=1, full_disk=False)


@pytest.mark.slow
@pytest.mark.usefixtures("small_disk")  # it skips where none may be mounted
def test_a_storm(tmp_path: Path, standin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    weather(tmp_path, standin, monkeypatch, files=60, places=6, kills=5, full_disk=True)
    assert list((tmp_path / "storm" / "out").iterdir()) == []  # the disk is unmounted


def weather(
    tmp_path: Path, standin: ModuleType, monkeypatch: pytest.MonkeyPatch, *, files: int, places: int, kills: int,
    full_disk: bool,
) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    storm = load_benchmark("watch_storm")
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=64, halo=4)
    result = storm.storm(
        tmp_path / "storm", tmp_path / "m.onnx", files=files, places=places, kills=kills, full_disk=full_disk
    )
    assert {fault: result[fault] for fault in storm.FAULTS if result[fault]} == {}
    assert (result["exit_code_after_sigterm"], result["kills"], result["files"]) == (0, kills, files)
    assert min(result["good"], result["bad"], result["copies"], result["pairs"]) > 0, result
