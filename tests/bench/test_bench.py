"""The benchmark itself, on a stand-in model: everything measured, continued after a stop, refused before the work."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from fake_pynvml import FakeNvml
from helpers import MakePair
from typer.testing import CliRunner

from schanger_edge.bench import measure, memory, method, plan
from schanger_edge.bench import report as bench_report
from schanger_edge.bench.energy import Meters
from schanger_edge.bench.measure import UNFINISHED
from schanger_edge.bench.method import ROUNDS
from schanger_edge.bench.plan import Request, find_models, parse_batch_sizes
from schanger_edge.bench.tool import bench
from schanger_edge.cli import app
from schanger_edge.errors import SchangerError
from schanger_edge.evaluation.evaluate import evaluate
from schanger_edge.sessions import open_session

MADE_UP_RUN = {
    "seconds": 2.0, "batch": 1, "gsd": 0.5, "megapixels": 1.0, "joules": None, "read_busy": 0.5, "infer_busy": 1.0,
    "write_busy": 0.5,
}  # fmt: skip
HOW = ("beside", "restart", "on_start", "progress")
"""Arguments of `bench` besides the request."""
RESULTS = ["bench.html", "bench.json", "bench.md", "pareto.png"]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "BLOCK_SECONDS", 0.0)


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=64, halo=8)
    return tmp_path / "m.onnx"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pairs of 64 x 128 pixels, split val."""
    rng = np.random.default_rng(3)
    for index in range(2):
        for folder in ("A", "B", "label"):
            path = tmp_path / "data" / "val" / folder
            path.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 255, (64, 128, 3), np.uint8)
            cv2.imwrite(str(path / f"{index}.png"), (image[..., 0] > 128) * 255 if folder == "label" else image)
    return tmp_path / "data"


