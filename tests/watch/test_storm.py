"""All troubles at once; the whole storm is benchmarks/watch_storm.py."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT, load_benchmark


def test_a_small_storm(
    tmp_path: Path, standin: ModuleType, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """`small_disk` only tells whether one may be mounted here."""
    weather(tmp_path, standin, monkeypatch, files=11, places=2, kills=1)


@pytest.mark.slow
def test_a_storm(
    tmp_path: Path, standin: ModuleType, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    weather(tmp_path, standin, monkeypatch, files=60, places=6, kills=5)


def weather(tmp_path: Path, standin: ModuleType, monkeypatch: pytest.MonkeyPatch, **sizes: int) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    storm = load_benchmark("watch_storm")
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=64, halo=4)
    result = storm.storm(tmp_path / "storm", tmp_path / "m.onnx", full_disk=True, **sizes)
    assert {fault: result[fault] for fault in storm.FAULTS if result[fault]} == {}
    assert (result["exit_code_after_sigterm"], result["kills"]) == (0, sizes["kills"])
    assert result["files"] == sizes["files"]
    assert min(result["good"], result["bad"], result["copies"], result["pairs"]) > 0
    assert os.listdir(tmp_path / "storm" / "out") == []  # the disk is unmounted
