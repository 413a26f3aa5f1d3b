"""The steps of a first contact with hardware, on the simulated machine, and the script that runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_boards import JETSON
from fake_device import FakeDevice
from helpers import load_script
from simulated_machine import Machine
from simulator import SimulatedRTX, SimulatedTensorRT

from schanger_edge.model.bundled import model_path
from schanger_edge.sessions.tensorrt import cuda as cuda_module

SCRIPT = JETSON / "first_contact.sh"
STAND_IN = """#!{python}
import pathlib, sys, time
if sys.argv[2] == "list":
    print("good\\t5\\tgoes well\\nbad\\t5\\tfails\\nslow\\t3\\thangs")
    print("absent\\t5\\tdoes not apply\\nlast\\t5\\tgoes well")
elif sys.argv[2] == "pack":
    print(sys.argv[3] + ".zip")
else:
    print("began"); print("the reason")
    time.sleep(30 if sys.argv[2] == "slow" else 0)
    sys.exit({{"bad": 1, "absent": 3}}.get(sys.argv[2], 0))
"""


@pytest.fixture
def contact(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(JETSON / "first_contact")
    steps = load_script(JETSON / "first_contact" / "__main__.py", "first_contact")
    monkeypatch.setattr(steps.device, "BYTES", 1 << 16)  # of each copy
    monkeypatch.setattr(steps.speed, "ROUNDS", 9)
    return steps


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """With 1 GB, and a model of FP16 whose step needs no conversion."""
    return Machine(monkeypatch, tmp_path / "cache")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """The small model of the tests stands for all that the step `models` finds."""
    (tmp_path / "out" / "models").mkdir(parents=True)
    for name in ("fp32", "fp16", "int8", "int8-chain", "base"):
        shutil.copy(model, tmp_path / "out" / "models" / f"{name}.onnx")
    return tmp_path / "out"


def tried(contact: Any, folder: Path, name: str) -> dict[str, Any]:
    """What a step wrote."""
    code = contact.main([name, str(folder)])
    written: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    assert code == {"done": 0, "skipped": 3, "failed": 1}[written["state"]]
    return written


def result(contact: Any, folder: Path, name: str) -> Any:
    written = tried(contact, folder, name)
    assert written["state"] == "done", written
    return written["result"]


def test_machine(contact: Any, machine: Machine, folder: Path) -> None:
    found = result(contact, folder, "machine")
    assert (found["gpu"]["multiprocessors"], found["tensorrt"], found["strong"]) == (28, "TensorRT 10.13.3", True)
    machine.trt.old_driver = True
    written = tried(contact, folder, "machine")
    assert written["error"].startswith("SessionError: TensorRT 10.13.3 does not start (CUDA initialization failure")


@pytest.mark.parametrize("binding", ["cuda-python", "pycuda"])
def test_bindings(contact: Any, machine: Machine, folder: Path, binding: str) -> None:
    found = result(contact, folder, binding)
    assert (found["opened_and_closed"], found["bytes_left_behind"], found["copies"]["wrong"]) == (100, 0, 0)
    captured = found["captured_while_another_thread_allocates"]
    if binding == "pycuda":
        assert captured == "no graphs"
    else:
        assert captured == {"asked": 32, "captured": 32, "copies_right": True, "other_thread": []}
    assert machine.device.faults == []
    assert not +machine.device.live


def test_a_copy_that_goes_wrong_is_found(
    contact: Any, machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cuda_module.Cuda.copy_in
    monkeypatch.setattr(
        cuda_module.Cuda, "copy_in", lambda self, to, host, size, stream: whole(self, to, host, size // 2, stream)
    )
    written = tried(contact, folder, "cuda-python")
    assert written["error"] == "RuntimeError: 96 of 96 copies came back changed"


def test_a_capture_that_fails_is_told(contact: Any, machine: Machine, folder: Path) -> None:
    machine.plug_in(FakeDevice(capturable=False))
    found = result(contact, folder, "cuda-python")["captured_while_another_thread_allocates"]
    assert (found["captured"], found["copies_right"]) == (0, False)


def test_plans_and_what_runs_on_them(contact: Any, machine: Machine, folder: Path) -> None:
    """On one machine in turn, as the script does."""
    for name in ("build-fp16-1", "build-fp16-8", "build-fp32-8", "build-int8-8", "build-chain-8", "build-base-1"):
        found = result(contact, folder, name)
        assert found["seconds"] >= 0
        assert (found["scratch_megabytes"], found["typing"]) == (1.0, "strong")
    mixed = result(contact, folder, "mix")
    assert mixed["largest_difference"] < 1e-5
    assert mixed["megabytes_open"] > 0 == mixed["megabytes_left_behind"]
    found = result(contact, folder, "latency")
    assert set(found) == {"fp32", "fp16", "int8", "int8-chain"}
    for measured in (found["fp16"]["batch 4"], found["int8-chain"]["batch 1"]):
        assert measured["wall"]["n"] == 9
        assert set(measured["device"]) == {"copy_in", "infer", "copy_out"}
        assert measured["slowest_layers"] == [["all", 1.0]]
    assert tried(contact, folder, "rtx")["reason"] == "runs use TensorRT 10.13.3 here."


def test_too_little_scratch_memory_is_refused(contact: Any, machine: Machine, folder: Path) -> None:
    machine.trt.scratch = 20 << 20
    found = result(contact, folder, "build-limited")
    assert "OutOfMemory (Requested size was 20971520 bytes.)" in found["refused"]


def test_weak_and_strong_types(contact: Any, machine: Machine, folder: Path) -> None:
    found = result(contact, folder, "typing")
    assert list(found) == ["strong", "weak"]
    assert all(kind["layers"] == {"Row major linear FP32": 1} for kind in found.values())
    assert all(kind["largest_difference"] < 1e-5 for kind in found.values())
    assert [config.profiling_verbosity for _, config in machine.trt.builds_asked] == ["detailed"] * 2
    assert [network.flags for network, _ in machine.trt.builds_asked] == [2, 0]
    assert (folder / "layers-weak.json").exists()


def layer(name: str, takes: str, gives: str, kind: str = "CaskConvolution", metadata: str = "") -> dict[str, Any]:
    """As TensorRT's inspector tells it."""
    tensors = [{"Name": "x", "Dimensions": [1, 32, 64, 64], "Format/Datatype": words} for words in (takes, gives)]
    return {"Name": name, "LayerType": kind, "Inputs": tensors[:1], "Outputs": tensors[1:], "Metadata": metadata}


