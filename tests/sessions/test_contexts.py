"""Execution contexts and CUDA graphs by batch size, on the simulated machine."""

from __future__ import annotations

from pathlib import Path

from fake_device import FakeDevice
from simulated_session import in_order, opened, tiles, write
from simulator import GPU_WORDS, SimulatedTensorRT, nothing_left

from schanger_edge.model.plan import Batches, Target, this_system
from schanger_edge.sessions import open_session
from schanger_edge.sessions.tensorrt.contexts import MOST_CONTEXTS


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


def test_before_version_10_one_context_does_all(model: Path, tmp_path: Path) -> None:
    """A second one would have no shape profile there."""
    plan = tmp_path / "old.plan"
    write(plan, model, target=Target("tensorrt", "8.6.2", this_system(), ("8.6",), GPU_WORDS))
    device = FakeDevice()
    trt = SimulatedTensorRT(device, "8.6.2")
    batches = [tiles(count, seed) for seed, count in enumerate((4, 1, 4, 1, 1, 4, 4))]
    with open_session(model, threads=1) as reference, nothing_left(device, trt), opened(plan, device, trt) as session:
        wanted = [reference.run(*batch) for batch in batches]
        assert [r.tobytes() for r in in_order(session, batches)] == [w.tobytes() for w in wanted]
        del session
    assert trt.contexts == 1
    assert device.launches > 0


def test_one_batch_size_needs_one_context(plan: Path) -> None:
    """A remainder at the end, too: memory for a second context is only taken for a size that comes again."""
    device = FakeDevice()
    trt = SimulatedTensorRT(device)
    with opened(plan, device, trt) as session:
        in_order(session, [tiles(count, count) for count in (4, 4, 4, 4, 4, 3)])
    assert trt.contexts == 1
