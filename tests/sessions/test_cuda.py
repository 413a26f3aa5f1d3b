"""The CUDA layer by cuda-bindings and by pycuda on fake drivers, which are compared with the real cuda-bindings."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from fake_cuda_bindings import FakeCudaBindings
from fake_device import FakeDevice
from fake_memory import Code
from fake_pycuda import FakePyCuda
from simulator import on_fake_driver

from schanger_edge.errors import SessionError
from schanger_edge.sessions.gpu import find_gpu
from schanger_edge.sessions.tensorrt import cuda as cuda_module
from schanger_edge.sessions.tensorrt.cuda import Cuda, PyCuda, open_cuda

BINDINGS = ("cuda-python", "pycuda")


def idle() -> FakeDevice:
    """It does nothing before the host waits for it."""
    return FakeDevice(memory=1 << 20, idle=True)


class Recording:
    """A driver that notes its functions with their numbers of arguments, as they are called."""

    def __init__(self, driver: Any) -> None:
        self._driver, self.called = driver, set[tuple[str, int]]()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._driver, name)
        if not name.startswith("cu"):
            return value

        def call(*arguments: Any) -> Any:
            self.called.add((name, len(arguments)))
            return value(*arguments)

        return call


def calls(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, int]]:
    """All that is asked of the driver."""
    device = idle()
    driver = Recording(FakeCudaBindings(device))
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    find_gpu("cuda-python")
    everything(device, "cuda-python", driver)
    return driver.called


def test_cuda_bindings_has_every_function_with_as_many_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    found = calls(monkeypatch)
    assert len(found) > 20
    for name, count in found:
        inspect.signature(getattr(driver, name)).bind(*range(count))
    assert driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    assert int(driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY) == cuda_module.OUT_OF_MEMORY
    assert int(driver.CUevent_flags.CU_EVENT_BLOCKING_SYNC) == cuda_module.BLOCKING_SYNC
    assert int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING) == cuda_module.NON_BLOCKING
    assert driver.CU_MEMHOSTALLOC_DEVICEMAP == cuda_module.MAPPED
    for name, destroy in (("CUstream", "Stream"), ("CUevent", "Event"), ("CUgraphExec", "GraphExec")):
        assert hasattr(driver, name)
        assert hasattr(driver, f"cu{destroy}Destroy")


def test_the_fake_is_as_cuda_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, numbers of arguments, codes; a code is an int with a name, and handles become ints."""
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    fake = FakeCudaBindings(FakeDevice())
    functions = [name for name in vars(FakeCudaBindings) if name.startswith("cu")]
    assert set(functions) >= {name for name, _ in calls(monkeypatch)}
    for name in functions:
        wanted = inspect.signature(getattr(driver, name)).parameters
        assert len(inspect.signature(getattr(fake, name)).parameters) == len(wanted), name
    for kind in ("CUresult", "CUstreamCaptureMode"):
        for one in getattr(fake, kind):
            assert int(getattr(getattr(driver, kind), one.name)) == int(one)
            assert getattr(driver, kind)(int(one)).name == one.name
    for name, number in vars(fake.CUdevice_attribute).items():
        assert int(getattr(driver.CUdevice_attribute, name)) == number
    for kind in ("CUstream", "CUevent", "CUgraph", "CUgraphExec", "CUdeviceptr", "CUcontext", "CUdevice"):
        assert int(getattr(driver, kind)(7)) == int(getattr(fake, kind)(7)) == 7


def test_both_have_the_whole_interface() -> None:
    assert {name for name in vars(Cuda) if not name.startswith("_")} <= vars(PyCuda).keys()


def in_another_thread(call: Any, *arguments: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *arguments).result()


def everything(device: FakeDevice, binding: str, driver: Any = None) -> None:
    """What the interface promises, on a device that does nothing before the host waits for it."""
    cuda: Cuda = on_fake_driver(device, binding, driver=driver)
    assert device.live["context"] == 1
    host, other, pointer = cuda.alloc_host(8), cuda.alloc_host(8), cuda.alloc(8)
    first, second = cuda.stream(), cuda.stream()
    begin, end, done = cuda.event(), cuda.event(), cuda.event()
    host.bytes[:] = np.arange(8)
    other.bytes[:] = 0
    with pytest.raises(SessionError, match=r"Simulated GPU failed in \w+ \(.*CUDA_ERROR_INVALID_HANDLE\): try again"):
        cuda.milliseconds(begin, end)

    cuda.record(begin, first)
    cuda.copy_in(pointer, host, 8, first)
    cuda.record(end, first)
    cuda.wait(second, end)
    cuda.copy_out(other, pointer, 4, second)
    cuda.record(done, second)
    assert list(other.bytes) == [0] * 8, "the host must not wait where it was not told to"
    cuda.synchronize(done)
    assert list(other.bytes) == [0, 1, 2, 3, 0, 0, 0, 0]
    assert list(device.seen(pointer, 8)) == list(range(8))
    assert cuda.milliseconds(begin, end) == -cuda.milliseconds(end, begin) > 0

    host.bytes[0] = 9  # the device sees it at once, at an address of its own
    assert list(device.seen(host.device_pointer, 2)) == [9, 1]
    assert device.capturing(cuda.stream_number(first)) is None  # the number that TensorRT is given is the stream's
    for alloc in (cuda.alloc, cuda.alloc_host):
        with pytest.raises(cuda_module.OutOfDeviceMemoryError, match=r"Simulated GPU is out of memory \(\w+\): close"):
            alloc(device.memory)
    if cuda.graphs:
        graphs(device, cuda, pointer, host, first, done)

    cuda.release(first, second, None)
    cuda.release(begin, end, done)
    del first, second, begin, end, done
    cuda.free(pointer)
    cuda.free_host(host)
    cuda.free_host(other)
    cuda.close()
    assert {kind: count for kind, count in device.live.items() if count} == {}
    assert device.faults == []


