"""Plans on a real GPU: `pytest -m gpu` on a machine that has one, with TensorRT or TensorRT-RTX installed."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import Overlap
from numpy.typing import NDArray

from schanger_edge.datasets.draw import draw_tiles
from schanger_edge.datasets.tile_pool import sources_or_rendered
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.model.bundled import model_path
from schanger_edge.sessions import open_session
from schanger_edge.sessions.gpu import driver_present
from schanger_edge.sessions.tensorrt.build import build
from schanger_edge.sessions.tensorrt.cuda import open_cuda
from schanger_edge.sessions.tensorrt.flavour import load_flavour
from schanger_edge.sessions.tensorrt.session import TensorRTSession

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not driver_present(), reason="needs an NVIDIA GPU"),
]
TILES = 16
PARITY = 2e-2


@pytest.fixture(scope="module")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    convert = pytest.importorskip("schanger_export.convert").convert
    target = tmp_path_factory.mktemp("model") / "small.fp16.onnx"
    shutil.copy(model_path(None), target.with_name("small.onnx"))  # where types are weak, a plan is built from it
    convert(model_path(None), target)
    return target


@pytest.fixture(scope="module")
def plan(fp16: Path) -> Path:
    return build(fp16, fp16.with_suffix(".plan")).plan


def opened(plan: Path, slots: int = 2, graphs: bool = True) -> TensorRTSession:
    return TensorRTSession(plan, load_flavour(), open_cuda(), slots, graphs)


@pytest.fixture
def session(plan: Path) -> Iterator[TensorRTSession]:
    with opened(plan) as session:
        yield session


def test_parity_and_f1(session: TensorRTSession) -> None:
    with open_session(model_path(None)) as reference:
        (tiles,) = draw_tiles(
            sources_or_rendered(()), session.card.tile, (TILES,), 36,
            lambda tile: reference.run(tile.before[None], tile.after[None])[0, 0] > 0.5,
        )  # fmt: skip
        found = Agreement()
        for tile in tiles:
            inputs = tile.before[None], tile.after[None]
            found.add(reference.run(*inputs)[0, 0], session.run(*inputs)[0, 0], tile.label)
    assert found.largest <= PARITY
    assert abs(found.f1_loss) <= 0.1


def batch(session: TensorRTSession, count: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (2, count, 3, session.card.tile, session.card.tile), np.uint8)


def test_graphs_change_nothing(plan: Path) -> None:
    with opened(plan, graphs=True) as one, opened(plan, graphs=False) as other:
        for count in (4, 4, 4, 1, 1, 4, 4):
            tiles = batch(one, count)
            assert (one.run(*tiles) == other.run(*tiles)).all()


def test_slots_overlap(plan: Path) -> None:
    """By the device's own clock a batch's copies begin before the inference of the batch before it ends."""
    for streams in (3, 1):
        watched = Overlap(open_cuda(), streams)
        with TensorRTSession(plan, load_flavour(), watched, slots=2) as session:
            if watched.gpu.integrated:
                pytest.skip("nothing is copied where CPU and GPU share memory")
            tiles = batch(session, session.max_batch)
            watched.leads(session, tiles, rounds=4)  # graphs are made meanwhile
            overlaps = max(watched.leads(session, tiles, rounds=32)) > 0
        assert overlaps == (streams == 3)  # over one stream the same measure shows none


def free_memory() -> int:
    driver = pytest.importorskip("cuda.bindings.driver")
    gc.collect()
    return int(driver.cuMemGetInfo()[1])


def test_nothing_leaks(plan: Path) -> None:
    cuda = open_cuda()
    opened(plan).close()
    cuda.enter()
    before = free_memory()
    with opened(plan) as session:
        tiles = batch(session, 1)
        for _ in range(1000):
            session.run(*tiles)
    for _ in range(100):
        opened(plan).close()
    cuda.enter()
    assert before - free_memory() < 8 << 20
    cuda.close()
