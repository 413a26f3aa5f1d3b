"""The execution context and its CUDA graphs, on the simulated machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_device import FakeDevice
from simulated_session import in_order, opened, tiles, write
from simulator import GPU_WORDS, SimulatedTensorRT, nothing_left

from schanger_edge.model.plan import Batches, Target, this_system
from schanger_edge.sessions import open_session


def test_a_batch_size_has_its_graph_when_it_comes_twice_in_a_row(plan: Path) -> None:
    """And loses it to another size."""
    device = FakeDevice()
    with opened(plan, device, slots=1) as session:
        for count, graphs in ((4, 0), (4, 1), (4, 1), (1, 0), (4, 0), (4, 1), (3, 0), (3, 1)):
            session.run(*tiles(count))
            assert device.live["executable"] == graphs
        assert (device.captures, device.launches) == (3, 4)
    assert not any(device.live.values())


@pytest.mark.parametrize("version", ["8.6.2", "10.13.3"])
def test_scratch_memory_is_held_once_whatever_the_batches(version: str, model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "wide.plan"
    target = Target("tensorrt", version, this_system(), ("8.6",), GPU_WORDS)
    write(plan, model, batches=Batches(1, 4, 8), target=target)
    device = FakeDevice()
    trt = SimulatedTensorRT(device, version)
    batches = [tiles(1 + number * 5 % 8, number) for number in range(16) for _ in range(2)]
    with open_session(model, threads=1) as reference, nothing_left(device, trt), opened(plan, device, trt) as session:
        wanted = [reference.run(*batch) for batch in batches]
        got = in_order(session, batches)
        assert all(g.tobytes() == w.tobytes() for g, w in zip(got, wanted, strict=True))
        assert trt.most_scratch_held == 8 * trt.scratch
        assert device.launches > 0
        assert device.live["executable"] <= session.slots
        del session
    assert trt.scratch_held == 0
