"""`run` on a simulated GPU: the files that the CPU writes at the same batch size, and what is said on the way."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from fake_device import FakeDevice
from fake_memory import Code
from helpers import Ground, Tiff
from simulated_machine import Machine
from tensorrt_names import VERSIONS, Exactly
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.errors import ModelError, SessionError
from schanger_edge.host import board
from schanger_edge.model.plan import Batches
from schanger_edge.run.detect import detect
from schanger_edge.sessions import Session, open_session
from schanger_edge.sessions.devices import open_on
from schanger_edge.sessions.doctor import doctor
from schanger_edge.sessions.engine import SessionOptions
from schanger_edge.sessions.tensorrt.build import build
from schanger_edge.sessions.tensorrt.options import BuildOptions

TILE = 64


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path / "cache")


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=3, tile=TILE, halo=8)
    return tmp_path / "m.onnx"


@pytest.fixture
def pair(make_tiff: Tiff, ground: Ground) -> tuple[Path, Path]:
    hole = ground(200, 330, seed=1)
    hole[:, 60:160, 90:200] = 0
    return make_tiff("a.tif", ground(200, 330)), make_tiff("b.tif", hole, nodata=0)


@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("slots", [1, 2, 4])
def test_the_files_of_the_cpu(batch: int, slots: int, machine: Machine, model: Path, pair: Any, tmp_path: Path) -> None:
    detect(*pair, tmp_path / "cpu", model=model, batch_size=batch)
    with open_on(model, "cuda", SessionOptions(slots=slots)) as session:
        on_gpu = detect(*pair, tmp_path / "gpu", batch_size=batch, session=session)
    assert on_gpu.summary["tiles"]["run"] % batch or batch == 1  # a remainder is among them
    for name in ("probability.tif", "change.tif"):
        assert (tmp_path / "gpu" / name).read_bytes() == (tmp_path / "cpu" / name).read_bytes()
    assert f"{slots} slots" in on_gpu.summary["device"]
    assert not any(machine.device.live.values())


class Counting:
    """A session that counts batches under way, whenever one is begun."""

    def __init__(self, session: Session) -> None:
        self._session, self._under_way = session, 0
        self.busy: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def submit(self, *dates: Any) -> Callable[[], Any]:
        result = self._session.submit(*dates)
        self._under_way += 1
        self.busy.append(self._under_way)

        def take() -> Any:
            self._under_way -= 1
            return result()

        return take


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_run_fills_all_slots(slots: int, machine: Machine, model: Path, pair: Any, tmp_path: Path) -> None:
    with open_on(model, "cuda", SessionOptions(slots=slots)) as session:
        counting: Any = Counting(session)
        detect(*pair, tmp_path / "out", batch_size=2, session=counting)
    busy = counting.busy
    assert max(busy) == slots
    assert busy[slots - 1 :] == [slots] * (len(busy) - slots + 1)  # full from the beginning to the end
    assert len(busy) > slots


def test_first_use_builds_and_says_so(machine: Machine, model: Path, pair: Any, tmp_path: Path) -> None:
    command = ["run", *map(str, pair), "-o", str(tmp_path / "out"), "--model", str(model)]
    first = CliRunner().invoke(app, command, catch_exceptions=False)  # --device auto
    assert first.exit_code == 0
    assert f"built {tmp_path / 'cache' / 'engines'}" in first.output
    assert "once for this GPU: TensorRT 10.13.3 takes the types from m.onnx (fp32)" in first.output
    second = CliRunner().invoke(app, [*command, "--device", "cuda"], catch_exceptions=False)
    assert "found " in second.output
    assert "TensorRT 10.13.3 (Simulated GPU, batches 1 to 8, 2 slots)" in second.output
    assert '"batch": 4' in (tmp_path / "out" / "summary.json").read_text()  # what the plan is fastest at
    assert machine.builds == 1


def test_what_was_used_is_in_the_summary(machine: Machine, model: Path, pair: Any, tmp_path: Path) -> None:
    used = detect(*pair, tmp_path / "out", model=model, batch_size=20, device="auto").summary["engine"]
    assert used["device"].startswith("TensorRT 10.13.3 (Simulated GPU")
    assert used["chosen"] == "auto: the first choice is available"
    assert (used["precision"], used["typing"], used["flags"], used["tf32"]) == ("fp32", "strong", (), True)
    assert used["batch"] == 8  # the plan takes no more
    assert set(used["stages"]) == {"copy_in", "infer", "copy_out"}
    for times in used["stages"].values():
        assert times["batches"] >= 2
        assert 0 <= times["median_ms"] <= times["p95_ms"]
    assert "once for this GPU" in used["notes"][0]
    on_cpu = detect(*pair, tmp_path / "out", model=model, batch_size=20, device="cpu").summary["engine"]
    assert (on_cpu["chosen"], on_cpu["typing"], on_cpu["batch"]) == ("device cpu, as requested", None, 20)
    assert on_cpu["stages"] == {}


def test_a_smaller_batch_is_in_the_summary(machine: Machine, model: Path, pair: Any, tmp_path: Path) -> None:
    machine.trt.full_contexts = 2
    summary = detect(*pair, tmp_path / "out", model=model, device="cuda").summary
    assert summary["engine"]["batch"] == 2
    assert "A plan for batches of at most 2 is used instead" in " ".join(summary["engine"]["notes"])


def test_weak_types_are_in_the_summary(machine: Machine, model: Path, pair: Any, tmp_path: Path) -> None:
    machine.trt.__version__ = "8.6.2"
    used = detect(*pair, tmp_path / "out", model=model, device="cuda").summary["engine"]
    assert (used["typing"], used["chosen"]) == ("weak", "device cuda, as requested")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_uses_only_names_that_its_version_has(
    version: str, machine: Machine, model: Path, pair: Any, tmp_path: Path
) -> None:
    machine.trt.__version__ = version
    machine.install(Exactly("", version, machine.trt))
    result = detect(*pair, tmp_path / "out", model=model, device="cuda")
    assert result.summary["engine"]["device"].startswith(f"TensorRT {version} (Simulated GPU")
    assert result.summary["engine"]["typing"] == ("weak" if version == "8.6.2" else "strong")


@pytest.mark.parametrize("binding", ["cuda-python", "pycuda"])
def test_compare_with_a_plan(binding: str, machine: Machine, model: Path, tmp_path: Path) -> None:
    own = build(model, tmp_path / "own.plan", BuildOptions(Batches(1, 1, 1)))
    command = ["compare", str(model), str(own.plan), "--tiles", "3", "--cuda", binding]
    result = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "c.json")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (machine.device.launches > 0) == (binding == "cuda-python")  # pycuda has no graphs
    first, second = json.loads((tmp_path / "c.json").read_text())["engines"]
    assert (first["chosen"], first["stages"]) == ("device cpu, as requested", {})
    assert (second["chosen"], second["typing"]) == ("a plan only runs with TensorRT", "strong")
    assert second["stages"]["infer"]["batches"] == 3


def test_evaluate_on_the_gpu(machine: Machine, model: Path, tmp_path: Path, ground: Ground) -> None:
    for name, seed in (("A", 1), ("B", 2)):
        (tmp_path / "data/val" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "data/val" / name / "1.png"), ground(TILE, TILE, seed).transpose(1, 2, 0))
    (tmp_path / "data/val/label").mkdir()
    cv2.imwrite(str(tmp_path / "data/val/label/1.png"), np.full((TILE, TILE), 255, np.uint8))
    command = ["evaluate", str(tmp_path / "data"), "--split", "val", "--model", str(model)]
    command += ["--device", "cuda", "--cuda", "cuda-python", "-o", str(tmp_path / "e.json")]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "once for this GPU" in result.output
    written = json.loads((tmp_path / "e.json").read_text())
    assert written["device"] == written["engine"]["device"]
    assert written["engine"]["device"].startswith("TensorRT 10.13.3 (Simulated GPU")
    assert written["engine"]["stages"]["copy_out"]["batches"] == 1


def test_a_plan_by_name(machine: Machine, model: Path, pair: Any, tmp_path: Path) -> None:
    built = build(model, tmp_path / "own.plan")
    detect(*pair, tmp_path / "out", model=built.plan, device="auto")
    with pytest.raises(SessionError, match=r"own\.plan is a TensorRT plan, which only runs with --device cuda"):
        detect(*pair, tmp_path / "out", model=built.plan, device="cpu")
    machine.trt.__version__ = "10.16.0"
    with pytest.raises(SessionError, match=r"does not fit: it was built for TensorRT 10\.13\.3, this is 10\.16\.0"):
        open_session(built.plan, "cuda")


def test_a_plan_built_with_options_is_found(machine: Machine, model: Path, tmp_path: Path) -> None:
    own = build(model, None, BuildOptions(Batches(1, 1, 1), workspace=256))
    with open_session(model, "cuda") as session:
        assert session.model == own.plan
        assert session.max_batch == 1
    assert machine.builds == 1


def test_no_room_for_the_engine_builds_a_smaller_one(machine: Machine, model: Path) -> None:
    machine.trt.full_contexts = 2
    with open_session(model, "cuda") as session:
        assert session.max_batch == 2
        notes = " ".join(session.notes)
    assert machine.builds == 3
    assert "has no memory for the engine" in notes
    assert "A plan for batches of at most 2 is used instead" in notes
    assert not any(machine.device.live.values())
    machine.trt.full_contexts = 100
    with pytest.raises(SessionError, match="has no memory for the engine"):
        open_session(model, "cuda")


def test_no_room_to_load_a_plan_leaves_the_plan(machine: Machine, model: Path) -> None:
    """It may be good, and the memory be another program's for a while."""
    plan = build(model, None).plan
    written = plan.read_bytes(), plan.stat().st_mtime_ns
    machine.trt.fails = "load"
    with pytest.raises(SessionError, match=r"Simulated GPU has no memory to load .*\.plan \(.*OutOfMemory"):
        open_session(model, "cuda")
    assert machine.builds == 1
    machine.trt.fails = ""
    assert (plan.read_bytes(), plan.stat().st_mtime_ns) == written
    with open_session(model, "cuda") as session:
        assert session.max_batch == 8
        assert session.model == plan


