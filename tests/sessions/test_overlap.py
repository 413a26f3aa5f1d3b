"""Batches overlap: the host waits for results alone, and a batch is copied beside the inference of another."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_device import FakeDevice
from helpers import Overlap
from simulated_session import flavour_of, opened, tiles
from simulator import SimulatedTensorRT, on_fake_driver

from schanger_edge.sessions import open_session
from schanger_edge.sessions.tensorrt.session import TensorRTSession

SEEDS = range(12)


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_submit_waits_for_nothing(slots: int, model: Path, plan: Path) -> None:
    """On a device that does nothing before the host waits, all slots are under way, with graphs and before them."""
    device = FakeDevice(idle=True)
    trt = SimulatedTensorRT(device)
    batches = [tiles(2, seed) for seed in range(slots)]
    with open_session(model, threads=1) as reference, opened(plan, device, trt, slots=slots) as session:
        wanted = [reference.run(*batch).tobytes() for batch in batches]
        for _ in range(3):
            done = device.done
            under_way = [session.submit(*batch) for batch in batches]
            assert device.done == done
            results = [result().tobytes() for result in reversed(under_way)]  # in any order
            assert results[::-1] == wanted
    assert device.launches >= slots


def leads(plan: Path, seed: int, streams: int = 3) -> list[float]:
    device = FakeDevice(seed)
    watched = Overlap(on_fake_driver(device), streams)
    trt = SimulatedTensorRT(device)
    with TensorRTSession(plan, flavour_of(trt), watched, slots=2) as session:
        return watched.leads(session, tiles(4), rounds=4)


def test_a_batch_is_copied_beside_the_inference_of_another(plan: Path) -> None:
    assert max(lead for seed in SEEDS for lead in leads(plan, seed)) > 0


def test_over_one_stream_nothing_overlaps(plan: Path) -> None:
    """The measure above can fail."""
    assert max(lead for seed in SEEDS for lead in leads(plan, seed, streams=1)) < 0
