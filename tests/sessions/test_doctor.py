"""The doctor's page: of this machine, and of machines whose system files are made up.

The made-up files follow the form that NVIDIA documents; none was recorded on a board.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import onnxruntime
import pytest
from simulated_machine import Machine
from simulator import SimulatedRTX
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.errors import SessionError
from schanger_edge.host import board as board_module
from schanger_edge.host.board import driver, jetpack
from schanger_edge.sessions import gpu
from schanger_edge.sessions.devices import usable_engine
from schanger_edge.sessions.doctor import doctor, extras
from schanger_edge.sessions.gpu import Gpu

ORIN = Gpu("Orin", "8.7", 7_990_000_000, True, "12.6", "pycuda", 8)


EMC = "sys/kernel/debug/bpmp/debug/clk/emc"
JETSON = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n",
    "proc/meminfo": "MemTotal:        7800000 kB\nMemFree: 1 kB\nMemAvailable:    5000000 kB\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "625000000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1510400\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1344000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq": "1510400\n",
    f"{EMC}/rate": "2133000000\n",
    f"{EMC}/max_rate": "3199000000\n",
}
DESKTOP_DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
PACKAGES = """Package: libc6
Status: install ok installed
Version: 2.35

Package: nvidia-jetpack
Status: install ok installed
Priority: standard
Source: nvidia-jetpack (6.2)
Version: 6.2.1+b38
"""


def system(root: Path, files: dict[str, str]) -> Path:
    """A folder that stands for `/`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a command prints, by its name; others are not there."""
    printed: dict[str, str] = {}

    def run(command: tuple[str, ...], **_: object) -> SimpleNamespace:
        if command[0] not in printed:
            raise FileNotFoundError(command[0])
        return SimpleNamespace(stdout=printed[command[0]])

    monkeypatch.setattr(subprocess, "run", run)
    return printed


def no_gpu(reason: str = "CUDA cannot be reached.") -> Callable[..., None]:
    def find(name: str | None = None) -> None:
        raise SessionError(reason)

    return find


def test_a_jetson(tmp_path: Path, commands: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    commands["nvpmodel"] = "NV Power Mode: 15W\n0\n"
    monkeypatch.setattr(gpu, "find_gpu", lambda: ORIN)
    facts = doctor(system(tmp_path, JETSON)).facts
    assert facts["board"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert facts["JetPack"] == "6.2, L4T 36.4.3"
    assert facts["driver"] == "540.4.0"
    assert facts["power mode"] == "15W"
    assert facts["CPU clock"] == "730 to 1344 of 1510 MHz, 2 cores online"
    assert facts["GPU clock"] == "306 of 625 MHz"
    assert facts["memory clock"] == "2133 of 3199 MHz"
    assert facts["memory"] == "5.1 of 8.0 GB free"
    assert facts["GPU"] == "Orin, compute capability 8.7, 7,990 MB, shares the CPU's memory"
    assert facts["CUDA"] == "driver for 12.6, through pycuda"


def test_what_a_jetson_does_not_tell(tmp_path: Path, commands: dict[str, str]) -> None:
    facts = doctor(system(tmp_path, {"etc/nv_tegra_release": JETSON["etc/nv_tegra_release"]})).facts
    assert facts["board"] == "Jetson"
    assert facts["power mode"] == "not readable: run sudo nvpmodel -q"
    assert facts["CPU clock"] == facts["GPU clock"] == "not readable"
    assert facts["memory clock"] == f"readable only by root: sudo cat /{EMC}/rate"
    thor = {"sys/class/devfreq/bwmgr/cur_freq": "4266000000", "sys/class/devfreq/bwmgr/max_freq": "4266000000"}
    assert doctor(system(tmp_path, thor)).facts["memory clock"] == "4266 of 4266 MHz"


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("# R36 (release), REVISION: 2.0, GCID: 1", "6.0 DP, L4T 36.2.0"),
        ("# R36 (release), REVISION: 3.0, GCID: 1", "6.0, L4T 36.3.0"),
        ("# R36 (release), REVISION: 4.0, GCID: 1", "6.1, L4T 36.4.0"),
        ("# R36 (release), REVISION: 4.7, GCID: 1", "6.2.1 to 6.2.2, L4T 36.4.7"),
        ("# R36 (release), REVISION: 9.0, GCID: 1", "6.2.3 or newer, L4T 36.9.0"),
        ("# R36 (release), REVISION: 0.0, GCID: 1", "older than 6.0 DP, L4T 36.0.0"),
        ("# R36 (release)", "6.0 DP to 6.2.3, L4T 36"),
        ("# R38 (release), REVISION: 4.0, GCID: 1", "7.1, L4T 38.4.0"),
        ("# R39 (release), REVISION: 2.0, GCID: 1", "7.2, L4T 39.2.0"),
        ("# R35 (release), REVISION: 4.1", f"5.1.2{board_module.TOO_OLD}, L4T 35.4.1"),
        ("# R35 (release), REVISION: 6.1.5", f"5.1.5{board_module.TOO_OLD}, L4T 35.6.1.5"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "unknown to this version, L4T 99.1.0"),
        ("nothing of the kind", "not given in /etc/nv_tegra_release"),
    ],
)
def test_jetpack_by_its_release(release: str, words: str) -> None:
    assert jetpack(release) == words


def test_jetpack_by_its_package() -> None:
    release = "# R36 (release), REVISION: 4.7, GCID: 1"
    assert jetpack(release, PACKAGES) == "6.2.1, L4T 36.4.7"
    removed = PACKAGES.replace("nvidia-jetpack\nStatus: install ok", "nvidia-jetpack\nStatus: deinstall ok")
    assert jetpack(release, removed) == "6.2.1 to 6.2.2, L4T 36.4.7"


def test_the_driver(tmp_path: Path, commands: dict[str, str]) -> None:
    assert driver(tmp_path) is None
    commands["nvidia-smi"] = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
    assert driver(tmp_path) is None
    commands["nvidia-smi"] = "566.36\n566.36\n"
    assert driver(tmp_path) == "566.36"
    assert driver(system(tmp_path, {"proc/driver/nvidia/version": DESKTOP_DRIVER})) == "550.54.15"


def test_without_a_gpu_the_command_that_shows_or_gets_it(
    tmp_path: Path, commands: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "find_gpu", no_gpu())
    monkeypatch.setattr(gpu, "driver_present", lambda: False)
    assert "lspci | grep -i nvidia" in doctor(tmp_path / "bare").missing["GPU"]
    card = {
        "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
    }
    assert "sudo ubuntu-drivers install" in doctor(system(tmp_path / "card", card)).missing["GPU"]
    audio = {name: text.replace("0x03", "0x04") for name, text in card.items()}
    assert "lspci" in doctor(system(tmp_path / "audio", audio)).missing["GPU"]
    assert "sudo apt install nvidia-jetpack" in doctor(system(tmp_path / "jetson", JETSON)).missing["GPU"]
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    assert doctor(tmp_path).missing["CUDA"] == "CUDA cannot be reached. To see what the driver sees: nvidia-smi"


def test_bindings_that_are_newer_than_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "13.5.0")
    machine = Machine(monkeypatch, tmp_path)
    assert "CUDA" not in doctor(tmp_path).missing
    machine.driver.driver = 12020
    assert (
        doctor(tmp_path).missing["CUDA"].startswith("cuda-bindings 13.5.0 is for a newer CUDA than the driver (12.2)")
    )


def test_elsewhere_nothing_is_said_of_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path))
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "x.plan").write_bytes(b"0" * 2_000_000)
    report = doctor(tmp_path / "empty")
    assert not {"board", "JetPack", "power mode"} & set(report.facts)
    assert report.facts["memory"] == "not readable"
    assert report.facts["engine cache"] == f"{tmp_path / 'engines'}: 1 plan, 2.0 MB"


def test_a_cache_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    advice = "set SCHANGER_EDGE_CACHE to a writable folder."
    assert doctor().facts["engine cache"] == (
        f"the engine cache {tmp_path / 'file' / 'engines'} cannot be read (Not a directory): {advice}"
    )
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    words = doctor().facts["engine cache"]
    assert words == f"{tmp_path / 'engines'}: 0 plans, 0.0 MB; {tmp_path} cannot be written: {advice}"

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    assert "cannot be read (Permission denied)" in doctor().facts["engine cache"]
    for name in ("SCHANGER_EDGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it does where there is no home
    assert doctor().facts["engine cache"] == f"there is no home folder for the engine cache: {advice}"


def test_every_extra_is_looked_for() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    section = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    assert set(re.findall(r"^(\w+) = \[", section, re.M)) - {"dev"} == set(extras())


def test_what_is_missing_comes_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise ModuleNotFoundError(name) if "." in name else ImportError(name)

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    monkeypatch.setattr(sys.modules["tensorrt"], "__version__", "8.5.2", raising=False)
    missing = doctor().missing
    assert missing["extra tensorrt"].startswith(
        "tensorrt, cuda.bindings or pycuda: pip install 'schanger-edge[tensorrt]'"
    )
    assert "python3-libnvinfer from apt" in missing["extra tensorrt"]
    assert missing["extra rtx"] == "tensorrt_rtx: pip install 'schanger-edge[rtx]'"
    assert missing["extra export"] == "torch, huggingface_hub: pip install 'schanger-edge[export]'"
    assert {f"extra {name}" for name in extras()} <= set(missing)
    assert "TensorRT" not in missing  # its extra says it
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    assert doctor().missing["TensorRT"].startswith("TensorRT 8.5.2 is too old")


def test_on_a_jetson_no_rtx_is_proposed(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("# R36 (release), REVISION: 4.3")
    report = doctor(tmp_path)
    assert "extra rtx" not in {**report.missing, **report.facts}
    report = doctor(tmp_path / "nothing")
    assert "extra rtx" in {**report.missing, **report.facts}


def test_what_auto_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, tmp_path)
    assert usable_engine() == "TensorRT 10.13.3 on Simulated GPU"
    machine.install(None, "tensorrt")
    machine.install(None, "tensorrt_rtx")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert usable_engine().startswith("ONNX Runtime on the GPU: TensorRT is not installed: pip install")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    words = usable_engine()
    assert words.startswith("ONNX Runtime on the CPU: TensorRT is not installed: pip install")
    assert "ONNX Runtime has no CUDA provider" in words
    machine.without_driver()
    assert usable_engine().startswith("ONNX Runtime on the CPU: no NVIDIA driver responds")


@pytest.mark.parametrize(
    ("capability", "served"), [("7.5", True), ("8.6", True), ("12.1", True), ("8.7", False), ("9.0", False)]
)
def test_auto_does_not_promise_rtx_where_it_has_no_kernels(
    capability: str, served: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, tmp_path)
    rtx = SimulatedRTX(machine.device)
    rtx.ComputeCapability = SimpleNamespace(SM75=1, SM80=2, SM86=3, SM89=4, SM120=5, SM121=6)
    machine.install(rtx, "tensorrt_rtx")
    monkeypatch.setattr(gpu, "find_gpu", lambda: dataclasses.replace(ORIN, capability=capability))
    assert usable_engine() == "TensorRT 10.13.3 on Orin"
    machine.install(None, "tensorrt")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    if served:
        assert usable_engine() == "TensorRT-RTX 1.7.1 on Orin"
        return
    reason = (
        f"TensorRT-RTX 1.7.1 cannot build for compute capability {capability}: it supports 7.5, 8.0, 8.6, 8.9, 12.0"
    )
    assert usable_engine().startswith(f"ONNX Runtime on the GPU: {reason}")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert usable_engine().startswith(f"ONNX Runtime on the CPU: {reason}")


def test_the_command() -> None:
    text = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    assert text.exit_code == 0
    assert "run --device auto uses: " in text.output
    values = json.loads(CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False).output)
    assert set(values) == {"facts", "uses", "missing"}
    assert values["facts"]["Python"].startswith("3.")
