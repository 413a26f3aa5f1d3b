"""A simulated machine with a GPU and TensorRT on it, for tests alone: this project's CUDA layer on a fake driver.

A plan is the word SIMULATED, a shape profile and an ONNX model. `execute_async_v3` gives its stream a run of the model
in ONNX Runtime on the addresses it was told. What TensorRT refuses it refuses as TensorRT does, by False or None and a
line in the log; what it does not notice, and forbids, is kept in `faults`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
from fake_cuda_bindings import CAPABILITY, MULTIPROCESSORS, NAME, FakeCudaBindings
from fake_device import FakeDevice
from fake_pycuda import FakePyCuda
from simulated_builder import MAGIC, BuilderNames

from schanger_edge.model.plan import Batches
from schanger_edge.sessions.gpu import Gpu
from schanger_edge.sessions.tensorrt.cuda import Cuda, PyCuda

GPU_WORDS = NAME
INPUTS = ("before", "after")


def gpu_of(device: FakeDevice, binding: Any = "cuda-python") -> Gpu:
    """What `find_gpu` says of it."""
    capability = ".".join(map(str, CAPABILITY))
    return Gpu(NAME, capability, device.memory, device.integrated, "13.0", binding, MULTIPROCESSORS)


def on_fake_driver(device: FakeDevice, binding: Any = "cuda-python", layer: Any = None, driver: Any = None) -> Any:
    """The CUDA layer of a device; `layer` or `driver` may be one with a fault."""
    python = binding == "cuda-python"
    driver = driver or (FakeCudaBindings if python else FakePyCuda)(device)
    layer = layer or (Cuda if python else PyCuda)
    with mock.patch.dict(sys.modules, {"cuda.bindings.driver" if python else "pycuda.driver": driver}):
        return layer(gpu_of(device, binding), 0)


class SimulatedTensorRT(BuilderNames):
    """The module: as much of its builder and runtime as is used, for one fake device.

    `fails` names what goes wrong: `deserialize`, `load` (no memory for it), `context`, `shape`, `execute` (from the
    n-th call on). The first `full_contexts` contexts find no room.
    """

    class DataType(Enum):
        UINT8 = 1
        FLOAT = 2

    class LayerInformationFormat(Enum):
        ONELINE = 0
        JSON = 1

    class IProfiler:
        pass

    class ILogger:
        class Severity(Enum):
            INTERNAL_ERROR = 0
            ERROR = 1

    def __init__(self, device: FakeDevice, version: str = "10.13.3", fails: str = "", after: int = 0) -> None:
        super().__init__()
        self.device, self.__version__, self.fails, self.after = device, version, fails, after
        self.executed: list[int] = []
        self.sticky = False
        self.contexts = self.full_contexts = 0  # made so far; the first so many find no room
        self.scratch_held = self.most_scratch_held = 0  # bytes of its contexts, now and at most
        self.alive: Counter[str] = Counter()
        output = {"Name": "probability", "Format/Datatype": "Row major linear FP32"}
        self.layers: list[Any] = [{"Name": "all", "Outputs": [output]}]  # that its inspector tells of

    def Runtime(self, log: Any) -> Any:  # noqa: N802  # TensorRT's name
        self.refuse_old_driver(log)
        return _Runtime(self, log)


class SimulatedRTX(SimulatedTensorRT):
    """TensorRT-RTX: a context follows its runtime config, and kernels are made when it first runs."""

    has_specialization = True

    def __init__(self, device: FakeDevice, version: str = "1.7.1") -> None:
        super().__init__(device, version)

    class CudaGraphStrategy(Enum):
        DISABLED = 0
        WHOLE_GRAPH_CAPTURE = 1

    class DynamicShapesKernelSpecializationStrategy(Enum):
        LAZY = 0
        EAGER = 1


class _Counted:
    """Counts itself while it lives."""

    def __init__(self, trt: SimulatedTensorRT) -> None:
        self._trt = trt
        trt.alive[type(self).__name__] += 1

    def __del__(self) -> None:
        self._trt.alive[type(self).__name__] -= 1
        if not self._trt.device.live["context"]:
            self._trt.device.faults.append(f"TensorRT's {type(self).__name__} outlives the CUDA context")


class _Runtime(_Counted):
    def __init__(self, trt: SimulatedTensorRT, log: Any) -> None:
        super().__init__(trt)
        self.log = log

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if self._trt.fails == "load":
            self.log.log(self._trt.ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (Requested size was 9 bytes.)")
            return None
        magic, *rest = plan.split(b";", 2)
        if self._trt.fails == "deserialize" or magic != MAGIC:
            self.log.log(self._trt.ILogger.Severity.ERROR, "the magic tag does not match")
            return None
        return (_RTXEngine if isinstance(self._trt, SimulatedRTX) else _Engine)(self._trt, self.log, *rest)


class _Engine(_Counted):
    device_memory_size = 1 << 20

    def __init__(self, trt: SimulatedTensorRT, log: Any, batches: bytes, model: bytes) -> None:
        super().__init__(trt)
        *sizes, self.side = map(int, batches.split(b","))
        self.log, self.batches = log, Batches(*sizes)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.tensors = {tensor.name: tensor for tensor in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, number: int) -> str:
        return list(self.tensors)[number]

    def get_tensor_dtype(self, name: str) -> Any:
        kinds = {"tensor(uint8)": self._trt.DataType.UINT8, "tensor(float)": self._trt.DataType.FLOAT}
        return kinds.get(self.tensors[name].type)

    def create_engine_inspector(self) -> Any:
        return _Inspector(self._trt)

    def create_execution_context(self) -> Any:
        self._trt.contexts += 1
        if self._trt.contexts <= self._trt.full_contexts or self._trt.fails == "context":
            return None
        return _Context(self._trt, self)

    def refuse(self, reason: str) -> bool:
        """As TensorRT does."""
        self.log.log(self._trt.ILogger.Severity.ERROR, reason)
        return False


class _Inspector(_Counted):
    execution_context: Any = None

    def get_engine_information(self, kind: Any) -> str:
        """Batches are dynamic: types are told only of a context that is set to shapes."""
        text = json.dumps({"Layers": self._trt.layers})
        if self.execution_context is None or not self.execution_context.has_shapes:
            text = re.sub(r'("Format/Datatype": )"[^"]*"', r'\1"N/A due to dynamic shapes"', text)
        return text


class _RTXEngine(_Engine):
    def create_runtime_config(self) -> Any:
        return _RuntimeConfig(self._trt)

    def create_execution_context(self, config: Any = None) -> Any:
        context = super().create_execution_context()
        if context is not None:
            context.cache = config and config.cache
            if not config or config.cuda_graph_strategy.name != "WHOLE_GRAPH_CAPTURE":
                self._trt.device.faults.append("TensorRT-RTX was not told to make CUDA graphs")
            if config and config.specialization == "LAZY":
                self._trt.device.faults.append("TensorRT-RTX changes kernels while it runs")
            if context.cache is None:
                self._trt.device.faults.append("TensorRT-RTX has no runtime cache")
        return context


class _RuntimeConfig:
    def __init__(self, trt: SimulatedRTX) -> None:
        self.cuda_graph_strategy, self.cache = trt.CudaGraphStrategy.DISABLED, None
        if trt.has_specialization:
            self.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.LAZY

    @property
    def specialization(self) -> str:
        strategy = getattr(self, "dynamic_shapes_kernel_specialization_strategy", None)
        return strategy.name if strategy else "not to be chosen"

    def create_runtime_cache(self) -> Any:
        return _RuntimeCache()

    def set_runtime_cache(self, cache: Any) -> bool:
        self.cache = cache
        return True


class _RuntimeCache:
    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        self.content = content
        return True

    def serialize(self) -> bytes:
        return self.content


@dataclasses.dataclass
class _State:
    """What a context holds for the shapes it is set to; a graph that is captured depends on it."""

    shapes: dict[str, tuple[int, ...]]
    ready: bool = False  # it has run
    left: bool = False  # the context was set to other shapes, or is gone


class _Context(_Counted):
    cache: Any = None
    profiler: Any = None

    def __init__(self, trt: SimulatedTensorRT, engine: _Engine) -> None:
        super().__init__(trt)
        self._scratch = trt.scratch * engine.batches.most
        trt.scratch_held += self._scratch
        trt.most_scratch_held = max(trt.most_scratch_held, trt.scratch_held)
        self._engine, self._state, self._addresses = engine, _State({}), dict[str, int]()

    def __del__(self) -> None:
        self._state.left = True
        self._trt.scratch_held -= self._scratch
        super().__del__()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        told = self._engine.tensors[name].shape[1:]
        wanted = [size if isinstance(size, int) else self._engine.side for size in told]
        inside = self._engine.batches.least <= shape[0] <= self._engine.batches.most
        if self._trt.fails == "shape" or not inside or list(shape[1:]) != wanted:
            return self._engine.refuse(f"{shape} is no shape of {name} in the optimization profile")
        if self._state.shapes.get(name) != shape:
            self._state.left = True
            self._state = _State({**self._state.shapes, name: shape})
        return True

    @property
    def has_shapes(self) -> bool:
        return set(self._state.shapes) == set(INPUTS)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._engine.tensors

    def execute_async_v3(self, stream: int) -> bool:
        state, device = self._state, self._trt.device
        if not self.has_shapes or set(self._addresses) != set(self._engine.tensors):
            return self._engine.refuse("not all shapes and addresses are set")
        self._trt.executed.append(state.shapes["before"][0])
        if self._trt.fails == "execute" and len(self._trt.executed) > self._trt.after:
            device.broken = self._trt.sticky
            return self._engine.refuse("an illegal memory access")
        capture = device.capturing(stream)
        if capture is not None and not state.ready:
            capture.invalid = True
            device.faults.append("a graph was captured before a run had made the context ready for its shapes")
            return self._engine.refuse("not permitted when stream is capturing")
        if self.cache is not None and not state.ready:
            self.cache.content += b"k"
        state.ready = True
        if self.profiler is not None:
            self.profiler.report_layer_time("all", 1.0)
        device.give(stream, self._inference(state, capture is not None))
        return True

    def _inference(self, state: _State, captured: bool) -> Any:
        device, session, addresses = self._trt.device, self._engine.session, dict(self._addresses)

        def infer() -> None:
            if captured and state.left:
                device.faults.append("a graph ran after its context had gone to other shapes")
            inputs = {
                name: device.seen(addresses[name], int(np.prod(shape))).reshape(shape).copy()
                for name, shape in state.shapes.items()
            }
            (probability,) = session.run(["probability"], inputs)
            device.seen(addresses["probability"], probability.nbytes)[:] = probability.reshape(-1).view(np.uint8)

        return infer


@contextlib.contextmanager
def nothing_left(device: FakeDevice, trt: SimulatedTensorRT) -> Iterator[None]:
    """After the block nothing of CUDA or TensorRT may be alive, and nothing forbidden was done."""
    yield
    assert device.faults == []
    assert {kind: count for kind, count in device.live.items() if count} == {}
    assert {kind: count for kind, count in trt.alive.items() if count} == {}
