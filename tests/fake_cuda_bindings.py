"""A fake `cuda.bindings.driver` on a fake device, for tests: answers are tuples with a code, handles have kinds."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from fake_device import Event, Executable, FakeDevice, Graph, Stream
from fake_memory import Code, RefusedError

NAME = "Simulated GPU"
CAPABILITY = (8, 6)
MULTIPROCESSORS = 28
DRIVER = 13000


class _Handle:
    def __init__(self, number: int) -> None:
        self._number = number

    def __int__(self) -> int:
        return self._number


def _kind(name: str) -> type[_Handle]:
    return type(name, (_Handle,), {})


class CaptureMode(IntEnum):
    """CUstreamCaptureMode."""

    CU_STREAM_CAPTURE_MODE_GLOBAL = 0
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1
    CU_STREAM_CAPTURE_MODE_RELAXED = 2


class FakeCudaBindings:
    """The functions and kinds that are used, named as in the package 13; `test_cuda.py` compares the two.

    Args:
        device: that answers.
        driver: its version; the package asks drivers for functions that older ones lack, and raises RuntimeError.
    """

    CUresult, CUstreamCaptureMode = Code, CaptureMode
    CUdevice, CUcontext, CUdeviceptr = _kind("CUdevice"), _kind("CUcontext"), _kind("CUdeviceptr")
    CUstream, CUevent = _kind("CUstream"), _kind("CUevent")
    CUgraph, CUgraphExec = _kind("CUgraph"), _kind("CUgraphExec")
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76,
        CU_DEVICE_ATTRIBUTE_INTEGRATED=18, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT=16,
    )  # fmt: skip

    def __init__(self, device: FakeDevice, driver: int = DRIVER) -> None:
        self._device, self.driver, self.multiprocessors = device, driver, MULTIPROCESSORS

    # The device and its primary context.

    def cuInit(self, flags: int) -> Any:  # noqa: N802
        return _did(lambda: None)

    def cuDriverGetVersion(self) -> Any:  # noqa: N802
        return _gave(int, lambda: self.driver)

    def cuDeviceGet(self, ordinal: int) -> Any:  # noqa: N802
        return _gave(self.CUdevice, lambda: 0) if ordinal == 0 else (Code.CUDA_ERROR_INVALID_DEVICE, None)

    def cuDeviceGetName(self, length: int, device: Any) -> Any:  # noqa: N802
        return _gave(bytes, lambda: NAME.encode().ljust(length, b"\0"))

    def cuDeviceGetAttribute(self, attribute: int, device: Any) -> Any:  # noqa: N802
        values = {75: CAPABILITY[0], 76: CAPABILITY[1], 18: int(self._device.integrated), 16: self.multiprocessors}
        return _gave(int, lambda: values[attribute])

    def cuDeviceTotalMem(self, device: Any) -> Any:  # noqa: N802
        return _gave(int, lambda: self._device.memory)

    def cuDevicePrimaryCtxRetain(self, device: Any) -> Any:  # noqa: N802
        _number(self.CUdevice, device)
        return _gave(self.CUcontext, lambda: self._device.retain() or 1)

    def cuDevicePrimaryCtxRelease(self, device: Any) -> Any:  # noqa: N802
        _number(self.CUdevice, device)
        return _did(self._device.release)

    def cuCtxSetCurrent(self, context: Any) -> Any:  # noqa: N802
        return _did(self._device.set_current, _number(self.CUcontext, context) != 0)

    # Memory.

    def cuMemAlloc(self, size: int) -> Any:  # noqa: N802
        return _gave(self.CUdeviceptr, self._device.alloc, size)

    def cuMemFree(self, pointer: Any) -> Any:  # noqa: N802
        return _did(self._device.free, _number(self.CUdeviceptr, pointer))

    def cuMemGetInfo(self) -> Any:  # noqa: N802
        return Code.CUDA_SUCCESS, self._device.free_bytes, self._device.memory

    def cuMemHostAlloc(self, size: int, flags: int) -> Any:  # noqa: N802
        return _gave(int, self._device.alloc_host, size)

    def cuMemHostGetDevicePointer(self, pointer: int, flags: int) -> Any:  # noqa: N802
        return _gave(self.CUdeviceptr, self._device.mapped, pointer)

    def cuMemFreeHost(self, pointer: int) -> Any:  # noqa: N802
        return _did(self._device.free_host, pointer)

    def cuMemcpyHtoDAsync(self, device: Any, host: int, size: int, stream: Any) -> Any:  # noqa: N802
        pointer = _number(self.CUdeviceptr, device)
        return _did(self._device.copy_in, pointer, host, size, _number(self.CUstream, stream))

    def cuMemcpyDtoHAsync(self, host: int, device: Any, size: int, stream: Any) -> Any:  # noqa: N802
        pointer = _number(self.CUdeviceptr, device)
        return _did(self._device.copy_out, host, pointer, size, _number(self.CUstream, stream))

    # Streams and events.

    def cuStreamCreate(self, flags: int) -> Any:  # noqa: N802
        return _gave(self.CUstream, self._device.stream, flags)

    def cuStreamDestroy(self, stream: Any) -> Any:  # noqa: N802
        return _did(self._device.destroy, _number(self.CUstream, stream), Stream)

    def cuStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> Any:  # noqa: N802
        return _did(self._device.wait, _number(self.CUstream, stream), _number(self.CUevent, event))

    def cuEventCreate(self, flags: int) -> Any:  # noqa: N802
        return _gave(self.CUevent, self._device.event, flags)

    def cuEventDestroy(self, event: Any) -> Any:  # noqa: N802
        return _did(self._device.destroy, _number(self.CUevent, event), Event)

    def cuEventRecord(self, event: Any, stream: Any) -> Any:  # noqa: N802
        return _did(self._device.record, _number(self.CUevent, event), _number(self.CUstream, stream))

    def cuEventSynchronize(self, event: Any) -> Any:  # noqa: N802
        return _did(self._device.synchronize, _number(self.CUevent, event))

    def cuEventElapsedTime(self, start: Any, end: Any) -> Any:  # noqa: N802
        if self.driver < 12080:
            raise RuntimeError('Function "cuEventElapsedTime_v2" not found')
        events = _number(self.CUevent, start), _number(self.CUevent, end)
        return _gave(float, self._device.milliseconds, *events)

    # Graphs.

    def cuStreamBeginCapture(self, stream: Any, mode: Any) -> Any:  # noqa: N802
        return _did(self._device.begin_capture, _number(self.CUstream, stream), CaptureMode(mode))

    def cuStreamEndCapture(self, stream: Any) -> Any:  # noqa: N802
        return _gave(self.CUgraph, self._device.end_capture, _number(self.CUstream, stream))

    def cuGraphInstantiate(self, graph: Any, flags: int) -> Any:  # noqa: N802
        return _gave(self.CUgraphExec, self._device.instantiate, _number(self.CUgraph, graph))

    def cuGraphDestroy(self, graph: Any) -> Any:  # noqa: N802
        return _did(self._device.destroy, _number(self.CUgraph, graph), Graph)

    def cuGraphLaunch(self, graph: Any, stream: Any) -> Any:  # noqa: N802
        return _did(self._device.launch, _number(self.CUgraphExec, graph), _number(self.CUstream, stream))

    def cuGraphExecDestroy(self, graph: Any) -> Any:  # noqa: N802
        return _did(self._device.destroy, _number(self.CUgraphExec, graph), Executable)


def _number(kind: type[_Handle], handle: Any) -> int:
    """The package takes a handle of the kind, an int, or None."""
    if not isinstance(handle, (kind, int, type(None))):
        raise TypeError(f"Argument is not instance of type {kind.__name__}: {type(handle)}")
    return 0 if handle is None else int(handle)


def _did(call: Callable[..., object], *arguments: Any) -> tuple[Code]:
    try:
        call(*arguments)
    except RefusedError as refused:
        return (refused.code,)
    return (Code.CUDA_SUCCESS,)


def _gave(kind: Callable[[Any], Any], call: Callable[..., Any], *arguments: Any) -> tuple[Code, Any]:
    try:
        return Code.CUDA_SUCCESS, kind(call(*arguments))
    except RefusedError as refused:
        return refused.code, None
