"""A fake `pycuda.driver` on a fake device, for tests: errors are raised, and what nobody holds any more is freed."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import numpy as np
from fake_cuda_bindings import CAPABILITY, DRIVER, MULTIPROCESSORS, NAME
from fake_device import Event, FakeDevice, Stream
from fake_memory import Code, RefusedError
from numpy.typing import NDArray


class Error(Exception):
    """pycuda._driver.Error."""


class OutOfMemoryError(Error, MemoryError):
    """pycuda._driver.MemoryError."""


class LogicError(Error):
    """pycuda._driver.LogicError."""


def _call(name: str, call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except RefusedError as refused:
        kind = OutOfMemoryError if refused.code == Code.CUDA_ERROR_OUT_OF_MEMORY else LogicError
        raise kind(f"{name} failed: {refused.code.name}") from None


class _Owned:
    """What belongs to a context, and is freed once."""

    _live = True

    def free(self) -> None:
        if not self._live:
            raise LogicError("free failed: CUDA_ERROR_INVALID_HANDLE")
        self._live = False
        self._give_back()

    def _give_back(self) -> None:
        raise NotImplementedError

    def __del__(self) -> None:
        if self._live:
            self._live = False
            self._forget()

    def _forget(self) -> None:
        device: FakeDevice = self._device  # type: ignore[attr-defined]
        if not device.live["context"]:
            device.faults.append(f"pycuda frees a {type(self).__name__} whose context is gone")
        with contextlib.suppress(Error):  # pycuda prints a warning
            self._give_back()


class DeviceAllocation(_Owned):
    def __init__(self, device: FakeDevice, size: int) -> None:
        self._live = False
        self._device, self._address = device, _call("cuMemAlloc", device.alloc, size)
        self._live = True

    def __int__(self) -> int:
        return int(self._address)

    def _give_back(self) -> None:
        _call("cuMemFree", self._device.free, self._address)


class PagelockedHostAllocation(_Owned):
    """The base of the array that `pagelocked_empty` gives."""

    def __init__(self, device: FakeDevice, size: int, flags: int) -> None:
        self._live = False
        self._device, self._flags = device, flags
        self._address = _call("cuMemHostAlloc", device.alloc_host, size)
        self._live = True
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (self._address, False), "version": 3}

    def get_device_pointer(self) -> int:
        if not self._flags & 2:
            raise LogicError("cuMemHostGetDevicePointer failed: CUDA_ERROR_INVALID_VALUE")
        return int(_call("cuMemHostGetDevicePointer", self._device.mapped, self._address))

    def _give_back(self) -> None:
        _call("cuMemFreeHost", self._device.free_host, self._address)


class PyCudaStream(_Owned):
    def __init__(self, device: FakeDevice, flags: int) -> None:
        self._live = False
        self._device, self.handle = device, _call("cuStreamCreate", device.stream, flags)
        self._live = True

    def wait_for_event(self, event: PyCudaEvent) -> None:
        _call("cuStreamWaitEvent", self._device.wait, self.handle, event.number)

    def _give_back(self) -> None:
        self._device.destroy(self.handle, Stream)


class PyCudaEvent(_Owned):
    def __init__(self, device: FakeDevice, flags: int) -> None:
        self._live = False
        self._device, self.number = device, _call("cuEventCreate", device.event, flags)
        self._live = True

    def record(self, stream: PyCudaStream) -> PyCudaEvent:
        _call("cuEventRecord", self._device.record, self.number, stream.handle)
        return self

    def synchronize(self) -> PyCudaEvent:
        _call("cuEventSynchronize", self._device.synchronize, self.number)
        return self

    def time_till(self, other: PyCudaEvent) -> float:
        return float(_call("cuEventElapsedTime", self._device.milliseconds, self.number, other.number))

    def _give_back(self) -> None:
        self._device.destroy(self.number, Event)


class FakePyCuda:
    """The functions and kinds that are used, named as in the package."""

    Error, MemoryError = Error, OutOfMemoryError
    host_alloc_flags = SimpleNamespace(PORTABLE=1, DEVICEMAP=2)
    device_attribute = SimpleNamespace(INTEGRATED=18, MULTIPROCESSOR_COUNT=16)

    def __init__(self, device: FakeDevice) -> None:
        self._device = device

    def init(self) -> None:
        """Of the driver."""

    def get_driver_version(self) -> int:
        return DRIVER

    def Device(self, ordinal: int) -> Any:  # noqa: N802
        device = self._device
        return SimpleNamespace(
            name=lambda: NAME, compute_capability=lambda: CAPABILITY, total_memory=lambda: device.memory,
            get_attribute=lambda number: {18: int(device.integrated), 16: MULTIPROCESSORS}[number],
            retain_primary_context=self._retained,
        )  # fmt: skip

    def _retained(self) -> Any:
        self._device.retain()
        return SimpleNamespace(push=self._push, pop=self._pop, detach=self._device.release)

    def _push(self) -> None:
        self._device.live["pushed"] += 1
        self._device.set_current()

    def _pop(self) -> None:
        self._device.live["pushed"] -= 1
        self._device.set_current(self._device.live["pushed"] > 0)  # the one below it is current again

    def mem_get_info(self) -> tuple[int, int]:
        return self._device.free_bytes, self._device.memory

    def mem_alloc(self, size: int) -> DeviceAllocation:
        return DeviceAllocation(self._device, size)

    def pagelocked_empty(self, shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> NDArray[Any]:
        assert (np.dtype(dtype), order) == (np.uint8, "C"), "the fake knows bytes alone"
        return np.asarray(PagelockedHostAllocation(self._device, shape, mem_flags))

    def memcpy_htod_async(self, dest: Any, src: NDArray[Any], stream: PyCudaStream) -> None:
        where = int(dest), src.ctypes.data, src.nbytes, stream.handle
        _call("cuMemcpyHtoDAsync", self._device.copy_in, *where)

    def memcpy_dtoh_async(self, dest: NDArray[Any], src: Any, stream: PyCudaStream) -> None:
        where = dest.ctypes.data, int(src), dest.nbytes, stream.handle
        _call("cuMemcpyDtoHAsync", self._device.copy_out, *where)

    def Stream(self, flags: int = 0) -> PyCudaStream:  # noqa: N802
        return PyCudaStream(self._device, flags)

    def Event(self, flags: int = 0) -> PyCudaEvent:  # noqa: N802
        return PyCudaEvent(self._device, flags)
