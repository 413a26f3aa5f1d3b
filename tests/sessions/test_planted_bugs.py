"""Bugs planted in the TensorRT session, each of which shows on the simulated machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_device import FakeDevice
from helpers import altered
from simulated_session import flavour_of, in_another_thread, in_order, tiles, write
from simulator import GPU_WORDS, SimulatedRTX, SimulatedTensorRT, nothing_left, on_fake_driver

from schanger_edge.errors import SessionError
from schanger_edge.sessions import open_session
from schanger_edge.sessions.tensorrt import contexts as contexts_module
from schanger_edge.sessions.tensorrt import plans
from schanger_edge.sessions.tensorrt import session as tensorrt_module
from schanger_edge.sessions.tensorrt.builder import Batches
from schanger_edge.sessions.tensorrt.plans import Target
from schanger_edge.sessions.tensorrt.session import TensorRTSession

SEEDS = range(12)

PLANTED = {
    "inference does not wait for its input": ("        cuda.wait(infer, in_end)\n", ""),
    "copy out does not wait for the inference": ("        cuda.wait(copy_out, end)\n", ""),
    "the host does not wait for the result": ("synchronize(slot.events[-1])\n        for", "enter()\n        for"),
    "a slot is taken while it is under way": ("        slot.ticket = ticket = object()\n", "        ticket = None\n"),
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
    "contexts where the profile is not shared": ("        if len(self._contexts) >= self._most:\n", "        if 0:\n"),
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
    """Whether a session does anything wrong, on any kind of machine and plan."""
    batches = [tiles(count, number) for number, count in enumerate((*[1] * 3, *[4] * 5, 2, 2, 3, 3, 1, 4, 5))]
    with open_session(model, threads=1) as reference:
        wanted = [reference.run(*batch) for batch in batches]
    for kind, plan in plans_by_kind.items():
        device = FakeDevice(seed, integrated=kind == "integrated")
        trt = (
            SimulatedRTX(device)
            if kind == "rtx"
            else SimulatedTensorRT(device, "8.6.2" if kind == "old" else "10.13.3")
        )
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
    old = Target("tensorrt", "8.6.2", plans.this_system(), ("8.6",), GPU_WORDS)
    write(folder / "old.plan", model, target=old)
    write(folder / "rtx.plan", model, flavour="rtx")
    write(folder / "narrow.plan", model, batches=Batches(2, 2, 3))
    others = {kind: folder / f"{kind}.plan" for kind in ("narrow", "old", "rtx")}
    return {"copies": plan, "integrated": plan, **others}


@pytest.mark.parametrize("bug", ALL_PLANTED)
def test_a_planted_bug_is_caught(
    bug: str, plans_by_kind: dict[str, Path], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, before, after = ALL_PLANTED[bug]
    copy = altered(module, before, after)
    if module is contexts_module:
        monkeypatch.setattr(tensorrt_module, "Contexts", copy.Contexts)
    session_class = TensorRTSession if module is contexts_module else copy.TensorRTSession
    assert any(shows(session_class, plans_by_kind, model, seed) for seed in SEEDS)


def test_unaltered_nothing_shows(plans_by_kind: dict[str, Path], model: Path) -> None:
    """The check above can fail: without a planted bug no seed shows anything, a result left behind included."""
    for seed in SEEDS:
        assert not shows(TensorRTSession, plans_by_kind, model, seed)
