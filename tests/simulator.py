"""A simulated GPU with TensorRT on it, for tests alone: real numbers, and no order but the one that was asked for.

Device memory is host memory at real addresses. A plan is the word SIMULATED and an ONNX model, and `execute_async_v3`
runs it in ONNX Runtime on the addresses it was given. Work given to a stream is done late, and streams run out of step:
which one goes on is drawn by a seed whenever the host waits. So a wait that is missing shows in the numbers.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from schanger_edge.errors import SessionError
from schanger_edge.sessions.cuda import HostMemory, OutOfDeviceMemoryError
from schanger_edge.sessions.gpu import Gpu

MULTIPROCESSORS = 28
GPU_WORDS = f"Simulated GPU, {MULTIPROCESSORS} multiprocessors"
MAGIC = b"SIMULATED"
GARBAGE = 0xCD


def memory_at(address: int, size: int) -> NDArray[np.uint8]:
    """The bytes at an address."""
    return np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))


class Event:
    """Happens once for each time it was recorded."""

    def __init__(self) -> None:
        self.recorded = self.happened = 0
        self.time = 0.0


class Stream:
    """Work to do in order; an item is what must be true first, and what to do."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.work: deque[tuple[Callable[[], bool], Callable[[], None]]] = deque()


class Graph:
    """Captured work."""

    def __init__(self, work: list[Any]) -> None:
        self.work = work


class SimulatedCuda:
    """See `sessions.cuda.Cuda`."""

    def __init__(
        self, seed: int = 0, *, integrated: bool = False, graphs: bool = True, memory: int = 1 << 30,
        capturable: bool = True,
    ) -> None:  # fmt: skip
        self.gpu = Gpu("Simulated GPU", "8.6", memory, integrated, "13.0", "cuda-python", MULTIPROCESSORS)
        self.graphs, self.capturable = graphs, capturable
        self._random, self._clock = random.Random(seed), 0.0
        self._blocks: dict[int, NDArray[np.uint8]] = {}
        self._graveyard: list[NDArray[np.uint8]] = []  # kept, so that a late access meets garbage and not a crash
        self._streams: list[Stream] = []
        self._capturing: tuple[Stream, list[Any]] | None = None
        self._thread = 0
        self.live: Counter[str] = Counter()
        self.launches = 0
        self.broken = False
        self.live["context"] = 1

    # Memory.

    def enter(self) -> None:
        self._thread = threading.get_ident()
        self._answer()

    def _answer(self) -> None:
        """After a fault CUDA answers every call with the same error."""
        if self.broken:
            raise SessionError("Simulated GPU failed in every call since.")

    def alloc(self, size: int) -> int:
        block = self._block(size)
        self.live["device"] += 1
        return block

    def free(self, pointer: int) -> None:
        self._answer()
        self._bury(pointer)
        self.live["device"] -= 1

    def alloc_host(self, size: int) -> HostMemory:
        address = self._block(size)
        self.live["host"] += 1
        return HostMemory(self._blocks[address], address, address)

    def free_host(self, memory: HostMemory) -> None:
        self._answer()
        self._bury(memory.handle)
        self.live["host"] -= 1

    def _block(self, size: int) -> int:
        used = sum(block.nbytes for block in self._blocks.values())
        if used + size > self.gpu.memory:
            raise OutOfDeviceMemoryError(f"{self.gpu.name} has no memory left.")
        block = np.full(size, GARBAGE, np.uint8)
        self._blocks[block.ctypes.data] = block
        return int(block.ctypes.data)

    def _bury(self, address: int) -> None:
        assert not any(stream.work for stream in self._streams), "memory was freed while work was under way"
        block = self._blocks.pop(address)
        block[:] = GARBAGE
        self._graveyard.append(block)

    # Streams and events.

    def stream(self) -> Stream:
        self.live["stream"] += 1
        self._streams.append(Stream(len(self._streams) + 1))
        return self._streams[-1]

    def stream_number(self, stream: Stream) -> int:
        return stream.number

    def event(self) -> Event:
        self.live["event"] += 1
        return Event()

    def copy_in(self, device: int, host: HostMemory, size: int, stream: Stream) -> None:
        self.give(stream, lambda: self._copy(device, host.handle, size))

    def copy_out(self, host: HostMemory, device: int, size: int, stream: Stream) -> None:
        self.give(stream, lambda: self._copy(host.handle, device, size))

    def _copy(self, target: int, source: int, size: int) -> None:
        memory_at(target, size)[:] = memory_at(source, size)

    def record(self, event: Event, stream: Stream) -> None:
        event.recorded += 1

        def happen() -> None:
            event.happened += 1
            event.time = self._clock

        self.give(stream, happen)

    def wait(self, stream: Stream, event: Event) -> None:
        wanted = event.recorded
        self.give(stream, lambda: None, lambda: event.happened >= wanted)

    def synchronize(self, event: Event) -> None:
        wanted = event.recorded
        while event.happened < wanted:
            assert self._step(), "the host waits for what never happens"

    def milliseconds(self, first: Event, second: Event) -> float:
        assert first.happened == first.recorded > 0, "timed before it happened"
        assert second.happened == second.recorded > 0, "timed before it happened"
        return second.time - first.time

    def capture(self, stream: Stream, work: Callable[[], bool]) -> Graph | None:
        self._capturing = (stream, [])
        worked = work()
        _, captured = self._capturing
        self._capturing = None
        if not (worked and self.capturable):
            return None
        self.live["graph"] += 1
        return Graph(captured)

    def launch(self, graph: Graph, stream: Stream) -> None:
        self.launches += 1
        for do in graph.work:
            self.give(stream, do)

    def release(self, *handles: Any) -> None:
        for handle in handles:
            if handle is not None:
                self.live[type(handle).__name__.lower()] -= 1

    def close(self) -> None:
        self.live["context"] -= 1

    def give(self, stream: Stream, do: Callable[[], None], ready: Callable[[], bool] = lambda: True) -> None:
        """Give a stream work; some of what waits is done meanwhile, or nothing."""
        assert self._thread == threading.get_ident(), "the context is another thread's"
        if self._capturing is not None and self._capturing[0] is stream:
            self._capturing[1].append(do)
            return
        stream.work.append((ready, do))
        for _ in range(self._random.choice((0, 0, 0, 1, 4))):
            self._step()

    def stream_of(self, number: int) -> Stream:
        """By the number that TensorRT was given."""
        return self._streams[number - 1]

    def _step(self) -> bool:
        """Do one piece of work of a stream drawn among those that can go on."""
        able = [stream for stream in self._streams if stream.work and stream.work[0][0]()]
        if not able:
            return False
        _, do = self._random.choice(able).work.popleft()
        self._clock += self._random.uniform(0.1, 1.0)
        do()
        return True


