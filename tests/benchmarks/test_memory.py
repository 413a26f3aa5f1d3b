"""Memory does not grow with the scene."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT, load_benchmark

from schanger_edge.synthetic import write_pair


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads peak memory as Linux gives it")
def test_peak_memory_is_flat(standin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    common = load_benchmark("common")
    standin.timing_model(tmp_path / "timing.onnx")
    scene = write_pair(tmp_path / "scene", width=1024, height=1024, seed=1, nodata_wedge=False)
    peaks = []
    for side in (2048, 6144):
        pair = [common.repeat_scene(p, tmp_path / f"{p.stem}{side}.tif", side) for p in (scene.before, scene.after)]
        megabytes, _ = common.peak_memory(
            "run", *pair, "-o", tmp_path / f"out{side}", "--model", tmp_path / "timing.onnx"
        )
        peaks.append(megabytes)
    assert peaks[1] < 1.15 * peaks[0]
    assert peaks[1] < 600
