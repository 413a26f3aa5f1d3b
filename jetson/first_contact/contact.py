"""What the steps of a first contact share: the folder they write to, models, plans and measures."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.bench.method import percentile, spread, tiles_for
from schanger_edge.model.card import INPUT_NAMES, OUTPUT_NAME
from schanger_edge.model.plan import Batches
from schanger_edge.sessions.tensorrt.cuda import Cuda, open_cuda
from schanger_edge.sessions.tensorrt.flavour import Flavour, error_log, load_flavour, start
from schanger_edge.sessions.tensorrt.session import TensorRTSession

Result = dict[str, Any]
MEGABYTE = 1 << 20


class SkipStep(Exception):  # noqa: N818  # no error
    """A step does not apply to this machine; the sentence says why."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to try.

    Attributes:
        name: of its .json and .log.
        seconds: after which it is stopped.
        what: in a few words.
        run: takes the folder, returns what was measured.
    """

    name: str
    seconds: int
    what: str
    run: Callable[[Path], Result]


def model_of(folder: Path, name: str) -> Path:
    """A model that the step `models` laid there.

    Raises:
        SkipStep: it is not there.
    """
    path = folder / "models" / f"{name}.onnx"
    if not path.exists():
        raise SkipStep(f"there is no model {name}: see models.json.")
    return path


def plan_path(folder: Path, name: str, batches: Batches) -> Path:
    """Where the plan of a model for these batches is kept."""
    return folder / "plans" / f"{name}-{batches.most}.plan"


def plan_of(folder: Path, name: str, batches: Batches) -> Path:
    """A plan that a `build` step left.

    Raises:
        SkipStep: it is not there.
    """
    path = plan_path(folder, name, batches)
    if not path.exists():
        raise SkipStep(f"there is no {path.name}: its build step did not succeed.")
    return path


def opened(plan: Path, cuda: Cuda | None = None, **options: Any) -> TensorRTSession:
    """The plan as a session."""
    return TensorRTSession(plan, load_flavour(), cuda or open_cuda(), **options)


def only(name: str) -> Flavour:
    """The TensorRT that runs use here, if it has this name.

    Raises:
        SkipStep: it is the other.
    """
    found = load_flavour()
    if found.name != name:
        raise SkipStep(f"runs use {found.words} here.")
    return found


def tiles(tile: int, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Both dates of rendered tiles, (2, N, 3, T, T), each a little different from the others."""
    before, after = tiles_for(tile, count)
    shift = np.random.default_rng(seed).integers(0, 16, (2, count, 1, 1, 1), np.uint8)
    drawn: NDArray[np.uint8] = (np.stack((before, after)) // 16 * 15 + shift).astype(np.uint8)
    return drawn


def milliseconds(call: Callable[[], object], rounds: int) -> Result:
    """The wall time of a call: median, range, number of rounds, and p95 where there are enough."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return {**(spread(times) or {}), "p95": percentile(times, 95)}


def free_memory(binding: str) -> int:
    """Bytes that the device has left; a context must be current."""
    if binding == "cuda-python":
        code, free, _ = importlib.import_module("cuda.bindings.driver").cuMemGetInfo()
        if int(code):
            raise RuntimeError(f"cuMemGetInfo failed with {code}")
        return int(free)
    return int(importlib.import_module("pycuda.driver").mem_get_info()[0])


@contextlib.contextmanager
def memory_taken(cuda: Cuda, into: Result, key: str) -> Iterator[None]:
    """Megabytes that the block leaves taken on the device."""
    cuda.enter()
    before = free_memory(cuda.gpu.binding)
    yield
    cuda.enter()
    into[key] = round((before - free_memory(cuda.gpu.binding)) / MEGABYTE, 1)


def engine_of(flavour: Flavour, content: bytes) -> Any:
    """TensorRT's engine of a plan."""
    log = error_log(flavour.module)
    engine = start(flavour, "Runtime", log).deserialize_cuda_engine(content)
    if engine is None:
        raise RuntimeError("; ".join(log.errors) or "the plan does not load")
    return engine


def bare_run(flavour: Flavour, content: bytes, pair: NDArray[np.uint8], profiler: Any = None) -> NDArray[np.float32]:
    """Probability by TensorRT alone, without session, graphs and sidecar; the third run is the profiler's."""
    count, tile = pair.shape[1], pair.shape[-1]
    cuda = open_cuda()
    sizes = (pair[0].nbytes, pair[1].nbytes, 4 * count * tile**2)
    hosts, devices = [cuda.alloc_host(size) for size in sizes], [cuda.alloc(size) for size in sizes]
    stream, event = cuda.stream(), cuda.event()
    engine = engine_of(flavour, content)
    context = engine.create_execution_context()
    for name, address in zip((*INPUT_NAMES, OUTPUT_NAME), devices, strict=True):
        context.set_tensor_address(name, address)
    for name, host, device, date in zip(INPUT_NAMES, hosts, devices, pair, strict=False):
        context.set_input_shape(name, (count, 3, tile, tile))
        host.bytes[:] = date.reshape(-1)
        cuda.copy_in(device, host, host.bytes.size, stream)
    for number in range(3):
        if number == 2 and profiler is not None:
            context.profiler = profiler
        if not context.execute_async_v3(cuda.stream_number(stream)):
            raise RuntimeError("TensorRT refuses to run the plan")
        cuda.record(event, stream)
        cuda.synchronize(event)
    cuda.copy_out(hosts[2], devices[2], sizes[2], stream)
    cuda.record(event, stream)
    cuda.synchronize(event)
    probability: NDArray[np.float32] = hosts[2].bytes.view(np.float32).reshape(count, 1, tile, tile).copy()
    del context, engine
    cuda.release(event, stream)
    for device in devices:
        cuda.free(device)
    for host in hosts:
        cuda.free_host(host)
    cuda.close()
    return probability