def test_what_int8_convolutions_hand_on(contact: Any, machine: Machine, tmp_path: Path) -> None:
    """By the names of the graph's convolutions, alone or fused; other layers that name one don't count."""
    int8, half = "Thirty-two wide channel vectorized row major Int8 format", "Channel major FP16 format"
    first, second = "encoder1.0.expand_conv", "encoder1.0.dwconv"
    machine.trt.layers = [
        "a layer of which nothing is told",
        layer("conv_1", "Row major linear UInt8 format", half),
        layer(f"Reformatting CopyNode for Input Tensor 0 to {first}", int8, int8, "Reformat"),
        layer(f"{first}.weight.int8 + {first} + PWN({first}.silu)", int8, int8),
        layer("__myl_Conv", int8, half, "kgen", f"[ONNX Layer: {second}.weight.int8]\x1e[ONNX Layer: {second}]"),
        layer(f"{second}.silu", int8, int8, "PointWiseV2"),
    ]
    (tmp_path / "models").mkdir()
    for name, make in {"fp32": contact.plans._fp32, "int8-chain": contact.plans._int8_chain}.items():
        make(tmp_path / "models" / f"{name}.onnx")
    assert result(contact, tmp_path, "int8-layers") == {
        "scales": contact.plans.MADE_UP,
        "convolutions": 157,
        "found_in_layers": 3,
        "int8_convolutions": 2,
        "of_these_hand_on_int8": 1,
        "hand_on": {int8: 1, half: 1},
    }
    assert machine.trt.sources[-1] == (tmp_path / "models/int8-chain.onnx").read_bytes()
    assert json.loads((tmp_path / "layers-int8-chain.json").read_text()) == {"Layers": machine.trt.layers}
    assert machine.device.faults == []
    weak = SimulatedTensorRT(machine.device, "8.6.1")
    machine.install(weak)
    assert result(contact, tmp_path, "int8-layers")["found_in_layers"] == 0
    assert weak.sources == [(tmp_path / "models/int8-chain-plain.onnx").read_bytes()]
    assert {"FP16", "INT8"} <= set(weak.builds_asked[0][1].flags)


