"""Faults planted around the TensorRT session show on the simulated machine; in the session itself none does.

Each is what a bug of the session would come to: a call to CUDA or TensorRT that is left out, comes too early or is
given something else. They are planted in the layers below the session, so that its source may be written anew.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import simulator
from fake_device import FakeDevice
from simulated_builder import simulated_plan
from simulated_session import flavour_of, in_another_thread, in_order, tiles, write
from simulator import GPU_WORDS, SimulatedRTX, SimulatedTensorRT, nothing_left, on_fake_driver

from schanger_edge.errors import SessionError
from schanger_edge.model.plan import Batches, Target, this_system
from schanger_edge.sessions import open_session
from schanger_edge.sessions.gpu import Gpu
from schanger_edge.sessions.tensorrt.cuda import Cuda
from schanger_edge.sessions.tensorrt.session import TensorRTSession

SEEDS = range(12)
BATCHES = [tiles(count, number) for number, count in enumerate((*[1] * 3, *[4] * 5, 2, 2, 3, 3, 1, 4, 5))]
Plans = dict[str, Path]


def shows(plans: Plans, wanted: list[bytes], seed: int, layer: type[Cuda] = Cuda) -> bool:
    """Whether a session does anything wrong, on any kind of machine and plan."""
    for kind, plan in plans.items():
        device = FakeDevice(seed, integrated=kind == "integrated")
        version = "8.6.2" if kind == "old" else "10.13.3"
        trt = SimulatedRTX(device) if kind == "rtx" else SimulatedTensorRT(device, version)
        try:
            cuda = on_fake_driver(device, layer=layer)
            with nothing_left(device, trt), TensorRTSession(plan, flavour_of(trt), cuda, slots=2) as session:
                got = in_order(session, BATCHES)
                in_another_thread(session.submit(*BATCHES[0]))
                session.submit(*BATCHES[0])  # left under way when the session closes
                del session
        except (AssertionError, SessionError):
            return True
        if [one.tobytes() for one in got] != wanted:
            return True
    return False


@pytest.fixture(scope="module")
def wanted(model: Path) -> list[bytes]:
    """What ONNX Runtime gives."""
    with open_session(model, threads=1) as reference:
        return [reference.run(*batch).tobytes() for batch in BATCHES]


@pytest.fixture(scope="module")
def plans(model: Path, plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Plans:
    folder = tmp_path_factory.mktemp("kinds")
    old = Target("tensorrt", "8.6.2", this_system(), ("8.6",), GPU_WORDS)
    write(folder / "old.plan", model, target=old)
    write(folder / "rtx.plan", model, flavour="rtx")
    write(folder / "narrow.plan", model, batches=Batches(2, 2, 3))
    others = {kind: folder / f"{kind}.plan" for kind in ("narrow", "old", "rtx")}
    return {"copies": plan, "integrated": plan, **others}


def test_without_a_fault_nothing_shows(plans: Plans, wanted: list[bytes]) -> None:
    """A result left under way included: so what shows below is the fault."""
    for seed in SEEDS:
        assert not shows(plans, wanted, seed)


class InferenceDoesNotWaitForItsInput(Cuda):
    deaf = 1

    def stream(self) -> Any:
        self.streams = [*getattr(self, "streams", ()), super().stream()]
        return self.streams[-1]

    def wait(self, stream: Any, event: Any) -> None:
        if stream is not self.streams[self.deaf]:
            super().wait(stream, event)


class CopyOutDoesNotWaitForTheInference(InferenceDoesNotWaitForItsInput):
    deaf = 2


class TheHostDoesNotWaitForTheResult(Cuda):
    def synchronize(self, event: Any) -> None:
        pass


class MemoryIsFreedUnderWork(Cuda):
    """When it closes, a session records an event and waits for it at once."""

    recorded: Any = None

    def enter(self) -> None:
        self.recorded = None
        super().enter()

    def record(self, event: Any, stream: Any) -> None:
        self.recorded = event
        super().record(event, stream)

    def synchronize(self, event: Any) -> None:
        if event is not self.recorded:
            super().synchronize(event)


class TheContextIsNotEnteredInOtherThreads(Cuda):
    def enter(self) -> None:
        if threading.current_thread() is threading.main_thread():
            super().enter()


class SharedMemoryIsCopied(Cuda):
    def __init__(self, gpu: Gpu, ordinal: int) -> None:
        super().__init__(dataclasses.replace(gpu, integrated=False), ordinal)


class SlotsShareAGraph(Cuda):
    graph: Any = None

    def capture(self, stream: Any, work: Callable[[], bool]) -> Any:
        self.graph = self.graph or super().capture(stream, work)
        return self.graph


class AGraphIsReleasedUnderWay(Cuda):
    """The wait for the event that is recorded after a launch is left out."""

    finished: tuple[Any, ...] = ()
    launched = False

    def launch(self, graph: Any, stream: Any) -> None:
        self.launched = True
        super().launch(graph, stream)

    def record(self, event: Any, stream: Any) -> None:
        if self.launched:
            self.finished, self.launched = (*self.finished, event), False
        super().record(event, stream)

    def synchronize(self, event: Any) -> None:
        if event not in self.finished:
            super().synchronize(event)


class GraphsAreKept(Cuda):
    kept = "CUgraphExec"

    def release(self, *handles: Any) -> None:
        super().release(*(handle for handle in handles if type(handle).__name__ != self.kept))


class EventsAreKept(GraphsAreKept):
    kept = "CUevent"


class StreamsAreKept(GraphsAreKept):
    kept = "CUstream"


@pytest.mark.parametrize(
    "layer",
    [
        InferenceDoesNotWaitForItsInput, CopyOutDoesNotWaitForTheInference, TheHostDoesNotWaitForTheResult,
        MemoryIsFreedUnderWork, TheContextIsNotEnteredInOtherThreads, SharedMemoryIsCopied, SlotsShareAGraph,
        AGraphIsReleasedUnderWay, GraphsAreKept, EventsAreKept, StreamsAreKept,
    ],
)  # fmt: skip
def test_a_fault_towards_cuda_shows(layer: type[Cuda], plans: Plans, wanted: list[bytes]) -> None:
    assert any(shows(plans, wanted, seed, layer) for seed in SEEDS)


def _after_the_first(call: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a context that does what it is told once for each first argument."""

    def method(self: Any, name: str, value: Any) -> Any:
        known = vars(self).setdefault(f"known {call.__name__}", set())
        if name in known:
            return True
        known.add(name)
        return call(self, name, value)

    return method