def test_a_fault_of_the_device_leaves_the_plan(machine: Machine, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(model, None)
    monkeypatch.setattr(machine.driver, "cuStreamCreate", lambda flags: (Code.CUDA_ERROR_ILLEGAL_ADDRESS, None))
    with pytest.raises(SessionError, match="failed in cuStreamCreate"):
        open_session(model, "cuda")
    assert machine.builds == 1


def test_no_room_to_build_builds_for_smaller_batches(machine: Machine, model: Path) -> None:
    machine.trt.scratch, machine.trt.room = 300 << 20, 1 << 30
    with open_session(model, "cuda") as session:
        assert session.max_batch == 2
        notes = session.notes
    assert machine.trt.profiles == [Batches(1, 4, 8), Batches(1, 4, 4), Batches(1, 2, 2)]
    assert notes[0].startswith("there is too little memory to build for batches of 8 (IBuilder::buildSerializedNetwork")
    assert notes[1].endswith("a plan for batches of at most 2 is built instead.")
    machine.trt.room = 200 << 20
    machine.trt.__version__ = "10.16.0"
    with pytest.raises(SessionError, match=r"cannot build m\.onnx: .*OutOfMemory \(Requested size was 314572800 bytes"):
        open_session(model, "cuda")


def test_shared_memory_builds_with_care_and_copies_nothing(
    machine: Machine, model: Path, pair: Any, tmp_path: Path
) -> None:
    """Builder, engine and everything else share a few gigabytes there."""
    machine.plug_in(FakeDevice(integrated=True))
    detect(*pair, tmp_path / "cpu", model=model, batch_size=1)
    detect(*pair, tmp_path / "gpu", model=model, device="cuda")
    assert machine.trt.profiles == [Batches(1, 1, 1)]
    ((_, config),) = machine.trt.builds_asked
    assert (config.pools, config.builder_optimization_level) == ({"workspace": 64 << 20}, 3)  # tiles of 64 pixels
    assert (machine.device.copies, machine.device.faults) == (0, [])
    assert machine.device.launches > 0
    for name in ("probability.tif", "change.tif"):
        assert (tmp_path / "gpu" / name).read_bytes() == (tmp_path / "cpu" / name).read_bytes()


def test_another_power_mode_keeps_the_plan(machine: Machine, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes the number of multiprocessors; another board is another matter."""
    machine.plug_in(FakeDevice(integrated=True))
    monkeypatch.setattr(board, "board_name", lambda: "Orin Nano kit")
    built = build(model)
    assert (built.card.target.gpu, built.card.target.multiprocessors) == ("Simulated GPU, Orin Nano kit", 28)
    machine.driver.multiprocessors = 8
    with open_session(model, "cuda") as session:
        assert session.model == built.plan
        assert session.notes[1:] == [
            "the plan was built with 28 multiprocessors, and 8 are on now, as in another power mode: it runs, and "
            "`schanger-edge build --rebuild` may make a faster one."
        ]
    assert build(model).cached
    assert machine.builds == 1
    monkeypatch.setattr(board, "board_name", lambda: "AGX Orin kit")
    open_session(model, "cuda").close()
    assert machine.builds == 2


def test_another_version_builds_another_plan(machine: Machine, model: Path) -> None:
    open_session(model, "cuda").close()
    open_session(model, "cuda").close()
    assert machine.builds == 1
    machine.trt.__version__ = "10.16.0"
    open_session(model, "cuda").close()
    assert machine.builds == 2


def test_auto_says_why_it_is_the_cpu(machine: Machine, model: Path) -> None:
    machine.install(None, "tensorrt")
    machine.install(None, "tensorrt_rtx")
    with open_session(model, "auto") as session:
        assert session.device.startswith("ONNX Runtime")
        (note,) = session.notes
        assert note.startswith("running on the CPU (fp32): TensorRT is not installed: ")
        assert "pip install 'schanger-edge[tensorrt]'" in note
        assert "no CUDA provider here" in note
    machine.without_driver()
    with open_session(model, "auto") as session:
        assert session.notes == ["running on the CPU (fp32)"]


def test_a_driver_older_than_tensorrts_cuda(
    machine: Machine, model: Path, standin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT's constructors then raise TypeError; `auto` goes on without it, and doctor does not promise it."""
    without_plan = tmp_path / "other.onnx"
    standin.integer_model(without_plan, radius=2, tile=TILE, halo=8)
    build(model, None, BuildOptions())
    machine.trt.old_driver = True
    sentence = (
        "TensorRT 10.13.3 does not start (CUDA initialization failure with error: 35): the driver is for CUDA 12.4. "
        "Update the driver, or with pip put tensorrt-cu12 in its place, which is built for that CUDA."
    )
    machine.driver.driver = 12040
    for other in (model, without_plan):
        with pytest.raises(SessionError) as caught:
            open_session(other, "cuda")
        assert str(caught.value) == sentence
        with open_session(other, "auto") as session:
            assert session.device.startswith("ONNX Runtime")
            assert sentence in " ".join(session.notes)
    report = doctor(Path("/nowhere"))
    assert report.missing["TensorRT"] == sentence
    assert sentence in report.uses
    monkeypatch.setattr(board, "is_jetson", lambda: True)
    with pytest.raises(SessionError, match=r"Use JetPack's own TensorRT \(python3-libnvinfer\)"):
        open_session(model, "cuda")
    assert not any(machine.device.live.values())


def test_a_missing_model_is_not_hidden_by_auto(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        open_session(tmp_path / "none.onnx", "auto")


def test_the_cuda_provider_of_onnx_runtime(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    for jetson, machine, advice in (
        (False, "x86_64", "pip uninstall onnxruntime, then pip install onnxruntime-gpu."),
        (False, "aarch64", "use TensorRT (--device cuda)."),
        (True, "aarch64", "on Jetson use TensorRT, which comes with JetPack (python3-libnvinfer from apt)."),
    ):
        monkeypatch.setattr(board, "is_jetson", lambda jetson=jetson: jetson)
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        with pytest.raises(SessionError) as caught:
            open_session(model, "cuda:onnxruntime")
        assert str(caught.value) == f"ONNX Runtime has no CUDA provider here: {advice}"
    # It is listed but does not start: ONNX Runtime would go on on the CPU without a word.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(SessionError, match="CUDAExecutionProvider does not start"),
    ):
        open_session(model, "cuda:onnxruntime")


def test_cudnn_is_not_searched_for_every_batch_size(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = onnxruntime.InferenceSession

    def load(path: str, options: Any, providers: list[Any]) -> Any:
        asked.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", load)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(SessionError, match="CUDAExecutionProvider does not start"):
        open_session(model, "cuda:onnxruntime")
    open_session(model, "cpu").close()
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
    assert asked == [[cuda, "CPUExecutionProvider"], ["CPUExecutionProvider"]]
