"""What the tests of the TensorRT session share: plans, sessions and tiles on a simulated machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from fake_device import FakeDevice
from numpy.typing import NDArray
from simulated_builder import simulated_plan
from simulator import GPU_WORDS, SimulatedRTX, SimulatedTensorRT, on_fake_driver

from schanger_edge.model.file import read_model
from schanger_edge.model.plan import Batches, PlanCard, Target, this_system
from schanger_edge.sessions.tensorrt.flavour import Flavour
from schanger_edge.sessions.tensorrt.plans import write_plan
from schanger_edge.sessions.tensorrt.session import TensorRTSession

TILE = 32


def write(path: Path, model: Path, content: bytes | None = None, flavour: str = "tensorrt", **card: Any) -> None:
    """A simulated plan of a model with its sidecar."""
    version = {"tensorrt": "10.13.3", "rtx": "1.7.1"}[flavour]
    target = Target(flavour, version, this_system(), ("8.6",), "" if flavour == "rtx" else GPU_WORDS)
    facts = {"typing": "strong", "flags": (), "batches": Batches(1, 2, 4), "target": target, **card}
    file = read_model(model)
    content = content or simulated_plan(model.read_bytes(), facts["batches"])
    write_plan(path, content, PlanCard("m.onnx", file.sha256, file.sha256, file.card, **facts))


def flavour_of(trt: SimulatedTensorRT) -> Flavour:
    return Flavour("rtx" if isinstance(trt, SimulatedRTX) else "tensorrt", trt, trt.__version__)


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
