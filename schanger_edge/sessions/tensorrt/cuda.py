"""The little of CUDA that a session needs, by either of two packages.

cuda-bindings has wheels and graphs; pycuda is compiled on the target and usual on JetPack. Both work in the device's
primary context, as TensorRT does. Neither is imported before it is needed.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SessionError
from schanger_edge.sessions.gpu import Binding, Gpu, find_gpu, lacking

OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
MAPPED = 2  # CU_MEMHOSTALLOC_DEVICEMAP: the device sees this host memory too
BLOCKING_SYNC = 1  # CU_EVENT_BLOCKING_SYNC: whoever waits for it sleeps, reading and writing need the cores
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: no hidden waits for the default stream


class OutOfDeviceMemoryError(SessionError):
    """The GPU has no room for a buffer."""


@dataclasses.dataclass(frozen=True)
class HostMemory:
    """Page-locked memory of the host.

    Attributes:
        bytes: as uint8.
        device_pointer: where the device sees the same memory.
        handle: the implementation's own.
    """

    bytes: NDArray[np.uint8]
    device_pointer: int
    handle: Any


class Cuda:
    """A device and its primary context, by cuda-bindings. Streams, events and graphs are the binding's own handles.

    Attributes:
        gpu: the device.
        graphs: whether `capture` is there.
    """

    graphs = True

    def __init__(self, gpu: Gpu, ordinal: int) -> None:
        self.gpu, self._driver = gpu, importlib.import_module("cuda.bindings.driver")
        self._destroy = {
            self._driver.CUstream: self._driver.cuStreamDestroy,
            self._driver.CUevent: self._driver.cuEventDestroy,
            self._driver.CUgraphExec: self._driver.cuGraphExecDestroy,
        }
        self._device = self._ask("cuDeviceGet", ordinal)
        self._context = self._ask("cuDevicePrimaryCtxRetain", self._device)
        self.enter()

    def enter(self) -> None:
        """Make the context the calling thread's own; call it before anything else in a thread."""
        self._ask("cuCtxSetCurrent", self._context)

    def alloc(self, size: int) -> int:
        """Device memory; its address. OutOfDeviceMemoryError where there is no room."""
        return int(self._ask("cuMemAlloc", size))

    def free(self, pointer: int) -> None:
        """Give device memory back."""
        self._ask("cuMemFree", pointer)

    def alloc_host(self, size: int) -> HostMemory:
        """Page-locked host memory that the device sees too. OutOfDeviceMemoryError where there is no room."""
        pointer = int(self._ask("cuMemHostAlloc", size, MAPPED))
        device = int(self._ask("cuMemHostGetDevicePointer", pointer, 0))
        view = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(pointer))
        return HostMemory(view, device, pointer)

    def free_host(self, memory: HostMemory) -> None:
        """Give host memory back; nothing may look at its bytes any more."""
        self._ask("cuMemFreeHost", memory.handle)

    def stream(self) -> Any:
        """A stream that does not wait for the default one."""
        return self._ask("cuStreamCreate", NON_BLOCKING)

    def stream_number(self, stream: Any) -> int:
        """The handle as TensorRT takes it."""
        return int(stream)

    def event(self) -> Any:
        """An event that can be timed."""
        return self._ask("cuEventCreate", BLOCKING_SYNC)

    def copy_in(self, device: int, host: HostMemory, size: int, stream: Any) -> None:
        """Copy to the device, in the order of the stream."""
        self._ask("cuMemcpyHtoDAsync", device, host.handle, size, stream)

    def copy_out(self, host: HostMemory, device: int, size: int, stream: Any) -> None:
        """Copy from the device, in the order of the stream."""
        self._ask("cuMemcpyDtoHAsync", host.handle, device, size, stream)

    def record(self, event: Any, stream: Any) -> None:
        """The event happens when the stream gets here."""
        self._ask("cuEventRecord", event, stream)

    def wait(self, stream: Any, event: Any) -> None:
        """The stream goes on when the event has happened."""
        self._ask("cuStreamWaitEvent", stream, event, 0)

    def synchronize(self, event: Any) -> None:
        """The caller goes on when the event has happened."""
        self._ask("cuEventSynchronize", event)

    def milliseconds(self, first: Any, second: Any) -> float:
        """Time between two events that have happened."""
        return float(self._ask("cuEventElapsedTime", first, second))

    def capture(self, stream: Any, work: Callable[[], bool]) -> Any:
        """A graph of what `work` gives the stream; None where it cannot be captured."""
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL  # other threads may go on
        self._ask("cuStreamBeginCapture", stream, mode)
        worked = False
        try:
            worked = work()
        finally:  # or the stream could not be used any more
            graph = self._end_capture(stream, worked)
        return graph

    def _end_capture(self, stream: Any, worked: bool) -> Any:
        code, graph = self._driver.cuStreamEndCapture(stream)
        if int(code):
            return None
        try:
            return self._ask("cuGraphInstantiate", graph, 0) if worked else None
        except SessionError:
            return None
        finally:
            self._ask("cuGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Run a graph in the order of the stream."""
        self._ask("cuGraphLaunch", graph, stream)

    def release(self, *handles: Any) -> None:
        """Give streams, events or graphs back; None is left out."""
        for handle in handles:
            if handle is not None:
                self._destroy[type(handle)](handle)

    def close(self) -> None:
        """Let go of the primary context."""
        self._ask("cuDevicePrimaryCtxRelease", self._device)

    def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            code, *values = getattr(self._driver, name)(*arguments)
        except RuntimeError as error:  # the driver is older than the package
            raise SessionError(lacking(str(error), self.gpu.driver)) from error
        if int(code):
            raise _failure(name, int(code), code.name, self.gpu)
        return values[0] if values else None


class PyCuda(Cuda):
    """The same by pycuda, which has no graphs, and whose context belongs to the thread that opened it."""

    graphs = False

    def __init__(self, gpu: Gpu, ordinal: int) -> None:
        self.gpu, self._driver = gpu, importlib.import_module("pycuda.driver")
        self._thread, self._blocks = threading.get_ident(), dict[int, Any]()
        self._context = self._asked("retain_primary_context", self._driver.Device(ordinal).retain_primary_context)
        self._asked("push", self._context.push)

    def enter(self) -> None:
        if threading.get_ident() != self._thread:
            raise SessionError("with pycuda a session runs only in the thread that opened it: open one per thread.")

    def alloc(self, size: int) -> int:
        block = self._asked("mem_alloc", self._driver.mem_alloc, size)
        self._blocks[int(block)] = block
        return int(block)

    def free(self, pointer: int) -> None:
        self._asked("free", self._blocks.pop(pointer).free)

    def alloc_host(self, size: int) -> HostMemory:
        flags = self._driver.host_alloc_flags.DEVICEMAP
        array = self._asked("pagelocked_empty", self._driver.pagelocked_empty, size, np.uint8, "C", flags)
        return HostMemory(array, int(self._asked("get_device_pointer", array.base.get_device_pointer)), array.base)

    def free_host(self, memory: HostMemory) -> None:
        self._asked("free", memory.handle.free)

    def stream(self) -> Any:
        return self._asked("Stream", self._driver.Stream, NON_BLOCKING)

    def stream_number(self, stream: Any) -> int:
        return int(stream.handle)

    def event(self) -> Any:
        return self._asked("Event", self._driver.Event, BLOCKING_SYNC)

    def copy_in(self, device: int, host: HostMemory, size: int, stream: Any) -> None:
        self._asked("memcpy_htod_async", self._driver.memcpy_htod_async, device, host.bytes[:size], stream)

    def copy_out(self, host: HostMemory, device: int, size: int, stream: Any) -> None:
        self._asked("memcpy_dtoh_async", self._driver.memcpy_dtoh_async, host.bytes[:size], device, stream)

    def record(self, event: Any, stream: Any) -> None:
        self._asked("record", event.record, stream)

    def wait(self, stream: Any, event: Any) -> None:
        self._asked("wait_for_event", stream.wait_for_event, event)

    def synchronize(self, event: Any) -> None:
        self._asked("synchronize", event.synchronize)

    def milliseconds(self, first: Any, second: Any) -> float:
        return float(self._asked("time_till", first.time_till, second))

    def capture(self, stream: Any, work: Callable[[], bool]) -> Any:
        return None

    def launch(self, graph: Any, stream: Any) -> None:
        raise SessionError("pycuda has no CUDA graphs: use cuda-python.")

    def release(self, *handles: Any) -> None:
        """pycuda frees streams and events when they are forgotten."""

    def close(self) -> None:
        self._asked("pop", self._context.pop)
        self._asked("detach", self._context.detach)

    def _asked(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except self._driver.MemoryError as error:
            raise _failure(name, OUT_OF_MEMORY, str(error), self.gpu) from error
        except self._driver.Error as error:
            raise _failure(name, -1, str(error), self.gpu) from error


def open_cuda(binding: Binding | None = None, ordinal: int = 0) -> Cuda:
    """The CUDA layer for a device, see `find_gpu`."""
    gpu = find_gpu(binding, ordinal)
    return Cuda(gpu, ordinal) if gpu.binding == "cuda-python" else PyCuda(gpu, ordinal)


def _failure(name: str, code: int, words: str, gpu: Gpu) -> SessionError:
    if code == OUT_OF_MEMORY:
        return OutOfDeviceMemoryError(
            f"{gpu.name} is out of memory ({name}): close other programs, or use a smaller --batch."
        )
    return SessionError(f"{gpu.name} failed in {name} ({words}): try again; if it persists, restart the machine.")
