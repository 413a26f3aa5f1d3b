"""The TensorRT session on a simulated GPU: the bytes of ONNX Runtime, whatever the order in which streams go on."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fake_device import FakeDevice
from helpers import altered
from numpy.typing import NDArray
from simulator import GPU_WORDS, SimulatedRTX, SimulatedTensorRT, nothing_left, on_fake_driver, simulated_plan

from schanger_edge.errors import SessionError
from schanger_edge.sessions import contexts as contexts_module
from schanger_edge.sessions import open_session, plans
from schanger_edge.sessions import tensorrt as tensorrt_module
from schanger_edge.sessions.builder import Batches
from schanger_edge.sessions.contexts import MOST_CONTEXTS
from schanger_edge.sessions.flavour import Flavour
from schanger_edge.sessions.ort import read_card
from schanger_edge.sessions.plans import PlanCard, Target
from schanger_edge.sessions.tensorrt import RUNTIME_CACHE_SUFFIX, TensorRTSession

TILE = 32
SEEDS = range(12)


@pytest.fixture(scope="module")
def model(standin: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    standin.integer_model(path, radius=2, tile=TILE, halo=4)
    return path


@pytest.fixture(scope="module")
def plan(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "m.plan"
    write(path, model)
    return path


def write(path: Path, model: Path, content: bytes | None = None, flavour: str = "tensorrt", **card: Any) -> None:
    """A simulated plan of a model with its sidecar."""
    version = {"tensorrt": "10.13.3", "rtx": "1.7.1"}[flavour]
    target = Target(flavour, version, plans.this_system(), ("8.6",), "" if flavour == "rtx" else GPU_WORDS)
    facts = {"typing": "strong", "flags": (), "batches": Batches(1, 2, 4), "target": target, **card}
    own, sha256 = read_card(model)
    content = content or simulated_plan(model.read_bytes(), facts["batches"])
    plans.write_plan(path, content, PlanCard("m.onnx", sha256, sha256, own, **facts))


def flavour_of(trt: SimulatedTensorRT) -> Flavour:
    rtx = isinstance(trt, SimulatedRTX)
    return Flavour("rtx" if rtx else "tensorrt", trt, "1.7.1" if rtx else trt.__version__)


def opened(
    plan: Path, device: FakeDevice, trt: SimulatedTensorRT | None = None, binding: str = "cuda-python", **options: Any
) -> TensorRTSession:
    trt = trt or SimulatedTensorRT(device)
    return TensorRTSession(plan, flavour_of(trt), on_fake_driver(device, binding), **options)


def tiles(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (2, count, 3, TILE, TILE), np.uint8)


def in_another_thread(call: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def in_order(session: Any, batches: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """Results with as many batches under way as the session takes, as `predict` does."""
    results, under_way = [], []
    for batch in batches:
        under_way.append(session.submit(*batch))
        if len(under_way) == session.slots:
            results.append(under_way.pop(0)())
    return results + [result() for result in under_way]


@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("kind", ["copies", "integrated", "without graphs", "capture fails", "pycuda", "rtx"])
def test_the_bytes_of_onnx_runtime(model: Path, plan: Path, slots: int, kind: str, tmp_path: Path) -> None:
    if kind == "rtx":
        plan = tmp_path / "m.plan"
        write(plan, model, flavour="rtx")
    batches = [tiles(count, seed) for seed, count in enumerate((*[4] * 10, 1, 4, 4, 3, 3, 2, 4))]
    with open_session(model, threads=1) as reference:
        wanted = [reference.run(*batch) for batch in batches]
    binding = "pycuda" if kind == "pycuda" else "cuda-python"
    for seed in SEEDS:
        device = FakeDevice(seed, integrated=kind == "integrated", capturable=kind != "capture fails")
        trt = (SimulatedRTX if kind == "rtx" else SimulatedTensorRT)(device)
        options = {"slots": slots, "graphs": kind != "without graphs"}
        with nothing_left(device, trt), opened(plan, device, trt, binding, **options) as session:
            for got, expected in zip(in_order(session, batches), wanted, strict=True):
                assert got.tobytes() == expected.tobytes()
            assert {stage for stage, _ in session.timings} == {"copy_in", "infer", "copy_out"}
            assert all(milliseconds >= 0 for _, milliseconds in session.timings)
            del session
        assert (device.launches > 0) == (kind in ("copies", "integrated"))
        assert (device.copies > 0) == (kind != "integrated")


PLANTED = {
    "inference does not wait for its input": ("        cuda.wait(infer, in_end)\n", ""),
    "copy out does not wait for the inference": ("        cuda.wait(copy_out, end)\n", ""),
    "the host does not wait for the result": ("synchronize(slot.events[-1])\n        for", "enter()\n        for"),
    "a slot is taken while it is under way": ("        slot.busy = True\n", ""),
    "the result is a view of the slot": (".reshape(shape).copy()\n", ".reshape(shape)\n"),
    "memory is freed under work": ("            self._wait_for_all()\n", "            pass\n"),
    "TensorRT outlives the CUDA context": (
        "        self._contexts = self._engine = self._runtime = ", "        self._contexts = self._engine = "
    ),
    "the context is not entered in the thread that takes the result": (
        "        self._cuda.enter()\n        self._cuda.synchronize", "        self._cuda.synchronize"
    ),
    "memory is copied although it is shared": (
        "        if not cuda.gpu.integrated:\n            for memory", "        if True:\n            for memory"
    ),
    "the result is copied although memory is shared": (
        "        if not cuda.gpu.integrated:\n            cuda.copy_out", "        if True:\n            cuda.copy_out"
    ),
    "a batch is smaller than the profile": ("max(len(before), self._plan_card.batches.least)", "len(before)"),
    "a batch is larger than the profile": ("= self._plan_card.batches.most\n", "= 1 + self._plan_card.batches.most\n"),
    "the runtime cache is not attached": ("            config.set_runtime_cache(self._runtime_cache)\n", ""),
    "TensorRT-RTX makes no graphs": ("            config.cuda_graph_strategy =", "            strategy ="),
}  # fmt: skip
PLANTED_IN_CONTEXTS = {
    "graphs outlive their batch size": ("        sized.graphs.clear()\n        sized.batch", "        sized.batch"),
    "a graph is released under way": ("            self._cuda.synchronize(sized.finished)\n", "            pass\n"),
    "a graph is captured before a run": ("if sized.warm else None", "if not sized.warm else None"),
    "graphs are kept": ("        self._cuda.release(*sized.graphs.values())\n        sized", "        sized"),
    "a slot runs into another's buffers": (
        "            sized.context.set_tensor_address(", "            sized.warm or sized.context.set_tensor_address("
    ),
    "slots share a graph": ("sized.graphs.get(addresses)\n", "next(iter(sized.graphs.values()), None)\n"),
    "the shape of the batch before is kept": (
        "if sized.batch == batch), None)", "if sized.batch), None)"
    ),
    "an event is kept": ("*sized.graphs.values(), sized.finished)", "*sized.graphs.values())"),
}  # fmt: skip
ALL_PLANTED = {
    **{bug: (tensorrt_module, *change) for bug, change in PLANTED.items()},
    **{bug: (contexts_module, *change) for bug, change in PLANTED_IN_CONTEXTS.items()},
}


def shows(session_class: Any, plans_by_kind: dict[str, Path], model: Path, seed: int) -> bool:
    """Whether a session does anything wrong, with copies, with shared memory, with a narrow profile, or by RTX."""
    batches = [tiles(count, number) for number, count in enumerate((*[1] * 3, *[4] * 5, 2, 2, 3, 3, 1, 4, 5))]
    with open_session(model, threads=1) as reference:
        wanted = [reference.run(*batch) for batch in batches]
    for kind, plan in plans_by_kind.items():
        device = FakeDevice(seed, integrated=kind == "integrated")
        trt = (SimulatedRTX if kind == "rtx" else SimulatedTensorRT)(device)
        cuda = on_fake_driver(device)
        try:
            with nothing_left(device, trt), session_class(plan, flavour_of(trt), cuda, slots=2) as session:
                got = in_order(session, batches)
                in_another_thread(session.submit(*batches[0]))
                session.submit(*batches[0])  # left under way when the session closes
                del session
        except (AssertionError, SessionError):
            return True
        if any(g.tobytes() != w.tobytes() for g, w in zip(got, wanted, strict=True)):
            return True
    return False


@pytest.fixture(scope="module")
def plans_by_kind(model: Path, plan: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    write(folder / "rtx.plan", model, flavour="rtx")
    write(folder / "narrow.plan", model, batches=Batches(2, 2, 3))
    return {"copies": plan, "integrated": plan, "narrow": folder / "narrow.plan", "rtx": folder / "rtx.plan"}


@pytest.mark.parametrize("bug", ALL_PLANTED)
def test_a_planted_bug_is_caught(bug: str, plans_by_kind: dict[str, Path], model: Path) -> None:
    module, before, after = ALL_PLANTED[bug]
    copy = altered(module, before, after)
    if module is contexts_module:
        session_module = altered(tensorrt_module, "import Contexts,", "import Contexts as _,")
        session_module.Contexts = copy.Contexts
    else:
        session_module = copy
    assert any(shows(session_module.TensorRTSession, plans_by_kind, model, seed) for seed in SEEDS)


def test_unaltered_nothing_shows(plans_by_kind: dict[str, Path], model: Path) -> None:
    """The check above can fail: without a planted bug no seed shows anything, a result left behind included."""
    for seed in SEEDS:
        assert not shows(TensorRTSession, plans_by_kind, model, seed)


def test_a_batch_size_has_its_graph_on_its_second_use(plan: Path) -> None:
    """Whatever came between, and each slot its own."""
    device = FakeDevice()
    with opened(plan, device, slots=1) as session:
        for count, graphs in ((4, 0), (1, 0), (2, 0), (3, 0), (4, 1), (1, 2), (4, 2), (1, 2), (2, 3)):
            session.run(*tiles(count))
            assert device.live["executable"] == graphs
        launches = device.launches
        for count in (4, 1, 2, 4, 1, 2):
            session.run(*tiles(count))
        assert device.launches == launches + 6
    assert not any(device.live.values())


def test_the_number_of_contexts_and_graphs_is_bounded(model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "wide.plan"
    write(plan, model, batches=Batches(1, 4, 8))
    device = FakeDevice()
    trt = SimulatedTensorRT(device)
    batches = [tiles(1 + number % 8, number) for number in range(32)]
    with open_session(model, threads=1) as reference, nothing_left(device, trt), opened(plan, device, trt) as session:
        wanted = [reference.run(*batch) for batch in batches]
        got = in_order(session, batches)
        assert all(g.tobytes() == w.tobytes() for g, w in zip(got, wanted, strict=True))
        assert trt.alive["_Context"] == trt.contexts == MOST_CONTEXTS
        assert device.live["executable"] <= MOST_CONTEXTS * session.slots
        del session


def test_without_room_for_a_second_context_one_does_all(model: Path, plan: Path) -> None:
    device = FakeDevice()
    trt = SimulatedTensorRT(device)
    trt.most_contexts = 1
    batches = [tiles(count, seed) for seed, count in enumerate((4, 1, 4, 1, 1, 4, 4))]
    with open_session(model, threads=1) as reference, nothing_left(device, trt), opened(plan, device, trt) as session:
        wanted = [reference.run(*batch) for batch in batches]
        assert [r.tobytes() for r in in_order(session, batches)] == [w.tobytes() for w in wanted]
        assert trt.contexts == 2  # it is asked for once
        assert session.notes == []
        del session
    assert device.launches > 0


def test_one_batch_size_needs_one_context(plan: Path) -> None:
    """A remainder at the end, too: memory for a second context is only taken for a size that comes again."""
    device = FakeDevice()
    trt = SimulatedTensorRT(device)
    with opened(plan, device, trt) as session:
        in_order(session, [tiles(count, count) for count in (4, 4, 4, 4, 4, 3)])
    assert trt.contexts == 1


def test_small_and_large_batches(model: Path, plan: Path, tmp_path: Path) -> None:
    """Below the profile a batch is filled up, above it is cut."""
    narrow = tmp_path / "narrow.plan"
    write(narrow, model, batches=Batches(2, 2, 2))
    with open_session(model, threads=1) as reference, opened(narrow, device := FakeDevice()) as session:
        for count in (1, 2, 5):
            batch = tiles(count)
            assert session.run(*batch).tobytes() == b"".join(
                reference.run(batch[0, i : i + 1], batch[1, i : i + 1]).tobytes() for i in range(count)
            )
    assert not any(device.live.values())


def test_out_of_device_memory_takes_smaller_batches(model: Path, plan: Path) -> None:
    one_pair = TILE * TILE * 10 * 2  # two dates and the result, on the host and on the device
    device = FakeDevice(memory=2 * 2 * one_pair)
    with opened(plan, device, slots=2) as session:
        assert session.max_batch == 2
        assert "Batches of 2 are taken instead of 4" in " ".join(session.notes)
        assert session.run(*tiles(4)).shape == (4, 1, TILE, TILE)
    assert not any(device.live.values())
    device = FakeDevice(memory=one_pair)
    with pytest.raises(SessionError, match="no memory left"):
        opened(plan, device, slots=2)
    assert not any(device.live.values())


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [
        ("deserialize", r"TensorRT 10\.13\.3 cannot load m\.plan: the magic tag does not match; build it again"),
        ("context", r"Simulated GPU has no room for the engine of m\.plan .*: build it with a smaller --batch"),
        ("shape", r"TensorRT refuses a batch of 1 for m\.plan"),
        ("execute", r"TensorRT failed on m\.plan: an illegal memory access"),
    ],
)
def test_failures_are_one_sentence_and_leave_nothing(fails: str, sentence: str, plan: Path) -> None:
    device = FakeDevice()
    trt = SimulatedTensorRT(device, fails=fails)
    with pytest.raises(SessionError, match=sentence), opened(plan, device, trt) as session:
        session.run(*tiles(1))
    assert {kind: count for kind, count in device.live.items() if count} == {}


def test_the_first_error_is_the_one_that_is_told(plan: Path) -> None:
    """After a fault every call fails, those of the clean-up too."""
    device = FakeDevice(5)
    trt = SimulatedTensorRT(device, fails="execute", after=2)
    trt.sticky = True
    with pytest.raises(SessionError, match="illegal memory"), opened(plan, device, trt, graphs=False) as session:
        in_order(session, [tiles(4, seed) for seed in range(8)])


def test_a_failure_half_way_leaves_nothing(plan: Path) -> None:
    device = FakeDevice(5)
    trt = SimulatedTensorRT(device, fails="execute", after=2)
    with (
        pytest.raises(SessionError, match="illegal memory"),
        opened(plan, device, trt, slots=4, graphs=False) as session,
    ):
        in_order(session, [tiles(4, seed) for seed in range(8)])
    assert {kind: count for kind, count in device.live.items() if count} == {}


def test_a_plan_for_elsewhere_is_refused_before_tensorrt_sees_it(model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "m.plan"
    write(plan, model, target=Target("tensorrt", "10.3.0", plans.this_system(), ("8.6",), GPU_WORDS))
    device = FakeDevice()
    trt = SimulatedTensorRT(device)
    trt.Runtime = lambda log: pytest.fail("TensorRT was asked")  # type: ignore[method-assign]
    with pytest.raises(SessionError, match=r"it was built for TensorRT 10\.3\.0, here is 10\.13\.3"):
        opened(plan, device, trt)
    assert device.live["context"] == 0


def test_a_plan_that_is_no_schanger(model: Path, tmp_path: Path) -> None:
    import onnx

    other = onnx.load(str(model))
    other.graph.output[0].name = "score"
    other.graph.node[-1].output[0] = "score"
    plan = tmp_path / "m.plan"
    write(plan, model, content=simulated_plan(other.SerializeToString(), Batches(1, 2, 4)))
    with pytest.raises(SessionError, match=r"breaks the model contract, it has before .*, score"):
        opened(plan, device := FakeDevice())
    assert device.live["context"] == 0


def test_what_is_not_allowed(plan: Path) -> None:
    with pytest.raises(SessionError, match="slots must be at least 1"):
        opened(plan, FakeDevice(), slots=0)
    session = opened(plan, FakeDevice(), slots=1)
    good = tiles(2)
    for bad in (good.astype(np.int8), good[:, :, :, :16], good[:, :0]):
        with pytest.raises(SessionError, match=r"takes uint8 tiles \(N, 3, 32, 32\), not"):
            session.run(*bad)
    with pytest.raises(SessionError, match=r"takes uint8 tiles"):
        session.run(good[0], good[1, :1])
    result = session.submit(*good)
    with pytest.raises(SessionError, match="all 1 slots are under way"):
        session.submit(*good)
    result()
    with pytest.raises(SessionError, match="was taken, or the session is closed"):
        result()
    session.close()
    session.close()
    with pytest.raises(SessionError, match="the session is closed"):
        session.run(*good)


def test_rtx_keeps_its_kernels_beside_the_plan(model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "m.plan"
    write(plan, model, flavour="rtx")
    cache = plan.with_name(plan.name + RUNTIME_CACHE_SUFFIX)
    for expected in (b"k", b"kk"):
        device = FakeDevice()
        with opened(plan, device, SimulatedRTX(device)) as session:
            assert not cache.exists() or cache.read_bytes() == expected[:-1]
            session.run(*tiles(2))
        assert cache.read_bytes() == expected
    tmp_path.chmod(0o500)
    try:
        device = FakeDevice()
        opened(plan, device, SimulatedRTX(device)).close()
    finally:
        tmp_path.chmod(0o700)


def test_nothing_leaks_over_many_runs_and_cycles(plan: Path) -> None:
    device = FakeDevice()
    trt = SimulatedTensorRT(device)
    batch = tiles(1)
    with nothing_left(device, trt):
        with opened(plan, device, trt) as session:
            session.run(*batch)
            before = device.live - Counter(executable=device.live["executable"])
            for _ in range(1000):
                session.run(*batch)
            assert device.live - Counter(executable=device.live["executable"]) == before
            assert device.live["executable"] <= session.slots
        del session
    for _ in range(100):
        with nothing_left(device, trt):
            opened(plan, device, trt).close()


def test_another_thread_may_run_it(plan: Path) -> None:
    import threading

    failures: list[BaseException] = []
    with opened(plan, FakeDevice()) as session:

        def work() -> None:
            try:
                session.run(*tiles(2))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert not failures