def test_rtx_cold_and_cached(contact: Any, machine: Machine, folder: Path) -> None:
    machine.install(None)
    machine.install(SimulatedRTX(machine.device), "tensorrt_rtx")
    result(contact, folder, "build-fp16-8")
    found = result(contact, folder, "rtx")
    assert [len(found[state]["milliseconds"]) for state in ("cold", "cached")] == [20, 20]
    assert tried(contact, folder, "typing")["reason"] == "runs use TensorRT-RTX 1.7.1 here."


def test_what_is_not_there_is_skipped(contact: Any, machine: Machine, tmp_path: Path) -> None:
    reasons = {name: tried(contact, tmp_path, name)["reason"] for name in ("mix", "build-base-1", "power")}
    assert reasons == {
        "mix": "there is no fp16-8.plan: its build step did not succeed.",
        "build-base-1": "there is no model base: see models.json.",
        "power": "only a Jetson has power modes.",
    }


def test_models(contact: Any, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Base is fetched, which may fail; the others come with the package or are converted."""
    monkeypatch.setattr(contact.plans, "_fp16", lambda path: shutil.copy(model_path(None), path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = result(contact, tmp_path, "models")
    assert [found[name]["precision"] for name in ("fp32", "int8", "int8-chain")] == ["fp32", "int8", "int8+fp16"]
    assert found["int8-chain"]["scales"].startswith("made up")
    assert found["base"].startswith("not there: ")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "fp16.onnx", "fp32.onnx", "int8-chain-plain.onnx", "int8-chain.onnx", "int8.onnx",
    ]  # fmt: skip


def test_the_zip_holds_results_alone(contact: Any, folder: Path) -> None:
    for name in ("mix.json", "mix.log", "steps.tsv"):
        (folder / name).write_text("x")
    assert contact.main(["pack", str(folder)]) == 0
    with zipfile.ZipFile(folder.with_name("out.zip")) as archive:
        assert archive.namelist() == ["out/mix.json", "out/mix.log", "out/steps.tsv"]


def script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script with a stand-in for the steps."""
    python = folder / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    return subprocess.run(
        ["bash", str(SCRIPT), "--python", str(python), *arguments], capture_output=True, text=True, check=False,
        cwd=folder, env={**os.environ, "SCHANGER_ROOT": str(folder)},
    )  # fmt: skip


def test_a_step_that_fails_or_hangs_does_not_end_the_others(tmp_path: Path) -> None:
    done = script(tmp_path, "-o", "results/")
    assert done.returncode == 1, done.stderr
    rows = [line.split("\t") for line in (tmp_path / "results/steps.tsv").read_text().splitlines()]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("good", "done", "goes well"),
        ("bad", "failed", "fails: the reason"),
        ("slow", "timed out", "hangs: the reason"),
        ("absent", "skipped", "does not apply: the reason"),
        ("last", "done", "goes well"),
    ]
    assert (tmp_path / "results/bad.log").read_text() == "began\nthe reason\n"
    assert done.stdout.splitlines()[-1].startswith("results: results, and in one file results.zip")


def test_some_steps_no_time_and_a_preview(tmp_path: Path) -> None:
    assert script(tmp_path, "--only", "good,last", "--minutes", "0").returncode == 0
    assert [line.split("\t")[1] for line in (tmp_path / "first-contact/steps.tsv").read_text().splitlines()] == [
        "not begun",
        "not begun",
    ]
    preview = script(tmp_path, "-o", "none", "--dry-run", "--only", "slow")
    assert preview.stdout == "slow: hangs (at most 3 s)\n"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--only", "nothing"), "there is no step nothing: see first_contact.sh --dry-run."),
        (("--minutes", "soon"), "--minutes takes a whole number, not soon."),
        (("--what",), "unknown option --what: see first_contact.sh --help."),
        (("-o",), "-o needs a value: see first_contact.sh --help."),
        (("--python", "/none"), "/none is no program: use --python."),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    done = script(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (2, sentence + "\n")


def test_tiles_differ_and_repeat(contact: Any) -> None:
    first, again = contact.speed.tiles(32, 3), contact.speed.tiles(32, 3)
    assert first.shape == (2, 3, 3, 32, 32)
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:, 0], first[:, 1])
