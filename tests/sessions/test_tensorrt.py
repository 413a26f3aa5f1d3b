"""The TensorRT session on a simulated GPU: the bytes of ONNX Runtime, whatever the order in which streams go on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fake_cuda_bindings import FakeCudaBindings
from fake_device import FakeDevice
from fake_memory import Code, RefusedError
from simulated_builder import simulated_plan
from simulated_session import TILE, flavour_of, in_another_thread, in_order, opened, tiles, write
from simulator import GPU_WORDS, SimulatedRTX, SimulatedTensorRT, nothing_left, on_fake_driver

from schanger_edge.errors import SessionError
from schanger_edge.model.plan import Batches, Target, this_system
from schanger_edge.sessions import open_session
from schanger_edge.sessions.tensorrt.session import RUNTIME_CACHE_SUFFIX, TensorRTSession

SEEDS = range(12)


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
            assert ("cannot be captured as a CUDA graph" in " ".join(session.notes)) == (kind == "capture fails")
            assert len(session.notes) <= 1
            assert {stage for stage, _ in session.timings} == {"copy_in", "infer", "copy_out"}
            assert all(milliseconds >= 0 for _, milliseconds in session.timings)
            del session
        assert (device.launches > 0) == (kind in ("copies", "integrated"))
        assert kind != "capture fails" or device.captures == 1  # it is not tried again
        assert (device.copies > 0) == (kind != "integrated")


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
        assert "Using batches of 2 instead of 4" in " ".join(session.notes)
        assert session.run(*tiles(4)).shape == (4, 1, TILE, TILE)
    assert not any(device.live.values())
    device = FakeDevice(memory=one_pair)
    with pytest.raises(SessionError, match="is out of memory"):
        opened(plan, device, slots=2)
    assert not any(device.live.values())


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [
        ("deserialize", r"TensorRT 10\.13\.3 cannot load m\.plan: the magic tag does not match; rebuild it"),
        ("context", r"Simulated GPU has no memory for the engine of m\.plan .*: build it with a smaller --batch"),
        ("shape", r"TensorRT rejects a batch of 1 for m\.plan"),
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


def test_a_driver_without_times(model: Path, plan: Path) -> None:
    """cuda-bindings 13 on a driver below 12.8: batches come, their times do not, and it is said once."""
    device = FakeDevice()
    cuda = on_fake_driver(device, driver=FakeCudaBindings(device, 12020))
    trt = SimulatedTensorRT(device)
    batches = [tiles(2, seed) for seed in range(5)]
    with open_session(model, threads=1) as reference, TensorRTSession(plan, flavour_of(trt), cuda) as session:
        for got, batch in zip(in_order(session, batches), batches, strict=True):
            assert got.tobytes() == reference.run(*batch).tobytes()
        assert list(session.timings) == []
        (note,) = session.notes
        assert note.startswith(
            "times on the GPU are not measured: the driver for CUDA 13.0 is older than cuda-bindings"
        )


def test_a_batch_that_fails_leaves_its_slot_free(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(plan, device := FakeDevice(), slots=1) as session:
        result = session.submit(*tiles(1))
        monkeypatch.setattr(device, "synchronize", refuse)
        with pytest.raises(SessionError, match="CUDA_ERROR_NOT_READY"):
            result()
        monkeypatch.undo()
        assert session.run(*tiles(1)).shape == (1, 1, TILE, TILE)


def refuse(*_: object) -> None:
    raise RefusedError(Code.CUDA_ERROR_NOT_READY)


def test_a_plan_for_elsewhere_is_refused_before_tensorrt_sees_it(model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "m.plan"
    write(plan, model, target=Target("tensorrt", "10.3.0", this_system(), ("8.6",), GPU_WORDS))
    device = FakeDevice()
    trt = SimulatedTensorRT(device)
    trt.Runtime = lambda log: pytest.fail("TensorRT was asked")  # type: ignore[method-assign]
    with pytest.raises(SessionError, match=r"it was built for TensorRT 10\.3\.0, this is 10\.13\.3"):
        opened(plan, device, trt)
    assert device.live["context"] == 0


def test_a_plan_that_is_no_schanger(model: Path, tmp_path: Path) -> None:
    import onnx

    other = onnx.load(str(model))
    other.graph.output[0].name = "score"
    other.graph.node[-1].output[0] = "score"
    plan = tmp_path / "m.plan"
    write(plan, model, content=simulated_plan(other.SerializeToString(), Batches(1, 2, 4)))
    with pytest.raises(SessionError, match=r"breaks the model contract \(it has before .*, score"):
        opened(plan, device := FakeDevice())
    assert device.live["context"] == 0


def test_what_is_not_allowed(plan: Path) -> None:
    with pytest.raises(SessionError, match="slots must be at least 1"):
        opened(plan, device := FakeDevice(), slots=0)
    assert device.live["context"] == 0
    session = opened(plan, FakeDevice(), slots=1)
    good = tiles(2)
    for bad in (good.astype(np.int8), good[:, :, :, :16], good[:, :0]):
        with pytest.raises(SessionError, match=r"takes uint8 tiles \(N, 3, 32, 32\), not"):
            session.run(*bad)
    with pytest.raises(SessionError, match=r"takes uint8 tiles"):
        session.run(good[0], good[1, :1])
    result = session.submit(*good)
    with pytest.raises(SessionError, match="all 1 slots are in use"):
        session.submit(*good)
    result()
    other = session.submit(*good)
    with pytest.raises(SessionError, match="was already taken, or the session is closed"):
        result()  # another batch is under way in its slot
    other()
    with pytest.raises(SessionError, match="was already taken, or the session is closed"):
        other()
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
            assert cache.read_bytes() == expected  # before it closes: a run may be killed
        assert cache.read_bytes() == expected
    tmp_path.chmod(0o500)
    try:
        device = FakeDevice()
        opened(plan, device, SimulatedRTX(device)).close()
    finally:
        tmp_path.chmod(0o700)


def test_an_older_rtx_that_changes_kernels_says_so(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "m.plan", model, flavour="rtx")
    for has_specialization, notes in ((True, 0), (False, 1)):
        device = FakeDevice()
        trt = SimulatedRTX(device)
        trt.has_specialization = has_specialization
        with nothing_left(device, trt), opened(tmp_path / "m.plan", device, trt) as session:
            assert session.run(*tiles(2)).shape == (2, 1, TILE, TILE)
            assert len(session.notes) == notes
            assert all("changes kernels while it runs" in note for note in session.notes)
            del session


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


def test_another_thread_may_run_it(model: Path, plan: Path) -> None:
    batch = tiles(2)
    with open_session(model, threads=1) as reference, opened(plan, FakeDevice()) as session:
        assert in_another_thread(lambda: session.run(*batch)).tobytes() == reference.run(*batch).tobytes()
