"""benchmarks/roofline.py: floors and shares from known numbers, and projections that say what they are."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest
from helpers import ROOT, load_benchmark

pytest.importorskip("onnx")
pytest.importorskip("onnxconverter_common")


@pytest.fixture
def roofline() -> ModuleType:
    return load_benchmark("roofline")


def test_the_floor_is_what_takes_longer(roofline: ModuleType) -> None:
    cost = roofline.Cost({"fp32": 30_000_000, "int8": 10_000_000}, bytes=20_000_000)
    slow, fast = {"fp32": 1e9, "int8": 2e9}, {"fp32": 1e10, "int8": 2e10}
    assert roofline.floor(cost, 10, slow) == {
        "memory_ms": 2, "arithmetic_ms": 35, "floor_ms": 35, "bound": "arithmetic",
    }  # fmt: skip
    assert roofline.floor(cost, 2, fast) == {"memory_ms": 10, "arithmetic_ms": 3.5, "floor_ms": 10, "bound": "memory"}


def test_a_session_is_set_against_both_floors(roofline: ModuleType) -> None:
    """Rates are in operations, of which a multiply-add is two."""
    peak, product = 2 * roofline.PEAK_MACS, 2 * roofline.GEMM_SIDE**3
    seconds = {"copy": [0.2, 0.1, 0.3], "fp32": [peak / 80e9, peak / 100e9], "int8": [product / 200e9, product / 50e9]}
    machine = roofline.rates(seconds, megabytes=500)
    assert machine["bandwidth_gb_per_second"] == 10
    assert (machine["fp32_gops"], machine["int8_gops"], machine["peak_runs"]) == (100, 200, 2)
    forms = {
        "layers": roofline.Cost({"fp32": 1_000_000_000}, bytes=400_000_000),
        "fused": roofline.Cost({"fp32": 2_000_000_000}, bytes=100_000_000),
    }
    row = roofline.session_row(("cpu", "fp32"), "an engine", [0.08, 0.08, 1.0], {"fp32": forms}, machine)
    assert row["milliseconds"] == {"median": 80, "least": 80, "largest": 1000, "n": 3}
    assert (row["layers"]["floor_ms"], row["layers"]["bound"], row["layers"]["share"]) == (40, "memory", 0.5)
    assert (row["fused"]["floor_ms"], row["fused"]["bound"], row["fused"]["share"]) == (40, "arithmetic", 0.5)


def test_projections_are_labelled_and_cite_their_source(roofline: ModuleType) -> None:
    costs = roofline.count()
    devices = [roofline.projected(sheet, costs) for sheet in roofline.DATASHEETS]
    assert [device["name"].split()[-2] for device in devices] == ["Nano", "NX", "Orin", "Thor", "RTX", "H100"]
    for device in devices:
        assert device["projection"] is True
        assert "NVIDIA" in device["source"]
        for forms in device["floors"].values():
            assert forms["fused"]["floor_ms"] < forms["layers"]["floor_ms"]
    half = costs["fp16"]["layers"]
    assert devices[0]["floors"]["fp16"]["layers"]["memory_ms"] == pytest.approx(half.bytes / 102e9 * 1000, rel=1e-3)


def test_bandwidth_of_a_cpu_says_nothing_about_a_gpu() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "roofline.py"), "--device", "cuda"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cuda is no CPU" in done.stderr
