"""What goes wrong with engines, each with the sentence that docs/engines.md shows for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_device import FakeDevice
from helpers import ROOT
from simulated_builder import simulated_plan
from simulator import GPU_WORDS, SimulatedTensorRT, on_fake_driver

from schanger_edge.errors import SessionError
from schanger_edge.model.file import read_model
from schanger_edge.model.plan import Batches, PlanCard, Target, sidecar_of, this_system
from schanger_edge.sessions.gpu import find_gpu
from schanger_edge.sessions.tensorrt.builder import Recipe, build_plan
from schanger_edge.sessions.tensorrt.flavour import Flavour, load_flavour
from schanger_edge.sessions.tensorrt.plans import write_plan
from schanger_edge.sessions.tensorrt.session import TensorRTSession

TILE = 32
Failure = Callable[["Machine"], object]


class Machine:
    """A simulated GPU, a plan that fits it, and a folder."""

    def __init__(self, folder: Path, standin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch, self.plan = folder, monkeypatch, folder / "m.plan"
        self.model = folder / "m.onnx"
        standin.integer_model(self.model, radius=1, tile=TILE, halo=4)
        self.write()

    def write(self, content: bytes | None = None, **target: Any) -> None:
        facts = {"flavour": "tensorrt", "version": "10.13.3", "capabilities": ("8.6",), "gpu": GPU_WORDS}
        built_for = Target(system=this_system(), **{**facts, **target})
        file = read_model(self.model)
        own = PlanCard("m.onnx", file.sha256, file.sha256, file.card, built_for, "strong", (), Batches(1, 2, 4))
        write_plan(self.plan, content or simulated_plan(self.model.read_bytes(), own.batches), own)

    def open(self, memory: int = 1 << 30, fails: str = "") -> TensorRTSession:
        device = FakeDevice(memory=memory)
        trt = SimulatedTensorRT(device, fails=fails)
        return TensorRTSession(self.plan, Flavour("tensorrt", trt, trt.__version__), on_fake_driver(device))

    def without_packages(self) -> None:
        def missing(name: str) -> ModuleType:
            raise ModuleNotFoundError(name)

        self.monkeypatch.setattr(importlib, "import_module", missing)

    def build(self, parses: bool) -> None:
        trt = SimulatedTensorRT(FakeDevice())
        trt.parses, trt.builds = parses, False
        build_plan(Flavour("tensorrt", trt, "10.13.3"), Recipe(self.model, TILE, Batches()))


def no_driver(machine: Machine) -> None:
    def driverless(*_: int) -> None:
        raise RuntimeError("libcuda.so.1 is missing")

    machine.monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(cuInit=driverless))
    find_gpu("cuda-python")


def no_cuda_package(machine: Machine) -> None:
    machine.without_packages()
    find_gpu()


def no_tensorrt(machine: Machine) -> None:
    machine.without_packages()
    load_flavour()


def other_version(machine: Machine) -> None:
    machine.write(version="10.3.0")
    machine.open()


def other_capability(machine: Machine) -> None:
    machine.write(capabilities=("8.9",))
    machine.open()


def other_gpu(machine: Machine) -> None:
    machine.write(gpu="Orin, NVIDIA Jetson AGX Orin Developer Kit")
    machine.open()


def other_flavour(machine: Machine) -> None:
    machine.write(flavour="rtx", gpu="")
    machine.open()


def no_sidecar(machine: Machine) -> None:
    sidecar_of(machine.plan).unlink()
    machine.open()


def damaged_sidecar(machine: Machine) -> None:
    sidecar_of(machine.plan).write_text("{")
    machine.open()


def altered_sidecar(machine: Machine) -> None:
    sidecar = sidecar_of(machine.plan)
    text = sidecar.read_text()
    sidecar.write_text(text.replace('"threshold": 0.5', '"threshold": 0.1'))
    assert sidecar.read_text() != text
    machine.open()


def damaged_plan(machine: Machine) -> None:
    machine.plan.write_bytes(machine.plan.read_bytes()[:-1])
    machine.open()


def no_engine(machine: Machine) -> None:
    machine.write(content=b"something else")
    machine.open()


def no_memory_for_the_engine(machine: Machine) -> None:
    machine.open(fails="context")


def little_memory(machine: Machine) -> None:
    with machine.open(memory=TILE * TILE * 10 * 2 * 4) as session:
        raise SessionError(" ".join(session.notes))  # no failure, but said


def failing_engine(machine: Machine) -> None:
    import numpy as np

    tiles = np.zeros((1, 3, TILE, TILE), np.uint8)
    with machine.open(fails="execute") as session:
        session.run(tiles, tiles)


FAILURES: dict[str, Failure] = {
    "no driver": no_driver,
    "no package that talks to CUDA": no_cuda_package,
    "no TensorRT": no_tensorrt,
    "plan of another version": other_version,
    "plan for another compute capability": other_capability,
    "plan for another GPU": other_gpu,
    "plan of TensorRT-RTX": other_flavour,
    "no sidecar": no_sidecar,
    "damaged sidecar": damaged_sidecar,
    "altered sidecar": altered_sidecar,
    "plan damaged or mixed up": damaged_plan,
    "not an engine": no_engine,
    "a node that TensorRT does not know": lambda machine: machine.build(parses=False),
    "the builder fails": lambda machine: machine.build(parses=True),
    "no memory for the engine": no_memory_for_the_engine,
    "no memory for large batches (the run continues)": little_memory,
    "the engine fails": failing_engine,
}


def shown() -> dict[str, str]:
    """The rows of the table in docs/engines.md."""
    rows = [line.strip("| \n").split(" | ") for line in (ROOT / "docs" / "engines.md").open() if line.startswith("| ")]
    return {row[0]: row[1] for row in rows if len(row) == 2}


@pytest.mark.parametrize("what", FAILURES)
def test_each_failure_says_what_the_table_shows(
    what: str, standin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, standin, monkeypatch)
    with pytest.raises(SessionError) as caught:
        FAILURES[what](machine)
    assert str(caught.value).replace(f"{tmp_path}/", "") == shown()[what]


def test_the_table_has_no_other_rows() -> None:
    assert set(shown()) - {"what is wrong"} == set(FAILURES)