def _never_ready(self: Any, stream: int) -> bool:
    done = _EXECUTE(self, stream)
    self._state.ready = False
    return done


class _Deaf:
    """Keeps the value that it has first."""

    def __set__(self, owner: Any, value: Any) -> None:
        vars(owner).setdefault("strategy", value)

    def __get__(self, owner: Any, kind: Any) -> Any:
        return vars(owner)["strategy"]


_KEPT: list[Any] = []
_EXECUTE, _RUNTIME = simulator._Context.execute_async_v3, SimulatedTensorRT.Runtime
FAULTS_TOWARDS_TENSORRT: dict[str, tuple[type, str, Any]] = {
    "the buffers of the slot before are kept": (
        simulator._Context, "set_tensor_address", _after_the_first(simulator._Context.set_tensor_address)
    ),
    "the shape of the batch before is kept": (
        simulator._Context, "set_input_shape", _after_the_first(simulator._Context.set_input_shape)
    ),
    "a graph is captured before a run": (simulator._Context, "execute_async_v3", _never_ready),
    "the runtime cache is not attached": (simulator._RuntimeConfig, "set_runtime_cache", lambda *_: True),
    "TensorRT-RTX makes no graphs": (simulator._RuntimeConfig, "cuda_graph_strategy", _Deaf()),
    "TensorRT-RTX changes kernels meanwhile": (
        simulator._RuntimeConfig, "dynamic_shapes_kernel_specialization_strategy", _Deaf()
    ),
    "TensorRT outlives the CUDA context": (
        SimulatedTensorRT, "Runtime", lambda self, log: _KEPT.append(_RUNTIME(self, log)) or _KEPT[-1]
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS_TOWARDS_TENSORRT)
def test_a_fault_towards_tensorrt_shows(
    fault: str, plans: Plans, wanted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*FAULTS_TOWARDS_TENSORRT[fault], raising=False)
    assert any(shows(plans, wanted, seed) for seed in SEEDS)
    _KEPT.clear()


@pytest.mark.parametrize(
    ("told", "built_for"), [(Batches(1, 2, 3), Batches(2, 2, 3)), (Batches(1, 2, 4), Batches(1, 2, 3))]
)
def test_a_batch_outside_the_profile_shows(
    told: Batches, built_for: Batches, model: Path, wanted: list[bytes], tmp_path: Path
) -> None:
    write(tmp_path / "x.plan", model, content=simulated_plan(model.read_bytes(), built_for), batches=told)
    assert shows({"copies": tmp_path / "x.plan"}, wanted, 0)
    write(tmp_path / "x.plan", model, batches=built_for)
    assert not shows({"copies": tmp_path / "x.plan"}, wanted, 0)