class SimulatedTensorRT:
    """The module: as much of its runtime as a session uses, for one simulated device.

    `fails` names what goes wrong: `deserialize`, `context`, `shape`, `execute` (from the n-th call on).
    """

    class DataType(Enum):
        UINT8 = 1
        FLOAT = 2

    class CudaGraphStrategy(Enum):
        WHOLE_GRAPH_CAPTURE = 1

    class ILogger:
        class Severity(Enum):
            INTERNAL_ERROR = 0
            ERROR = 1

    def __init__(self, cuda: SimulatedCuda, version: str = "10.13.3", fails: str = "", after: int = 0) -> None:
        self.cuda, self.__version__, self.fails, self.after = cuda, version, fails, after
        self.executed: list[int] = []
        self.sticky = False
        self.contexts = self.full_contexts = 0  # made so far; the first so many find no room
        self.alive: Counter[str] = Counter()

    def Runtime(self, log: Any) -> Any:  # noqa: N802  # TensorRT's name
        return _Runtime(self, log)


class _Counted:
    """Counts itself while it lives."""

    def __init__(self, trt: SimulatedTensorRT) -> None:
        self._trt = trt
        trt.alive[type(self).__name__] += 1

    def __del__(self) -> None:
        self._trt.alive[type(self).__name__] -= 1


class _Runtime(_Counted):
    def __init__(self, trt: SimulatedTensorRT, log: Any) -> None:
        super().__init__(trt)
        self.log = log

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if self._trt.fails == "deserialize" or not plan.startswith(MAGIC):
            self.log.log(self._trt.ILogger.Severity.ERROR, "the magic tag does not match")
            return None
        return _Engine(self._trt, self.log, plan[len(MAGIC) :])


class _Engine(_Counted):
    def __init__(self, trt: SimulatedTensorRT, log: Any, model: bytes) -> None:
        super().__init__(trt)
        self.log = log
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, number: int) -> str:
        return str(self._tensors[number].name)

    def get_tensor_dtype(self, name: str) -> Any:
        kinds = {"tensor(uint8)": self._trt.DataType.UINT8, "tensor(float)": self._trt.DataType.FLOAT}
        return kinds.get(next(t.type for t in self._tensors if t.name == name))

    def create_runtime_config(self) -> Any:
        return _RuntimeConfig()

    def create_execution_context(self, config: Any = None) -> Any:
        self._trt.contexts += 1
        full = self._trt.contexts <= self._trt.full_contexts
        return None if full or self._trt.fails == "context" else _Context(self._trt, self)


class _RuntimeConfig:
    cuda_graph_strategy: Any = None

    def create_runtime_cache(self) -> Any:
        return _RuntimeCache()

    def set_runtime_cache(self, cache: Any) -> bool:
        return True


class _RuntimeCache:
    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        self.content = content
        return True

    def serialize(self) -> bytes:
        return self.content + b"k"


class _Context(_Counted):
    def __init__(self, trt: SimulatedTensorRT, engine: _Engine) -> None:
        super().__init__(trt)
        self._engine, self._shapes, self._addresses = engine, dict[str, tuple[int, ...]](), dict[str, int]()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return self._trt.fails != "shape"

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self._trt.executed.append(self._shapes["before"][0])
        if self._trt.fails == "execute" and len(self._trt.executed) > self._trt.after:
            self._engine.log.log(self._trt.ILogger.Severity.ERROR, "an illegal memory access")
            self._trt.cuda.broken = self._trt.sticky
            return False
        shapes, addresses, session = dict(self._shapes), dict(self._addresses), self._engine.session

        def infer() -> None:
            inputs = {
                name: memory_at(addresses[name], int(np.prod(shape))).reshape(shape).copy()
                for name, shape in shapes.items()
            }
            (probability,) = session.run(["probability"], inputs)
            memory_at(addresses["probability"], probability.nbytes)[:] = probability.reshape(-1).view(np.uint8)

        self._trt.cuda.give(self._trt.cuda.stream_of(stream), infer)
        return True


@contextlib.contextmanager
def nothing_left(cuda: SimulatedCuda, trt: SimulatedTensorRT) -> Any:
    """After the block nothing of CUDA or TensorRT may be alive."""
    yield
    assert {kind: count for kind, count in cuda.live.items() if count} == {}
    assert {kind: count for kind, count in trt.alive.items() if count} == {}