def graphs(device: FakeDevice, cuda: Cuda, pointer: int, host: Any, stream: Any, done: Any) -> None:
    """A graph does its work at each launch; a capture that fails leaves the stream usable and nothing behind."""

    def work() -> bool:
        cuda.copy_in(pointer, host, 8, stream)
        in_another_thread(alloc_and_free)  # as a thread that opens a second session
        return True

    def alloc_and_free() -> None:
        cuda.enter()
        cuda.free(cuda.alloc(8))

    graph = cuda.capture(stream, work)
    for number in (50, 60):
        host.bytes[:] = number
        assert device.seen(pointer, 8)[0] != number
        cuda.launch(graph, stream)
        cuda.record(done, stream)
        cuda.synchronize(done)
        assert device.seen(pointer, 8)[0] == number
    cuda.release(graph)

    assert cuda.capture(stream, lambda: False) is None
    with pytest.raises(KeyboardInterrupt):
        cuda.capture(stream, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    device.capturable = False
    assert cuda.capture(stream, work) is None
    cuda.record(done, stream)
    cuda.synchronize(done)
    assert device.live["graph"] == device.live["executable"] == 0


@pytest.mark.parametrize("binding", BINDINGS)
def test_everything(binding: str) -> None:
    everything(idle(), binding)


class Faulty:
    """A driver of which one function does something else; it is given the driver and the arguments."""

    def __init__(self, driver: Any, name: str, instead: Any) -> None:
        self._driver, self._name, self._instead = driver, name, instead

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._driver, name)
        return partial(self._instead, self._driver) if isinstance(self._instead, FunctionType) else self._instead


def nothing(driver: Any, *arguments: Any) -> tuple[Code]:
    """It is not called."""
    return (Code.CUDA_SUCCESS,)


def no_code(driver: Any, *arguments: Any) -> tuple[Code, int]:
    """Its code is not looked at."""
    return Code.CUDA_SUCCESS, 0


KEPT: list[Any] = []
LIKE_A_BUG_IN_CUDA_PYTHON: dict[str, tuple[str, Any]] = {
    "copies go the wrong way": (
        "cuMemcpyHtoDAsync", lambda d, device, host, *rest: d.cuMemcpyDtoHAsync(host, device, *rest)
    ),
    "copies out go the wrong way": (
        "cuMemcpyDtoHAsync", lambda d, host, device, *rest: d.cuMemcpyHtoDAsync(device, host, *rest)
    ),
    "the primary context is kept": ("cuDevicePrimaryCtxRelease", nothing),
    "the context is not made current": ("cuCtxSetCurrent", nothing),
    "device memory is kept": ("cuMemFree", nothing),
    "host memory is kept": ("cuMemFreeHost", nothing),
    "the host's address is taken for the device's": (
        "cuMemHostGetDevicePointer", lambda d, pointer, flags: (Code.CUDA_SUCCESS, pointer)
    ),
    "streams are kept": ("cuStreamDestroy", nothing),
    "events are kept": ("cuEventDestroy", nothing),
    "captures disturb other threads": (
        "cuStreamBeginCapture",
        lambda d, stream, mode: d.cuStreamBeginCapture(stream, d.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL),
    ),
    "graphs are kept": ("cuGraphDestroy", nothing),
    "executable graphs are kept": ("cuGraphExecDestroy", nothing),
    "a failed capture is not ended": (
        "cuStreamEndCapture", lambda d, stream: (Code.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, None)
    ),
    "a full device is not noticed": ("cuMemAlloc", no_code),
    "a full host is not noticed": ("cuMemHostAlloc", no_code),
    "events that never happened are not noticed": ("cuEventElapsedTime", no_code),
    "waiters spin": ("cuEventCreate", lambda d, flags: d.cuEventCreate(0)),
    "streams wait for the default one": ("cuStreamCreate", lambda d, flags: d.cuStreamCreate(0)),
    "a wait is left out": ("cuStreamWaitEvent", nothing),
    "the clock runs backwards": ("cuEventElapsedTime", lambda d, one, two: d.cuEventElapsedTime(two, one)),
}  # fmt: skip
LIKE_A_BUG_IN_PYCUDA: dict[str, tuple[str, Any]] = {
    "copies go the wrong way": ("memcpy_htod_async", lambda d, to, of, stream: d.memcpy_dtoh_async(of, to, stream)),
    "device memory is kept": ("mem_alloc", lambda d, size: KEPT.append(d.mem_alloc(size)) or Unfreed(KEPT[-1])),
    "memory is not mapped": (
        "pagelocked_empty", lambda d, size, kind, order, flags: d.pagelocked_empty(size, kind, order, 1)
    ),
    "too little is copied": (
        "memcpy_dtoh_async", lambda d, to, of, stream: d.memcpy_dtoh_async(to[:-1], of, stream)
    ),
    "errors are not turned into sentences": ("Error", ZeroDivisionError),
    "waiters spin": ("Event", lambda d, flags: d.Event(0)),
    "streams wait for the default one": ("Stream", lambda d, flags: d.Stream(0)),
}  # fmt: skip


