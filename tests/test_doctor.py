"""The doctor's page: of this machine, and of a Jetson whose system files are made up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from schanger_edge import doctor as doctor_module
from schanger_edge.cli import app
from schanger_edge.doctor import doctor
from schanger_edge.errors import SessionError
from schanger_edge.sessions import devices
from schanger_edge.sessions.gpu import Gpu

ORIN = Gpu("Orin", "8.7", 7_990_000_000, True, "12.6", "pycuda", 8)


def jetson(root: Path, release: str = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic") -> Path:
    files = {
        "etc/nv_tegra_release": release,
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "proc/meminfo": "MemTotal:        7800000 kB\nMemFree: 1 kB\nMemAvailable:    5000000 kB\n",
        "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
        "sys/class/devfreq/17000000.gpu/max_freq": "625000000\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = SimpleNamespace(stdout="NV Power Mode: 15W\n0\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    monkeypatch.setattr(doctor_module, "find_gpu", lambda: ORIN)
    facts = doctor(jetson(tmp_path)).facts
    assert facts["board"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert facts["JetPack"] == "6, L4T 36.4.3"
    assert facts["power mode"] == "15W"
    assert facts["GPU clock"] == "306 of 625 MHz"
    assert facts["memory"] == "5.1 of 8.0 GB free"
    assert facts["GPU"] == "Orin, compute capability 8.7, 7,990 MB, shares the CPU's memory"
    assert facts["CUDA"] == "driver for 12.6, reached by pycuda"


def test_an_old_or_unknown_jetpack_is_said(tmp_path: Path) -> None:
    old = jetson(tmp_path, "# R35 (release), REVISION: 5.0, GCID: 1")
    assert "5 (not supported: Python 3.8" in doctor(old).facts["JetPack"]
    assert "not readable" in doctor(old).facts["power mode"]
    new = jetson(tmp_path, "# R99 (release), REVISION: 1.0, GCID: 1")
    assert doctor(new).facts["JetPack"] == "not known to this version, L4T 99.1.0"


def test_elsewhere_nothing_is_said_of_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path))
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "x.plan").write_bytes(b"0" * 2_000_000)
    report = doctor(tmp_path / "empty")
    assert not {"board", "JetPack", "power mode"} & set(report.facts)
    assert report.facts["memory"] == "not readable"
    assert report.facts["engine cache"] == f"{tmp_path / 'engines'}: 1 plan, 2.0 MB"


def test_what_is_missing_comes_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str | None = None) -> None:
        raise SessionError("not installed: pip install it.")

    monkeypatch.setattr(doctor_module, "load_flavour", nothing)
    monkeypatch.setattr(doctor_module.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(doctor_module, "driver_present", lambda: True)
    monkeypatch.setattr(doctor_module, "find_gpu", nothing)
    missing = doctor().missing
    assert missing["TensorRT"] == missing["TensorRT-RTX"] == missing["CUDA"] == "not installed: pip install it."
    assert missing["extra export"] == "torch, huggingface_hub, kornia: pip install 'schanger-edge[export]'"


def test_what_auto_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "driver_present", lambda: False)
    assert devices.usable_engine().startswith("ONNX Runtime on the CPU: no NVIDIA driver answers here")
    monkeypatch.setattr(devices, "driver_present", lambda: True)
    monkeypatch.setattr(devices, "load_flavour", lambda: SimpleNamespace(words="TensorRT 10.3.0"))
    monkeypatch.setattr(devices, "find_gpu", lambda: ORIN)
    assert devices.usable_engine() == "TensorRT 10.3.0 on Orin"

    def nothing() -> None:
        raise SessionError("TensorRT is not installed.")

    monkeypatch.setattr(devices, "load_flavour", nothing)
    monkeypatch.setattr(devices.onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert devices.usable_engine() == "ONNX Runtime on the GPU: TensorRT is not installed."
    monkeypatch.setattr(devices.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert devices.usable_engine().startswith("ONNX Runtime on the CPU: TensorRT is not installed. ONNX Runtime has no")


def test_the_command() -> None:
    text = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    assert text.exit_code == 0
    assert "run --device auto uses: " in text.output
    values = json.loads(CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False).output)
    assert set(values) == {"facts", "uses", "missing"}
    assert values["facts"]["Python"].startswith("3.")
