"""Which GPU is there: asked of the real packages where no driver is, of stand-ins where one would be."""

from __future__ import annotations

import importlib
import shutil
from types import SimpleNamespace
from typing import Any

import pytest

from schanger_edge.errors import SessionError
from schanger_edge.sessions import gpu as gpu_module
from schanger_edge.sessions.gpu import NO_DRIVER, find_gpu


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a driver here")
def test_no_driver_is_one_sentence() -> None:
    pytest.importorskip("cuda.bindings", reason="needs cuda-bindings")
    with pytest.raises(SessionError) as caught:
        find_gpu("cuda-python")
    assert str(caught.value) == NO_DRIVER


def test_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name)))
    with pytest.raises(SessionError, match="cuda-python and pycuda are not installed, CUDA cannot be reached: pip"):
        find_gpu()
    with pytest.raises(SessionError, match="pycuda is not installed"):
        find_gpu("pycuda")
    with pytest.raises(SessionError, match="'cupy' is unknown: use cuda-python or pycuda"):
        find_gpu("cupy")  # type: ignore[arg-type]


class StandInAttributes:
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 8
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 7
    CU_DEVICE_ATTRIBUTE_INTEGRATED = 1
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16


def stand_in_cuda_python(init: int = 0, device: int = 0) -> Any:
    """What cuda.bindings.driver answers on an Orin: a tuple of code and value."""
    return SimpleNamespace(
        CUdevice_attribute=StandInAttributes,
        cuInit=lambda flags: (init,),
        cuDeviceGet=lambda ordinal: (device, "device"),
        cuDeviceGetAttribute=lambda value, of: (0, value),
        cuDeviceGetName=lambda length, of: (0, b"Orin\0\0\0"),
        cuDriverGetVersion=lambda: (0, 12060),
        cuDeviceTotalMem=lambda of: (0, 8 << 30),
    )


def stand_in_pycuda() -> Any:
    orin = SimpleNamespace(
        compute_capability=lambda: (8, 7),
        get_attribute={18: 1, 16: 16}.__getitem__,
        name=lambda: "Orin",
        total_memory=lambda: 8 << 30,
    )
    return SimpleNamespace(
        init=lambda: None,
        Device=lambda ordinal: orin,
        device_attribute=SimpleNamespace(INTEGRATED=18, MULTIPROCESSOR_COUNT=16),
        get_driver_version=lambda: 12060,
    )


def test_both_packages_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {"cuda.bindings.driver": stand_in_cuda_python(), "pycuda.driver": stand_in_pycuda()}
    monkeypatch.setattr(importlib, "import_module", modules.__getitem__)
    one, other = find_gpu(), find_gpu("pycuda")
    assert (one.name, one.capability, one.memory, one.integrated, one.driver) == ("Orin", "8.7", 8 << 30, True, "12.6")
    assert one.words == other.words == "Orin, 16 multiprocessors"
    assert (one.binding, other.binding) == ("cuda-python", "pycuda")
    assert (other.name, other.capability, other.memory, other.integrated, other.driver) == (
        one.name, one.capability, one.memory, one.integrated, one.driver,
    )  # fmt: skip


def test_a_driver_without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: stand_in_cuda_python(init=100))
    with pytest.raises(SessionError, match="no NVIDIA driver answers"):
        find_gpu("cuda-python")
    monkeypatch.setattr(importlib, "import_module", lambda name: stand_in_cuda_python(device=101))
    with pytest.raises(SessionError, match="CUDA device 3 does not answer: 101"):
        find_gpu("cuda-python", 3)

    def broken(name: str) -> Any:
        raise ImportError("libcuda.so.1: cannot open shared object file")  # what pycuda does without a driver

    monkeypatch.setattr(importlib, "import_module", broken)
    monkeypatch.setattr(gpu_module, "driver_present", lambda: False)
    with pytest.raises(SessionError, match="no NVIDIA driver answers"):
        find_gpu("pycuda")
    monkeypatch.setattr(gpu_module, "driver_present", lambda: True)
    with pytest.raises(SessionError, match=r"pycuda does not load \(libcuda.*: install it again"):
        find_gpu("pycuda")


def test_a_package_that_does_not_load_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if name.startswith("cuda"):
            raise ImportError("numpy.core.multiarray failed to import")
        return stand_in_pycuda()

    monkeypatch.setattr(importlib, "import_module", load)
    assert find_gpu().binding == "pycuda"
    with pytest.raises(SessionError, match="cuda-python does not load"):
        find_gpu("cuda-python")