class Unfreed:
    """Device memory that is not given back."""

    def __init__(self, block: Any) -> None:
        self._block = block

    def __int__(self) -> int:
        return int(self._block)

    def free(self) -> None:
        pass


class StaysPushed(FakePyCuda):
    def _pop(self) -> None:
        self._device.set_current(False)


def is_caught(binding: str, device: FakeDevice, driver: Any) -> bool:
    try:
        everything(device, binding, driver)
    except (Exception, pytest.fail.Exception):
        return True
    finally:
        KEPT.clear()
    return False


@pytest.mark.parametrize("bug", LIKE_A_BUG_IN_CUDA_PYTHON)
def test_a_bug_towards_the_driver_is_caught(bug: str) -> None:
    """Planted in the driver: a function that does as if the layer had called another, with other arguments or not."""
    device = idle()
    driver = FakeCudaBindings(device)
    assert not is_caught("cuda-python", device, driver)
    assert is_caught("cuda-python", device, Faulty(driver, *LIKE_A_BUG_IN_CUDA_PYTHON[bug]))


@pytest.mark.parametrize("bug", LIKE_A_BUG_IN_PYCUDA)
def test_a_bug_towards_pycuda_is_caught(bug: str) -> None:
    device = idle()
    driver = FakePyCuda(device)
    assert not is_caught("pycuda", device, driver)
    assert is_caught("pycuda", device, Faulty(driver, *LIKE_A_BUG_IN_PYCUDA[bug]))


def test_a_context_that_stays_pushed_is_caught() -> None:
    device = idle()
    assert is_caught("pycuda", device, StaysPushed(device))


def test_cuda_python_runs_in_any_thread_that_enters() -> None:
    cuda = on_fake_driver(FakeDevice())
    with pytest.raises(SessionError, match=r"failed in cuMemAlloc \(CUDA_ERROR_INVALID_CONTEXT\)"):
        in_another_thread(cuda.alloc, 8)

    def enter_first() -> int:
        cuda.enter()
        return cuda.alloc(8)

    assert in_another_thread(enter_first)


def test_pycuda_runs_in_its_own_thread() -> None:
    cuda = on_fake_driver(FakeDevice(), "pycuda")
    cuda.enter()
    with pytest.raises(SessionError, match="in the thread that opened it"):
        in_another_thread(cuda.enter)  # pycuda would abort when that thread ends
    assert cuda.capture(cuda.stream(), lambda: True) is None
    with pytest.raises(SessionError, match="pycuda has no CUDA graphs"):
        cuda.launch(None, None)


def test_a_function_that_an_older_driver_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = on_fake_driver(FakeDevice())

    def missing(*_: Any) -> None:
        raise RuntimeError('Function "cuGraphInstantiate" not found')

    monkeypatch.setattr(FakeCudaBindings, "cuGraphInstantiate", missing)
    assert cuda.capture(cuda.stream(), lambda: True) is None
    monkeypatch.setattr(FakeCudaBindings, "cuEventCreate", missing)
    with pytest.raises(SessionError) as caught:
        cuda.event()
    assert str(caught.value) == (
        'the driver for CUDA 13.0 is older than cuda-bindings and lacks a function (Function "cuGraphInstantiate" not '
        "found): update the driver, or pip install 'cuda-bindings==13.*'."
    )


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    """Both packages, on one device."""
    device = FakeDevice(integrated=True)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", FakeCudaBindings(device))
    monkeypatch.setitem(sys.modules, "pycuda.driver", FakePyCuda(device))
    return device


@pytest.mark.parametrize(("binding", "kind"), [(None, Cuda), ("cuda-python", Cuda), ("pycuda", PyCuda)])
def test_the_implementation_follows_the_binding(binding: Any, kind: type, packages: FakeDevice) -> None:
    cuda = open_cuda(binding)
    assert isinstance(cuda, kind)
    assert (cuda.gpu.name, cuda.gpu.multiprocessors) == ("Simulated GPU", 28)
    assert (cuda.gpu.capability, cuda.gpu.driver, cuda.gpu.integrated) == ("8.6", "13.0", True)
    cuda.close()
    assert packages.live["context"] == 0


def test_a_device_that_is_not_there(packages: FakeDevice) -> None:
    with pytest.raises(SessionError, match="CUDA device 1 does not respond: CUDA_ERROR_INVALID_DEVICE"):
        open_cuda("cuda-python", 1)
