"""The CUDA layer asks the packages for what they have: real signatures of cuda-bindings, a stand-in for pycuda."""

from __future__ import annotations

import ast
import importlib
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schanger_edge.errors import SessionError
from schanger_edge.sessions import cuda as cuda_module
from schanger_edge.sessions.cuda import Cuda, CudaPython, OutOfDeviceMemoryError, PyCuda, open_cuda
from schanger_edge.sessions.gpu import Gpu

GPU = Gpu("Orin", "8.7", 8 << 30, True, "12.6", "pycuda")


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


def test_both_have_the_whole_interface() -> None:
    wanted = {name for name in vars(Cuda) if not name.startswith("_")}
    for implementation in (CudaPython, PyCuda):
        assert {name for name in wanted if not hasattr(implementation, name)} == set()


class StandInPyCuda:
    """pycuda.driver, its names as its sources have them; memory is the host's, streams do everything at once."""

    class Error(Exception):
        pass

    class MemoryError(Error):  # pycuda's name
        pass

    host_alloc_flags = SimpleNamespace(DEVICEMAP=2)

    def __init__(self, room: int = 1 << 20) -> None:
        self.room, self.pushed = room, 0
        self.blocks: dict[int, np.ndarray] = {}
        self.context = SimpleNamespace(push=self._push, pop=self._pop, detach=lambda: None)

    def _push(self) -> None:
        self.pushed += 1

    def _pop(self) -> None:
        self.pushed -= 1

    def Device(self, ordinal: int) -> Any:  # noqa: N802
        return SimpleNamespace(retain_primary_context=lambda: self.context)

    def mem_alloc(self, size: int) -> Any:
        if size > self.room:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        array = np.zeros(size, np.uint8)
        self.blocks[array.ctypes.data] = array
        blocks = self.blocks

        class Allocation:
            def __int__(self) -> int:
                return int(array.ctypes.data)

            def free(self) -> None:
                del blocks[array.ctypes.data]

        return Allocation()

    def pagelocked_empty(self, size: int, dtype: Any, order: str, mem_flags: int) -> Any:
        assert (order, mem_flags) == ("C", 2)
        block = self.mem_alloc(size)

        class Pinned(np.ndarray):
            @property
            def base(self) -> Any:
                return SimpleNamespace(get_device_pointer=lambda: int(block), free=block.free)

        return self.blocks[int(block)].view(Pinned)

    def memcpy_htod_async(self, device: int, array: Any, stream: Any) -> None:
        self.blocks[device][: array.nbytes] = array

    def memcpy_dtoh_async(self, array: Any, device: int, stream: Any) -> None:
        array[:] = self.blocks[device][: array.nbytes]

    def Stream(self, flags: int) -> Any:  # noqa: N802
        assert flags == 1
        return SimpleNamespace(handle=7, wait_for_event=lambda event: None)

    def Event(self, flags: int) -> Any:  # noqa: N802
        assert flags == 1
        return SimpleNamespace(
            record=lambda stream: None, synchronize=lambda: None, time_till=lambda other: 1.5
        )  # fmt: skip


def test_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = StandInPyCuda()
    monkeypatch.setattr(importlib, "import_module", lambda name: {"pycuda.driver": driver}[name])
    cuda = PyCuda(GPU, 0)
    assert driver.pushed == 1
    cuda.enter()
    assert driver.pushed == 1
    with ThreadPoolExecutor(1) as pool, pytest.raises(SessionError, match="in the thread that opened it"):
        pool.submit(cuda.enter).result()  # pycuda would abort when that thread ends
    host, device, stream, event = cuda.alloc_host(8), cuda.alloc(8), cuda.stream(), cuda.event()
    host.bytes[:] = np.arange(8)
    cuda.copy_in(device, host, 8, stream)
    host.bytes[:] = 0
    cuda.copy_out(host, device, 4, stream)
    assert list(host.bytes) == [0, 1, 2, 3, 0, 0, 0, 0]
    assert host.device_pointer in driver.blocks
    cuda.record(event, stream)
    cuda.wait(stream, event)
    cuda.synchronize(event)
    assert cuda.milliseconds(event, event) == 1.5
    assert cuda.stream_number(stream) == 7
    assert cuda.capture(stream, lambda: True) is None
    with pytest.raises(SessionError, match="pycuda has no CUDA graphs"):
        cuda.launch(None, stream)
    with pytest.raises(OutOfDeviceMemoryError, match="Orin has no memory left"):
        cuda.alloc(1 << 21)
    with pytest.raises(OutOfDeviceMemoryError, match="Orin has no memory left"):
        cuda.alloc_host(1 << 21)

    def broken() -> None:
        raise driver.Error("an illegal memory access was encountered")

    with pytest.raises(SessionError, match=r"Orin failed in synchronize \(an illegal memory access"):
        cuda.synchronize(SimpleNamespace(synchronize=broken))
    cuda.release(stream, event, None)
    cuda.free(device)
    cuda.free_host(host)
    assert not driver.blocks
    cuda.close()
    assert driver.pushed == 0


def test_the_implementation_follows_the_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: StandInPyCuda())
    monkeypatch.setattr(cuda_module, "find_gpu", lambda binding, ordinal: GPU)
    assert isinstance(open_cuda("pycuda"), PyCuda)
