"""The CUDA layer by cuda-bindings and by pycuda on fake drivers, which are compared with the real cuda-bindings."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fake_cuda_bindings import FakeCudaBindings
from fake_device import FakeDevice
from fake_pycuda import FakePyCuda
from helpers import altered
from simulator import on_fake_driver

from schanger_edge.errors import SessionError
from schanger_edge.sessions.tensorrt import cuda as cuda_module
from schanger_edge.sessions.tensorrt.cuda import Cuda, CudaPython, PyCuda, open_cuda

BINDINGS = ("cuda-python", "pycuda")


def calls() -> list[tuple[str, int]]:
    """(function of the driver, number of arguments) of each call in the module's source."""
    found = []
    for node in ast.walk(ast.parse(Path(cuda_module.__file__).read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "_ask" and isinstance(node.args[0], ast.Constant):
            found.append((str(node.args[0].value), len(node.args) - 1))
        elif node.func.attr.startswith("cu") and node.func.attr[2:3].isupper():
            found.append((node.func.attr, len(node.args)))
    return found


def test_cuda_bindings_has_every_function_with_as_many_arguments() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    found = calls()
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


def test_the_fake_is_as_cuda_bindings() -> None:
    """Names, numbers of arguments, codes; a code is an int with a name, and handles become ints."""
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    fake = FakeCudaBindings(FakeDevice())
    functions = [name for name in vars(FakeCudaBindings) if name.startswith("cu")]
    assert set(functions) >= {name for name, _ in calls()}
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
    wanted = {name for name in vars(Cuda) if not name.startswith("_")}
    for implementation in (CudaPython, PyCuda):
        assert {name for name in wanted if not hasattr(implementation, name)} == set()


def in_another_thread(call: Any, *arguments: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *arguments).result()


def everything(device: FakeDevice, binding: str, module: ModuleType = cuda_module) -> None:
    """What the interface promises, on a device that does nothing before the host waits for it."""
    cuda: Cuda = on_fake_driver(device, binding, module)
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
        with pytest.raises(module.OutOfDeviceMemoryError, match=r"Simulated GPU is out of memory \(\w+\): close"):
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
    everything(FakeDevice(memory=1 << 20, idle=True), binding)
    everything(FakeDevice(memory=1 << 20, idle=True), binding, altered(cuda_module, "By pycuda,", "By pycuda,"))


CU, PY = BINDINGS
PLANTED = {
    "copies go the wrong way": (CU, '"cuMemcpyHtoDAsync", device, host', '"cuMemcpyDtoHAsync", device, host'),
    "copies out go the wrong way": (CU, '"cuMemcpyDtoHAsync", host', '"cuMemcpyHtoDAsync", host'),
    "the primary context is kept": (CU, '"cuDevicePrimaryCtxRelease"', '"cuDeviceGetName", 1'),
    "the context is not made current": (CU, "        self.enter()\n", ""),
    "device memory is kept": (CU, '        self._ask("cuMemFree", pointer)', "        pass"),
    "host memory is kept": (CU, '        self._ask("cuMemFreeHost", memory.handle)', "        pass"),
    "the host's address is taken for the device's": (CU, "HostMemory(view, device", "HostMemory(view, pointer"),
    "streams are kept": (CU, "cuStreamDestroy,", "cuDriverGetVersion and (lambda stream: (0,)),"),
    "captures disturb other threads": (CU, "MODE_THREAD_LOCAL", "MODE_GLOBAL"),
    "graphs are kept": (CU, '            self._ask("cuGraphDestroy", graph)', "            pass"),
    "a failed capture is not ended": (
        CU, "        finally:  # or the stream could not be used any more\n            graph =",
        "        except ZeroDivisionError:\n            raise\n        graph =",
    ),
    "codes are not looked at": (CU, "        if int(code):\n            raise", "        if 0:\n            raise"),
    "waiters spin": (CU, '"cuEventCreate", BLOCKING_SYNC', '"cuEventCreate", 0'),
    "streams wait for the default one": (CU, '"cuStreamCreate", NON_BLOCKING', '"cuStreamCreate", 0'),
    "a wait is left out": (CU, '        self._ask("cuStreamWaitEvent", stream, event, 0)', "        pass"),
    "the clock runs backwards": (CU, '"cuEventElapsedTime", first, second', '"cuEventElapsedTime", second, first'),
    "pycuda: copies go the wrong way": (
        PY, "self._driver.memcpy_htod_async, device, host.bytes[:size]",
        "self._driver.memcpy_dtoh_async, host.bytes[:size], device",
    ),
    "pycuda: the context stays pushed": (PY, '        self._asked("pop", self._context.pop)\n', ""),
    "pycuda: the context is kept": (PY, '        self._asked("detach", self._context.detach)\n', ""),
    "pycuda: device memory is kept": (PY, "self._blocks.pop(pointer).free)", "lambda: None)"),
    "pycuda: memory is not mapped": (PY, "host_alloc_flags.DEVICEMAP", "host_alloc_flags.PORTABLE"),
    "pycuda: all of the host's memory is copied": (
        PY, "memcpy_dtoh_async, host.bytes[:size]", "memcpy_dtoh_async, host.bytes"
    ),
    "pycuda: errors are not turned into sentences": (PY, "except self._driver.Error", "except ZeroDivisionError"),
}  # fmt: skip


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(bug: str) -> None:
    binding, before, after = PLANTED[bug]
    module = altered(cuda_module, before, after)
    with pytest.raises((Exception, pytest.fail.Exception)):
        everything(FakeDevice(memory=1 << 20, idle=True), binding, module)


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
    with pytest.raises(SessionError, match=r'failed in cuEventCreate \(Function "cuGraphInstantiate" not found\)'):
        cuda.event()


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    """Both packages, on one device."""
    device = FakeDevice(integrated=True)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", FakeCudaBindings(device))
    monkeypatch.setitem(sys.modules, "pycuda.driver", FakePyCuda(device))
    return device


@pytest.mark.parametrize(("binding", "kind"), [(None, CudaPython), ("cuda-python", CudaPython), ("pycuda", PyCuda)])
def test_the_implementation_follows_the_binding(binding: Any, kind: type, packages: FakeDevice) -> None:
    cuda = open_cuda(binding)
    assert isinstance(cuda, kind)
    assert cuda.gpu.words == "Simulated GPU, 28 multiprocessors"
    assert (cuda.gpu.capability, cuda.gpu.driver, cuda.gpu.integrated) == ("8.6", "13.0", True)
    cuda.close()
    assert packages.live["context"] == 0


def test_a_device_that_is_not_there(packages: FakeDevice) -> None:
    with pytest.raises(SessionError, match="CUDA device 1 does not respond: CUDA_ERROR_INVALID_DEVICE"):
        open_cuda("cuda-python", 1)
