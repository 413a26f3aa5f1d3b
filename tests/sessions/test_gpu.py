"""Which GPU is there: asked of the real packages where no driver is, of fake drivers where one would be."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import shutil
from typing import Any

import pytest
from fake_cuda_bindings import FakeCudaBindings
from fake_device import FakeDevice
from fake_memory import Code
from fake_pycuda import FakePyCuda

from schanger_edge.errors import SessionError
from schanger_edge.sessions import gpu as gpu_module
from schanger_edge.sessions.gpu import NO_DRIVER, Gpu, bindings_misfit, find_gpu


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a driver here")
def test_no_driver_is_one_sentence() -> None:
    pytest.importorskip("cuda.bindings", reason="needs cuda-bindings")
    with pytest.raises(SessionError) as caught:
        find_gpu("cuda-python")
    assert str(caught.value) == NO_DRIVER


def test_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name)))
    with pytest.raises(SessionError, match="cuda-python and pycuda are not installed, so CUDA is not available: pip"):
        find_gpu()
    with pytest.raises(SessionError, match="pycuda is not installed"):
        find_gpu("pycuda")
    with pytest.raises(SessionError, match="'cupy' is unknown: use cuda-python or pycuda"):
        find_gpu("cupy")  # type: ignore[arg-type]


@pytest.fixture
def orin() -> FakeDevice:
    return FakeDevice(integrated=True, memory=8 << 30)


def test_both_packages_say_the_same(orin: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {"cuda.bindings.driver": FakeCudaBindings(orin), "pycuda.driver": FakePyCuda(orin)}
    monkeypatch.setattr(importlib, "import_module", modules.__getitem__)
    one, other = find_gpu(), find_gpu("pycuda")
    facts = "Simulated GPU", "8.6", 8 << 30, True, "13.0"
    assert (one.name, one.capability, one.memory, one.integrated, one.driver) == facts
    assert one.multiprocessors == 28
    assert (one.binding, other.binding) == ("cuda-python", "pycuda")
    assert dataclasses.replace(other, binding="cuda-python") == one


def test_a_driver_without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeCudaBindings(FakeDevice())
    monkeypatch.setattr(importlib, "import_module", lambda name: driver)
    with pytest.raises(SessionError, match=r"CUDA device 3 does not respond: CUDA_ERROR_INVALID_DEVICE\."):
        find_gpu("cuda-python", 3)
    monkeypatch.setattr(driver, "cuInit", lambda flags: (Code.CUDA_ERROR_NO_DEVICE,))
    with pytest.raises(SessionError, match="no NVIDIA driver responds"):
        find_gpu("cuda-python")

    def broken(name: str) -> Any:
        raise ImportError("libcuda.so.1: cannot open shared object file")  # what pycuda does without a driver

    monkeypatch.setattr(importlib, "import_module", broken)
    monkeypatch.setattr(gpu_module, "driver_present", lambda: False)
    with pytest.raises(SessionError, match="no NVIDIA driver responds"):
        find_gpu("pycuda")
    monkeypatch.setattr(gpu_module, "driver_present", lambda: True)
    with pytest.raises(SessionError, match=r"pycuda does not load \(libcuda.*: reinstall it"):
        find_gpu("pycuda")


def test_a_function_that_an_older_driver_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeCudaBindings(FakeDevice())

    def missing(*_: Any) -> None:
        raise RuntimeError('Function "cuDeviceTotalMem_v2" not found')

    monkeypatch.setattr(driver, "cuDeviceTotalMem", missing)
    monkeypatch.setattr(importlib, "import_module", lambda name: driver)
    with pytest.raises(
        SessionError, match=r"older than cuda-bindings and lacks a function \(Function \"cuDeviceTotalMem"
    ):
        find_gpu("cuda-python")


@pytest.mark.parametrize(
    ("driver", "version", "fits"),
    [("12.2", "13.5.0", False), ("12.9", "12.9.4", True), ("12.2", "12.9.4", True), ("13.0", "12.9.4", True)],
)
def test_driver_and_bindings_are_compared(
    driver: str, version: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    found = Gpu("GPU", "8.6", 1, False, driver, "cuda-python", 1)
    sentence = (
        f"cuda-bindings {version} is for a newer CUDA than the driver ({driver}), which lacks some of its functions: "
        "update the driver, or pip install 'cuda-bindings==12.*'."
    )
    assert bindings_misfit(found) == ("" if fits else sentence)
    assert not bindings_misfit(dataclasses.replace(found, binding="pycuda"))


def test_a_package_that_does_not_load_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if name.startswith("cuda"):
            raise ImportError("numpy.core.multiarray failed to import")
        return FakePyCuda(FakeDevice())

    monkeypatch.setattr(importlib, "import_module", load)
    assert find_gpu().binding == "pycuda"
    with pytest.raises(SessionError, match="cuda-python does not load"):
        find_gpu("cuda-python")
