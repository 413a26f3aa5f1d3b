"""Steps that try the machine and CUDA itself: versions, both bindings, the tests for a GPU."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from contact import MEGABYTE, Result, SkipStep, free_memory

from schanger_edge.errors import SessionError
from schanger_edge.sessions.doctor import doctor
from schanger_edge.sessions.gpu import Binding, find_gpu
from schanger_edge.sessions.tensorrt.cuda import Cuda, open_cuda
from schanger_edge.sessions.tensorrt.flavour import error_log, load_flavour, start

PACKAGES = (
    "schanger-edge", "numpy", "onnxruntime", "onnxruntime-gpu", "onnx", "tensorrt", "tensorrt-cu12", "tensorrt-cu13",
    "tensorrt-rtx-cu12", "tensorrt-rtx-cu13", "cuda-bindings", "pycuda",
)  # fmt: skip
OPENED = 100
ROUNDS = 32
BYTES = 4 * MEGABYTE


def machine(folder: Path) -> Result:
    """What this machine is, by `doctor`, and whether TensorRT starts here."""
    found: Result = {"platform": platform.platform(), "python": platform.python_version(), "packages": _versions()}
    found["doctor"] = doctor().as_dict()
    found["gpu"] = dataclasses.asdict(find_gpu())
    flavour = load_flavour()
    start(flavour, "Runtime", error_log(flavour.module))
    return {**found, "tensorrt": flavour.words, "strong": flavour.strong}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cuda_python(folder: Path) -> Result:
    """The CUDA layer over cuda-bindings."""
    return _binding("cuda-python", "cuda.bindings.driver")


def pycuda(folder: Path) -> Result:
    """The CUDA layer over pycuda."""
    return _binding("pycuda", "pycuda.driver")


def _binding(binding: Binding, module: str) -> Result:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise SkipStep(f"{binding} does not import ({error}).") from error
    cuda = open_cuda(binding)
    try:
        before = free_memory(binding)
        for _ in range(OPENED):
            open_cuda(binding).close()
        cuda.enter()
        left = before - free_memory(binding)
        return {
            "opened_and_closed": OPENED,
            "bytes_left_behind": left,
            "copies": _copies(cuda),
            "captured_while_another_thread_allocates": _capture(cuda) if cuda.graphs else "no graphs",
        }
    finally:
        cuda.enter()
        cuda.close()


def _copies(cuda: Cuda) -> Result:
    """Bytes there and back over three streams at once: they must come back as they were."""
    streams = [cuda.stream() for _ in range(3)]
    hosts = [cuda.alloc_host(BYTES) for _ in streams]
    backs = [cuda.alloc_host(BYTES) for _ in streams]
    devices = [cuda.alloc(BYTES) for _ in streams]
    begin, ends = cuda.event(), [cuda.event() for _ in streams]
    random = np.random.default_rng(0)
    wrong, times = 0, []
    for _ in range(ROUNDS):
        for host in hosts:
            host.bytes[:] = random.integers(0, 256, BYTES, np.uint8)
        cuda.record(begin, streams[0])
        for stream, host, back, device, end in zip(streams, hosts, backs, devices, ends, strict=True):
            cuda.wait(stream, begin)
            cuda.copy_in(device, host, BYTES, stream)
            cuda.copy_out(back, device, BYTES, stream)
            cuda.record(end, stream)
        for end in ends:
            cuda.synchronize(end)
        wrong += sum(not np.array_equal(host.bytes, back.bytes) for host, back in zip(hosts, backs, strict=True))
        times += [value for value in (_elapsed(cuda, begin, end) for end in ends) if value is not None]
    for device in devices:
        cuda.free(device)
    for memory in (*hosts, *backs):
        cuda.free_host(memory)
    cuda.release(begin, *ends, *streams)
    if wrong:
        raise RuntimeError(f"{wrong} of {3 * ROUNDS} copies came back changed")
    rate = 6 * BYTES / 1e6 / float(np.median(times)) if times else None
    return {"rounds": ROUNDS, "streams": 3, "wrong": wrong, "gigabytes_per_second": rate}


def _elapsed(cuda: Cuda, begin: Any, end: Any) -> float | None:
    try:
        return cuda.milliseconds(begin, end) or None
    except SessionError:
        return None


def _capture(cuda: Cuda) -> Result:
    """A graph captured while another thread allocates, then launched: it must copy what it was captured with."""
    stop, failed = threading.Event(), []

    def allocate() -> None:
        try:
            cuda.enter()
            while not stop.wait(0.001):
                cuda.free(cuda.alloc(MEGABYTE))
        except SessionError as error:
            failed.append(str(error))

    stream, event = cuda.stream(), cuda.event()
    host, back, device = cuda.alloc_host(BYTES), cuda.alloc_host(BYTES), cuda.alloc(BYTES)
    host.bytes[:] = np.random.default_rng(1).integers(0, 256, BYTES, np.uint8)

    def work() -> bool:
        cuda.copy_in(device, host, BYTES, stream)
        cuda.copy_out(back, device, BYTES, stream)
        return True

    thread = threading.Thread(target=allocate)
    thread.start()
    try:
        graphs = [cuda.capture(stream, work) for _ in range(ROUNDS)]
    finally:
        stop.set()
        thread.join()
    made = [graph for graph in graphs if graph is not None]
    if made:
        cuda.launch(made[-1], stream)
        cuda.record(event, stream)
        cuda.synchronize(event)
    same = bool(made) and np.array_equal(host.bytes, back.bytes)
    cuda.release(*made, event, stream)
    cuda.free(device)
    cuda.free_host(host)
    cuda.free_host(back)
    return {"asked": ROUNDS, "captured": len(made), "copies_right": same, "other_thread": failed}


def tests(folder: Path) -> Result:
    """`pytest -m gpu` of the checkout."""
    root = Path(__file__).parents[2]
    if importlib.util.find_spec("pytest") is None:
        raise SkipStep("pytest is not installed: pip install pytest.")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-rs", "-p", "no:cacheprovider", "tests/gpu"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, sep="\n")
    lines = done.stdout.strip().splitlines()
    return {"exit_code": done.returncode, "last_line": lines[-1] if lines else ""}