@pytest.fixture
def pair(make_pair: MakePair) -> tuple[str, str]:
    before, after = make_pair(100, 150)
    return str(before), str(after)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up peak instead of a process, and no plot, where these are not what is tested."""
    monkeypatch.setattr(measure, "peak_memory", lambda *_: {"host_bytes": 1_000_000, "device_bytes": None})
    monkeypatch.setattr(bench_report, "draw_pareto", lambda path, _: "" if path.write_bytes(b"plot") else "empty")


def run(output: Path, model: Path, root: Path, **options: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {"batch_sizes": (1, 2), "repetitions": 10, "pair_runs": 2, **options}
    how = {name: wanted.pop(name) for name in HOW if name in wanted}
    return bench(output, Request([str(model)], [f"LEVIR-CD={root},split=val"], **wanted), **how)


def test_everything_in_one_run(model: Path, root: Path, pair: tuple[str, str], tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    previews: list[Any] = []
    result = run(
        tmp_path / "out", model, root, pair=pair, batch_sizes=(1,), gsd=0.5,
        on_start=lambda *args: previews.append(args),
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == RESULTS
    assert json.loads((tmp_path / "out" / "bench.json").read_text()) == result
    ((wanted, finished),) = previews
    assert wanted.words == "1 model x 1 batch on cpu, 1 dataset, a pair of 0.0 megapixels"
    assert 0 < wanted.seconds() < 120
    assert finished == 0
    (row,) = result["speed"]
    assert (row["latency_ms"]["n"], row["latency_ms"]["p50_of_rounds"]["n"]) == (10, ROUNDS)
    assert row["latency_ms"]["p50"] > 0
    assert row["latency_ms"]["p95"] is None  # ten calls cannot tell it
    assert row["km2_per_second"]["median"] == pytest.approx(row["megapixels_per_second"]["median"] / 4)
    assert 20e6 < row["host_bytes"] < 2e9
    assert row["device_bytes"] is None
    (whole,) = result["end_to_end"]
    assert (whole["seconds"]["n"], whole["megapixels"]) == (2, 0.015)
    assert whole["megapixels_per_second"]["high"] == pytest.approx(0.015 / whole["seconds"]["low"])
    (accuracy,) = result["accuracy"]
    expected = evaluate(root, split="val", model=model)
    assert (accuracy["f1"], accuracy["iou"], accuracy["tiles"]) == (expected.f1, expected.iou, 4)
    assert accuracy["paper_f1"] is None  # published figures are of the test split
    assert {entry["dataset"] for entry in result["published"]} >= {"levir-cd", "s2looking"}
    assert result["method"]
    for stage in ("memory", "warm-up", "rounds", "pair", "accuracy"):
        done, total = [(done, total) for name, done, total in steps if name == stage][-1]
        assert done == total > 0, stage


def test_a_block_counts_what_tiles_own(model: Path) -> None:
    tiles = method.tiles_for(64, 3)
    with open_session(model) as session, Meters(Path("/nowhere")) as meters:
        found = method.block(session, tiles, 7, 48, meters)
    assert len(found["latency_ms"]) == 7
    assert found["megapixels"] == pytest.approx(7 * 3 * 48**2 / 1e6)
    assert sum(found["latency_ms"]) <= 1000 * found["seconds"]
    assert found["joules"] is None


def test_models_and_batches_take_turns(model: Path, root: Path, quick: None, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes())
    turns: list[tuple[str, int]] = []
    real = measure.block

    def noted(session: Any, tiles: Any, *rest: Any) -> Any:
        turns.append((session.model.stem, len(tiles[0])))
        return real(session, tiles, *rest)

    monkeypatch.setattr(measure, "block", noted)
    bench(tmp_path / "out", Request([str(model), str(other)], batch_sizes=(1, 2), repetitions=5))
    cases = {("m", 1), ("m", 2), ("other", 1), ("other", 2)}
    rounds = [turns[k : k + 4] for k in range(0, len(turns), 4)]
    assert len(rounds) == ROUNDS
    assert all(set(found) == cases for found in rounds)
    assert len({tuple(found) for found in rounds}) > 2


@pytest.mark.parametrize("stage", ["block", "run_pair", "evaluate"])
def test_an_interrupted_benchmark_goes_on(
    model: Path, root: Path, pair: tuple[str, str], quick: None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, stage: str,
) -> None:  # fmt: skip
    """Whatever stage is stopped, what is finished before is neither measured again nor changed."""
    calls = {"block": 0, "run_pair": 0, "evaluate": 0}
    stop = [stage]
    real = {"block": measure.block, "run_pair": lambda *_: dict(MADE_UP_RUN), "evaluate": measure.evaluate}

    def counted(name: str, *arguments: Any, **options: Any) -> Any:
        if name in stop and calls[name] == {"block": 3, "run_pair": 2, "evaluate": 0}[name]:
            stop.clear()
            raise KeyboardInterrupt
        calls[name] += 1
        return real[name](*arguments, **options)

    for name in calls:
        monkeypatch.setattr(measure, name, lambda *a, _name=name, **o: counted(_name, *a, **o))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", model, root, pair=pair)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [UNFINISHED]
    kept = json.loads((tmp_path / "out" / UNFINISHED).read_text())["parts"]
    previews: list[Any] = []
    result = run(tmp_path / "out", model, root, pair=pair, on_start=lambda *args: previews.append(args))
    assert previews[0][1] == len(kept)
    warm = 2 if stage == "run_pair" else 1  # runs that are not counted
    assert calls == {"block": 2 * ROUNDS, "run_pair": 2 + warm, "evaluate": 1}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == RESULTS
    first = kept["round 0: cpu, m, batch 1"]["latency_ms"]
    spread = result["speed"][0]["latency_ms"]["p50_of_rounds"]
    assert spread["low"] <= statistics.median(first) <= spread["high"]
    assert len(result["conditions"]) == 2
    assert any("interrupted once" in doubt for doubt in result["doubts"])


def test_another_benchmark_is_not_gone_on_with(
    model: Path, root: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(measure, "warm_up", stopped)
        run(tmp_path / "out", model, root)
    left = (tmp_path / "out" / UNFINISHED).read_bytes()
    with pytest.raises(SchangerError, match=r"has other settings \(repetitions was 10, now 20\).*--restart"):
        run(tmp_path / "out", model, root, repetitions=20)
    image = root / "val" / "A" / "0.png"
    pixels = image.read_bytes()
    cv2.imwrite(str(image), np.zeros((64, 128, 3), np.uint8))
    with pytest.raises(SchangerError, match="datasets, levir-cd val, files was"):
        run(tmp_path / "out", model, root)
    assert (tmp_path / "out" / UNFINISHED).read_bytes() == left
    image.write_bytes(pixels)
    assert run(tmp_path / "out", model, root, repetitions=20, restart=True)["options"]["repetitions"] == 20
    (tmp_path / "out" / UNFINISHED).write_text("{")
    with pytest.raises(SchangerError, match="is damaged: start over with --restart"):
        run(tmp_path / "out", model, root)


def test_a_case_without_room_is_told_and_left_out(
    model: Path, root: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peak(path: Path, device: str, batch: int) -> dict[str, Any]:
        return {"failed": "no room"} if batch == 2 else {"host_bytes": 10, "device_bytes": None}

    monkeypatch.setattr(measure, "peak_memory", peak)
    small, large = run(tmp_path / "out", model, root)["speed"]
    assert small["latency_ms"]["n"] == 10
    assert (large["failed"], large["latency_ms"], large["megapixels_per_second"]) == ("no room", None, None)
    assert "no room" in (tmp_path / "out" / "bench.md").read_text()


def test_models_that_do_not_fit_together(
    model: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "peak_memory", lambda *_: {"host_bytes": 10**15, "device_bytes": None})
    monkeypatch.setattr(measure.board, "free_memory", lambda root: 10**9)
    with pytest.raises(SchangerError, match=r"1000000\.0 GB, 1\.0 GB are free: use fewer models"):
        run(tmp_path / "out", model, root)


def test_a_process_that_dies(tmp_path: Path, model: Path) -> None:
    killed = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    failed = [sys.executable, "-c", "raise ValueError('no engine')"]
    real = subprocess.run
    for command, sentence in ((killed, "signal 9, most likely out of memory"), (failed, "ValueError: no engine")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory.subprocess, "run", lambda _, _command=command, **options: real(_command, **options))
            assert sentence in memory.peak_memory(model, "cpu", 1)["failed"]


def test_device_memory_is_by_how_much_it_grew(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(used=1_000_000)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    real = memory.open_session

    def opened(path: Path, device: str) -> Any:
        fake.answers["used"] = 7_000_000
        return real(path, "cpu")  # in place of a GPU

    monkeypatch.setattr(memory, "open_session", opened)
    found = memory.measure(model, "cuda", 1)
    assert found["device_bytes"] == 6_000_000
    assert found["host_bytes"] is not None


def test_a_pipelined_session_is_kept_busy(model: Path) -> None:
    """With two slots never more than two batches are under way, and each is waited for once."""
    under_way: list[int] = []
    waiting: set[int] = set()

    class Fake:
        slots = 2

        def submit(self, before: Any, after: Any) -> Callable[[], None]:
            number = len(under_way)
            waiting.add(number)
            under_way.append(len(waiting))
            return lambda: waiting.remove(number)

    method._pipelined(Fake(), method.tiles_for(16, 1), 7)  # type: ignore[arg-type]
    assert under_way == [1, 2, 2, 2, 2, 2, 2]
    assert not waiting


def test_warm_up_ends_when_times_agree_or_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5.0, 5, 5, 1, 1, 1, 1, 1, 1, 1])
    monkeypatch.setattr(method, "timed", lambda _: next(times))
    assert method.warm_up(None, None) == {"calls": 8, "settled": True}  # type: ignore[arg-type]
    growing = iter(range(1, 100))
    monkeypatch.setattr(method, "timed", lambda _: 0.01 * 2 ** next(growing))
    assert method.warm_up(None, None)["settled"] is False  # type: ignore[arg-type]


def test_refused_before_the_work(model: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(sentence: str, **options: Any) -> None:
        wanted = {"models": [str(model)], "datasets": [], **options}
        with pytest.raises(SchangerError, match=sentence):
            how = {name: wanted.pop(name) for name in HOW if name in wanted}
            bench(tmp_path / "out", Request(**wanted), on_start=lambda *_: pytest.fail("work"), **how)
        assert not (tmp_path / "out").exists()

    refused("model none does not exist", models=["none"])
    refused("given twice", models=[str(model), str(model)])
    refused("is no ONNX model, or is damaged", models=[str(root / "val" / "A" / "0.png")])
    refused(r"needs NAME=ROOT\[,split=val\]", datasets=[str(root)])
    refused("a folder takes split here, not glob", datasets=[f"x={root},glob=*"])
    refused("does not exist", datasets=[f"x={root}"])  # there is no split test
    refused("twice with the same split", datasets=[f"x={root},split=val"] * 2)
    refused("does not exist", pair=("no.tif", "nor.tif"))
    refused("device 'gpu' is unknown", devices=("gpu",))
    refused("must be at least 1", repetitions=0)
    refused("--gsd must be greater than 0 metres per pixel, not -1", gsd=-1)
    refused("is not a bench.json", beside=[model])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(r"pip install 'schanger-edge\[bench\]'")


def test_a_dataset_without_labels_is_refused(model: Path, root: Path, tmp_path: Path) -> None:
    label = root / "val" / "label"
    label.rename(root / "aside")
    with pytest.raises(SchangerError, match="label does not exist"):
        run(tmp_path / "out", model, root)


def test_a_batch_that_an_engine_does_not_take(model: Path, root: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    real = plan.open_session

    def limited(*arguments: Any, **options: Any) -> Any:
        session = real(*arguments, **options)
        session.max_batch = 4  # type: ignore[misc]
        return session

    monkeypatch.setattr(plan, "open_session", limited)
    with pytest.raises(SchangerError, match=r"m takes at most 4 tiles at once on cpu, not 8: give --batch 1,4, or"):
        run(tmp_path / "out", model, root, batch_sizes=(1, 4, 8))


@pytest.mark.parametrize("text", ["0", "1,0", "-1", "a", "", "1,,2", "5000"])
def test_batches_that_are_none(text: str) -> None:
    with pytest.raises(SchangerError, match="--batch must be numbers from 1 to 1024"):
        parse_batch_sizes(text)
    assert parse_batch_sizes("8,1,4,4") == (1, 4, 8)


def test_models_of_one_name_are_told_apart(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "b" / "m.onnx"
    other.parent.mkdir()
    other.write_bytes(model.read_bytes())
    assert [found.name for found in find_models([str(model), str(other)])] == [str(model), str(other)]
    assert [found.name for found in find_models([])] == ["schanger-small", "schanger-small-fp16", "schanger-small-int8"]


def test_products_of_a_run_are_removed(
    model: Path, root: Path, pair: tuple[str, str], quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []
    real = measure.detect

    def noted(before: Any, after: Any, output: Any, **options: Any) -> Any:
        found = real(before, after, output, **options)
        folders.append(Path(output))
        assert (Path(output) / "report.html").exists()
        return found

    monkeypatch.setattr(measure, "detect", noted)
    run(tmp_path / "out", model, root, pair=pair, pair_runs=1)
    assert len(folders) == 2
    assert not any(folder.exists() for folder in folders)


def test_the_command(model: Path, root: Path, quick: None, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes())
    out = tmp_path / "out"
    refused = CliRunner().invoke(app, ["bench", str(model), "--batch", "0", "-o", str(out)])
    assert isinstance(refused.exception, SchangerError)
    assert "--batch must be numbers from 1 to 1024" in str(refused.exception)
    assert not out.exists()
    arguments = ["bench", model, other, "--data", f"x={root},split=val", "--batch", "1", "-o", out]
    done = CliRunner().invoke(app, [str(argument) for argument in [*arguments, "--repetitions", 5]])
    assert done.exit_code == 0, done.output
    assert "measuring 2 models x 1 batch on cpu, 1 dataset: about" in done.output
    assert "Latency of one batch, in milliseconds" in done.output
    assert f"results: {out}; open {out / 'bench.html'} in a browser" in done.output


def test_the_command_says_how_to_go_on(
    model: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "block", stopped)
    done = CliRunner().invoke(app, ["bench", str(model), "-o", str(tmp_path / "out")])
    assert done.exit_code != 0
    assert f"finished parts are kept in {tmp_path / 'out'}; repeat the command to continue." in done.output
