"""Which GPU this is, asked of the driver by cuda-bindings or pycuda, whichever imports."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
from collections.abc import Callable
from typing import Any, Literal

from schanger_edge.errors import SessionError

Binding = Literal["cuda-python", "pycuda"]
NO_DRIVER = "no NVIDIA driver responds: install it, or run on the machine with the GPU."


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A CUDA device.

    Attributes:
        name: such as `NVIDIA RTX A4000` or `Orin`.
        capability: compute capability, such as `8.7`.
        memory: bytes.
        integrated: it shares the memory of the CPU, as on Jetson.
        multiprocessors: how many are on; boards of one family differ in it and may share a name (`Orin`), and a board's
            power mode changes it.
        driver: CUDA version of the driver, such as `13.0`.
        binding: who was asked.
    """

    name: str
    capability: str
    memory: int
    integrated: bool
    driver: str
    binding: Binding
    multiprocessors: int = 0


def driver_present() -> bool:
    """Whether the driver's library is there, whatever Python packages are."""
    return _driver() is not None


def count_gpus() -> int:
    """GPUs that this process may use; 0 where no driver answers."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _driver() -> ctypes.CDLL | None:
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def find_gpu(binding: Binding | None = None, ordinal: int = 0) -> Gpu:
    """The GPU of a number, asked of a binding; None takes cuda-python where it imports, else pycuda.

    Raises:
        SessionError: neither package is installed, or there is no driver or no such device.
    """
    asked: dict[str, Callable[[int], Gpu]] = {"cuda-python": _by_cuda_python, "pycuda": _by_pycuda}
    if binding is not None and binding not in asked:
        raise SessionError(f"CUDA binding {binding!r} is unknown: use {' or '.join(asked)}.")
    missing, broken = [], []
    for name in [binding] if binding else asked:
        try:
            return asked[str(name)](ordinal)
        except ModuleNotFoundError:
            missing.append(str(name))
        except ImportError as error:  # it is there and does not load: another numpy, a library of its own missing
            broken.append(f"{name} does not load ({error}): reinstall it.")
    if broken:
        raise SessionError(" ".join(broken))
    raise SessionError(
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed, so CUDA is not available: "
        "pip install 'schanger-edge[tensorrt]'."
    )


def lacking(what: str, driver: str = "") -> str:
    """The sentence on a function of cuda-bindings that an older driver, of this CUDA version if known, does not have.

    `what` is in the package's words, such as `Function "cuEventElapsedTime_v2" not found`.
    """
    major, _, _ = driver.partition(".")
    package = f"cuda-bindings=={major}.*" if major else "cuda-bindings<13"
    words = f"the driver for CUDA {driver}" if driver else "the driver"
    return (
        f"{words} is older than cuda-bindings and lacks a function ({what}): update the driver, or "
        f"pip install '{package}'."
    )


def bindings_misfit(found: Gpu) -> str:
    """What is wrong between driver and cuda-bindings, in a sentence; empty where they fit, or pycuda is used."""
    if found.binding != "cuda-python":
        return ""
    import importlib.metadata

    try:
        version = importlib.metadata.version("cuda-bindings")
    except importlib.metadata.PackageNotFoundError:
        return ""
    theirs, ours = (int(text.split(".")[0]) for text in (found.driver, version))
    if ours <= theirs:
        return ""
    return (
        f"cuda-bindings {version} is for a newer CUDA than the driver ({found.driver}), which lacks some of its "
        f"functions: update the driver, or pip install 'cuda-bindings=={theirs}.*'."
    )


def _by_cuda_python(ordinal: int) -> Gpu:
    driver = importlib.import_module("cuda.bindings.driver")

    def ask(call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            code, *values = call(*arguments)
        except RuntimeError as error:  # the driver's library is not there, or lacks the function
            raise SessionError(NO_DRIVER if call is driver.cuInit else lacking(str(error))) from error
        if int(code):
            raise SessionError(
                NO_DRIVER if call is driver.cuInit else f"CUDA device {ordinal} does not respond: {code.name}."
            )
        return values[0] if values else None

    ask(driver.cuInit, 0)
    device = ask(driver.cuDeviceGet, ordinal)
    attribute = driver.CUdevice_attribute
    major, minor, integrated, count = (
        ask(driver.cuDeviceGetAttribute, getattr(attribute, f"CU_DEVICE_ATTRIBUTE_{name}"), device)
        for name in ("COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR", "INTEGRATED", "MULTIPROCESSOR_COUNT")
    )
    name = ask(driver.cuDeviceGetName, 256, device).split(b"\0")[0].decode()
    version = ask(driver.cuDriverGetVersion)
    memory = ask(driver.cuDeviceTotalMem, device)
    return Gpu(name, f"{major}.{minor}", int(memory), bool(integrated), _version(version), "cuda-python", int(count))


def _by_pycuda(ordinal: int) -> Gpu:
    try:
        driver = importlib.import_module("pycuda.driver")
        driver.init()
        device = driver.Device(ordinal)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # ImportError where libcuda is missing, pycuda's own kinds where no device answers
        if not driver_present():
            raise SessionError(NO_DRIVER) from error
        if isinstance(error, ImportError):
            raise
        raise SessionError(f"CUDA device {ordinal} does not respond: {error}.") from error
    major, minor = device.compute_capability()
    integrated = bool(device.get_attribute(driver.device_attribute.INTEGRATED))
    version = _version(driver.get_driver_version())
    count = int(device.get_attribute(driver.device_attribute.MULTIPROCESSOR_COUNT))
    return Gpu(device.name(), f"{major}.{minor}", int(device.total_memory()), integrated, version, "pycuda", count)


def _version(number: int) -> str:
    """13000 -> `13.0`."""
    return f"{number // 1000}.{number % 1000 // 10}"
