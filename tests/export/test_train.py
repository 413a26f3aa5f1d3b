"""The training loop: learns, is killed and goes on to the same weights, hands the prior over, refuses what is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from schanger_edge.errors import CheckpointError, DatasetError, SchangerError  # noqa: E402
from schanger_edge.model.card import normalization_from  # noqa: E402
from schanger_edge.synthetic import SyntheticScene  # noqa: E402
from schanger_export import history, run_folder  # noqa: E402
from schanger_export import train as train_module  # noqa: E402
from schanger_export.checkpoints import load_network, load_single_date  # noqa: E402
from schanger_export.network import SChanger  # noqa: E402
from schanger_export.options import Machine, Pretraining, Training, training_from  # noqa: E402
from schanger_export.processes import Processes  # noqa: E402
from schanger_export.train import Trained, train  # noqa: E402
from schanger_export.validation import validate  # noqa: E402


@pytest.fixture
def curves() -> None:
    """Asks for training.png: for all other runs it isn't drawn."""


@pytest.fixture(autouse=True)
def _no_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "curves" not in request.fixturenames:
        monkeypatch.setattr(history, "draw_curves", lambda *_: "")


STATISTICS = {"mean": [0.4, 0.39, 0.34], "std": [0.18, 0.17, 0.16]}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered pairs of 96 pixels as train and val, and the same as single dates."""
    root = tmp_path_factory.mktemp("tree")
    for split, seed in (("train", 15), ("train", 22), ("val", 15)):
        scene = SyntheticScene(seed, 96, 96)
        arrays = {f"{split}/A": scene.render("before"), f"{split}/B": scene.render("after")}
        arrays |= {f"{split}/label": scene.truth() * 255, "image": scene.render("before")}
        arrays["mask"] = scene.buildings("before") * 255
        for folder, array in arrays.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            pixels = array if array.ndim == 2 else array[::-1].transpose(1, 2, 0)
            cv2.imwrite(str(root / folder / f"{seed}.png"), pixels)
    (root / "statistics.json").write_text(json.dumps({"before": STATISTICS, "after": STATISTICS}))
    return root


CPU, SAVING = Machine(device="cpu", threads=1), Machine(device="cpu", threads=1, save_seconds=0)


def options(tree: Path, kind: type[Training] = Training, **more: Any) -> Training:
    values = {"sources": (str(tree),), "epochs": 4, "warmup_epochs": 1, "eval_interval": 2, "tile": 32}
    return kind.with_presets(**{**values, "batch_size": 2, **more})


def run(tree: Path, folder: Path, kind: type[Training] = Training, **more: Any) -> Trained:
    return train(options(tree, kind, **more), folder, CPU)


def weights(folder: Path, name: str = "last.pth") -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)  # type: ignore[no-any-return]


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def assert_same_state(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    for part in ("network", "average"):
        for name, value in first["training"][part].items():
            assert torch.equal(value, second["training"][part][name]), (part, name)
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name


@pytest.mark.usefixtures("curves")
def test_a_run_leaves_checkpoints_history_and_curves(tree: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int, Any]] = []
    lines: list[str] = []
    asked = options(tree, validation=(str(tree),), accumulate=2, dataset="rendered", gsd=0.5)
    trained = train(
        asked, tmp_path / "run", CPU, report=lambda *at, **facts: told.append((*at, facts)), tell=lines.append
    )
    said = [f"labels of {tree} train: value != 0", f"labels of {tree} val: value != 0"]
    assert lines[:2] == said
    assert lines[2].startswith("BatchNorm sees 1 samples at a time, not the 2 of --batch")
    assert [line.split(":")[0] for line in lines[3:]] == ["epoch 2", "epoch 4"]
    assert trained.checkpoint == tmp_path / "run" / "best.pth"
    assert [at[:3] for at in told] == [("train", step, 4) for step in (1, 2, 3, 4)]
    assert told[-1][3]["f1"] is not None
    assert [r["step"] for r in records(tmp_path / "run")] == [1, 2, 3, 4]
    assert ["f1" in r for r in records(tmp_path / "run")] == [False, True, False, True]
    assert trained.best_f1 == max(r["f1"] for r in records(tmp_path / "run") if "f1" in r)
    load_network(trained.checkpoint, "small")
    card = weights(tmp_path / "run", "best.pth")["card"]
    assert (card["size"], card["dataset"], card["gsd"]) == ("small", "rendered", 0.5)
    assert card["normalization"]["before"]["mean"] == STATISTICS["mean"]
    first, *others = records(tmp_path / "run")
    assert set(first["label_rules"].values()) == {"value != 0"}
    assert not any("label_rules" in record for record in others)
    image = cv2.imread(str(tmp_path / "run" / "training.png"))
    assert image is not None
    assert image.std() > 10


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_resumed_reaches_the_same_weights(tree: Path, tmp_path: Path, workers: int) -> None:
    """kill -9 at a moment of its own; bitwise equality with the run that was left alone."""
    more = {"epochs": 6, "validation": (str(tree),), "clip": 1.0}
    whole = run(tree, tmp_path / "whole", **more)
    arguments = ["train", str(tree), "-o", str(tmp_path / "parts"), "--from-scratch", "--device", "cpu"]
    arguments += ["--threads", "1", "--batch", "2", "--tile", "32", "--epochs", "6", "--warmup-epochs", "1"]
    arguments += ["--eval-interval", "2", "--max-norm", "1", "--save-seconds", "0", "--workers", str(workers)]
    command = [sys.executable, "-m", "schanger_edge"]
    with subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE) as process:
        while not (tmp_path / "parts" / "last.pth").exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    assert 1 <= weights(tmp_path / "parts")["training"]["step"] < 6
    train(None, tmp_path / "parts", CPU, resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "parts")
    assert whole.best_f1 == weights(tmp_path / "parts")["training"]["best_f1"]
    both = [[{**r, "rate": round(r["rate"], 12)} for r in records(tmp_path / name)] for name in ("whole", "parts")]
    assert both[0] == both[1]


def test_prior_is_handed_over(tree: Path, tmp_path: Path) -> None:
    single = run(tree, tmp_path / "single", Pretraining, epochs=2, validation=(str(tree),), eval_interval=1)
    assert all(0 <= r.get("f1", 0) <= 1 for r in records(tmp_path / "single"))
    saved = weights(tmp_path / "single")
    raw = saved["training"]["network"]
    assert all(torch.equal(value, saved["state_dict"][name]) for name, value in raw.items())  # raw, not averaged
    prior = load_single_date(single.checkpoint, "small").state_dict()
    run(tree, tmp_path / "change", init=str(single.checkpoint), epochs=1, warmup_epochs=0, rate=1e-30)
    state = weights(tmp_path / "change")["training"]["network"]
    kernel = "encoder3.0.dwconv.conv.weight"
    assert torch.equal(state[kernel], prior[kernel])
    with pytest.raises(CheckpointError, match=r"lacks|does not fit|no "):
        broken = torch.load(single.checkpoint, weights_only=True)
        del broken["state_dict"][kernel]
        torch.save(broken, tmp_path / "broken.pth")
        run(tree, tmp_path / "other", init=str(tmp_path / "broken.pth"))


def test_it_learns(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "run", epochs=24, rate=3e-3, drop=0.0, clip=5.0)
    losses = [r["loss"] for r in records(tmp_path / "run")]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_a_loss_that_is_not_finite_stops_the_run(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, steps = train_module.loss_function, []

    def overflowing(*args: Any, **kwargs: Any) -> Any:
        steps.append(1)
        return real(*args, **kwargs) * (float("inf") if len(steps) == 3 else 1.0)

    monkeypatch.setattr(train_module, "loss_function", overflowing)
    with pytest.raises(SchangerError, match=r"step 3 of 4: the loss is not finite at rate .*last\.pth"):
        train(options(tree), tmp_path / "run", SAVING)
    kept = weights(tmp_path / "run")
    assert kept["training"]["step"] == 2
    assert all(torch.isfinite(v).all() for v in kept["state_dict"].values())


def test_frozen_batchnorm_keeps_its_statistics(tree: Path, tmp_path: Path) -> None:
    first = run(tree, tmp_path / "first", epochs=1, warmup_epochs=0)
    run(tree, tmp_path / "frozen", init=str(first.checkpoint), freeze_batchnorm=True, epochs=2)
    start, end = weights(tmp_path / "first", "best.pth")["state_dict"], weights(tmp_path / "frozen")["training"]
    for name, value in start.items():
        if "running" in name:
            assert torch.equal(value, end["network"][name]), name
    assert not torch.equal(start["conv_1.conv.weight"], end["network"]["conv_1.conv.weight"])


def test_folders_and_options_that_do_not_fit(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(None, tmp_path / "none", resume=True)
    run(tree, tmp_path / "run", epochs=1, warmup_epochs=0)
    with pytest.raises(CheckpointError, match="already holds a run: continue it with --resume"):
        run(tree, tmp_path / "run")
    with pytest.raises(CheckpointError, match="was made with a different rate, seed: omit these options"):
        train(options(tree, epochs=1, warmup_epochs=0, rate=1.0, seed=1), tmp_path / "run", resume=True)
    (tmp_path / "run" / "last.pth").write_bytes(b"no torch file")
    with pytest.raises(CheckpointError, match="not a checkpoint of a training run"):
        train(None, tmp_path / "run", resume=True)
    bare = tmp_path / "bare"
    shutil.copytree(tree / "train", bare / "train")
    with pytest.raises(DatasetError, match=r"statistics\.json is missing: run schanger-edge statistics"):
        run(bare, tmp_path / "new")
    with pytest.raises(SchangerError, match="fp16 needs a CUDA GPU"):
        run(tree, tmp_path / "amp", amp="fp16")


def test_a_batch_that_cannot_fit_is_refused(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(SchangerError, match=r"65536 samples of 256 pixels at once need about .* use --accumulate"):
        run(tree, tmp_path / "run", batch_size=65536, tile=256)


def test_size_is_that_of_the_start_weights(tree: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": SChanger("base").state_dict()}, tmp_path / "base.pth")
    asked = options(tree, init=str(tmp_path / "base.pth"))
    assert run_folder.prepare(tmp_path / "run", asked, resume=False).size == "base"
    assert run_folder.prepare(tmp_path / "other", options(tree), resume=False).size == "small"
    small = options(tree, init=str(tmp_path / "base.pth"), size="small")
    wrong = run_folder.prepare(tmp_path / "x", small, resume=False)
    with pytest.raises(CheckpointError, match="--size base"):
        train_module.build_network(wrong)


def test_tensorboard_events(tree: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(options(tree), tmp_path / "run", Machine(device="cpu", threads=1, tensorboard=True))
    found = events.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [e.step for e in found.Scalars("loss")] == [1, 2, 3, 4]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_mixed_precision_on_cuda(tree: Path, tmp_path: Path) -> None:
    trained = train(options(tree, epochs=8), tmp_path / "run", Machine(device="cuda", save_seconds=0))
    assert all(torch.isfinite(v).all() for v in weights(trained.folder)["state_dict"].values())
    assert weights(trained.folder)["training"]["scaler"]["scale"] > 1
    load_network(trained.checkpoint, "small")


def test_ground_sample_distance_comes_from_the_dataset(tree: Path, tmp_path: Path) -> None:
    described = tmp_path / "described"
    shutil.copytree(tree, described)
    (described / "dataset.json").write_text(json.dumps({"name": "mine", "gsd": 0.3}))
    run(described, tmp_path / "run", epochs=1, warmup_epochs=0)
    card = weights(tmp_path / "run")["card"]
    assert (card["dataset"], card["gsd"]) == ("mine", 0.3)
    train(options(described, epochs=1, warmup_epochs=0), tmp_path / "run", resume=True)  # the same command again


def test_records_after_the_last_checkpoint_are_dropped(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 1.0 / step, "rate": 1e-3}) for step in (1, 2, 3)]
    (tmp_path / "history.jsonl").write_text("\n".join(lines) + '\n{"step": 4, "lo')  # cut off by a kill
    kept = history.History(tmp_path, 2)
    kept.add({"step": 3, "loss": 0.5, "rate": 1e-3})
    assert [(r["step"], r["loss"]) for r in records(tmp_path)] == [(1, 1.0), (2, 0.5), (3, 0.5)]


def test_presets_give_way_to_options() -> None:
    published = Training.with_presets(sources=("x",), dataset="levir-cd", init="pretrain:small")
    schedule, optimizer = published.schedule, published.optimizer
    assert (schedule.epochs, schedule.warmup_epochs, schedule.eval_interval) == (12000, 600, 50)
    assert published.data.normalization is not None
    assert published.data.normalization.before.mean[0] == pytest.approx(0.45026044)
    assert (schedule.batch_size, optimizer.rate, optimizer.ema, optimizer.ema_every) == (8, 5e-4, 0.9998, 8)
    short = Training.with_presets(sources=("x",), dataset="levir-cd", epochs=120, batch_size=2).schedule
    assert (short.epochs, short.warmup_epochs, short.eval_interval, short.batch_size) == (120, 6, 1, 2)
    prior = Pretraining.with_presets(sources=("x",))
    assert (prior.schedule.epochs, prior.schedule.warmup_epochs, prior.schedule.batch_size) == (4000, 400, 16)
    assert prior.optimizer.ema_every == 16
    for asked in (published, prior):
        assert training_from(json.loads(json.dumps(asked.as_dict()))) == asked
    for wrong in ({"tile": 100}, {"epochs": 0}, {"batch_size": 3, "accumulate": 2}, {"drop": 1.0}, {"rate": 0.0}):
        with pytest.raises(SchangerError, match="must"):
            Training.with_presets(sources=("x",), **wrong)


def test_options_of_earlier_checkpoints_are_read() -> None:
    statistics = {"before": STATISTICS, "after": STATISTICS}
    plain = {"size": "base", "sources": ["a,repeat=2", "b"], "validation": [], "dataset": "", "init": "", "batch": 6}
    earlier = {
        "task": "change",
        **plain,
        "epochs": 30,
        "warmup_epochs": 1,
        "normalization": {},
        "gsd": None,
        "license": "",
        "gone": 1,
    }
    wanted = {"size": "base", "sources": ("a,repeat=2", "b"), "batch_size": 6, "epochs": 30, "warmup_epochs": 1}
    assert training_from(earlier) == Training.of(**wanted)
    with_colours = training_from({**earlier, "normalization": statistics})
    assert with_colours.as_dict()["normalization"] == {
        date: {name: tuple(values) for name, values in STATISTICS.items()} for date in statistics
    }
    assert isinstance(training_from({**earlier, "task": "single-date", "ema_every": 16}), Pretraining)


def test_an_option_given_as_it_is_by_default_is_given(tree: Path, tmp_path: Path) -> None:
    """`--resume` alone goes on with what was asked for; any option beside it is compared."""
    from typer.testing import CliRunner

    from schanger_edge.cli import app

    run(tree, tmp_path / "run", epochs=1, warmup_epochs=0, rate=1e-3)
    resume = ["train", "-o", str(tmp_path / "run"), "--resume", "--device", "cpu"]
    assert CliRunner().invoke(app, resume).exit_code == 0
    for more in ([], [str(tree)]):
        refused = CliRunner().invoke(app, [*resume, "--rate", "0.0005", *more])
        assert isinstance(refused.exception, SchangerError)
        assert "made with a different rate: omit" in str(refused.exception)


def test_options_need_no_torch() -> None:
    code = "import sys; from schanger_edge.cli.app import COMMANDS, load; [*map(load, COMMANDS)]; "
    code += "print(sorted({'torch', 'onnx'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_processes_train(tree: Path, tmp_path: Path) -> None:
    """torchrun with gloo: one run, one history, the same checkpoint files."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "schanger_edge", "train", str(tree), "-o", str(tmp_path / "run"), "--from-scratch"]
    command += ["--device", "cpu", "--threads", "1", "--batch", "2", "--tile", "32", "--epochs", "2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert result.returncode == 0, result.stderr
    assert [r["step"] for r in records(tmp_path / "run")] == [1, 2]
    assert result.stdout.count("next: schanger-edge export") == 1  # only the first process speaks
    assert result.stderr.count("2 of 2 steps") == 1
    load_network(tmp_path / "run" / run_folder.BEST, "small")


def test_a_batch_that_cannot_be_divided_is_refused(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of the processes, before they meet: `torchrun` ends them when one fails."""

    @contextlib.contextmanager
    def one_of_two(_: str) -> Iterator[Processes]:
        yield Processes(1, 2, torch.device("cpu"))

    monkeypatch.setattr(train_module, "joined", one_of_two)
    with pytest.raises(SchangerError, match=r"--batch 3 cannot be divided among 2 processes: use a multiple of 2\."):
        run(tree, tmp_path / "odd", batch_size=3)


def test_labels_that_are_all_alike_choose_no_weights(tree: Path, tmp_path: Path) -> None:
    """The last weights count as the best, not the first that were validated."""
    data = tmp_path / "data"
    shutil.copytree(tree, data)
    (label,) = (data / "val" / "label").iterdir()
    cv2.imwrite(str(label), np.zeros((96, 96), np.uint8))
    lines: list[str] = []
    asked = options(data, validation=(str(data),), eval_interval=1)
    trained = train(asked, tmp_path / "run", CPU, tell=lines.append)
    assert trained.best_f1 is None
    assert weights(tmp_path / "run", "best.pth")["training"]["step"] == 4
    assert weights(tmp_path / "run", "best.pth")["card"]["scores"] == {}
    (warning,) = [line for line in lines if line.startswith("warning: ")]
    assert f"no label pixel of {data} val counts by the rule `value != 0` (values in 15.png: 0)" in warning
    assert sum("no F1: the labels for validation are all alike" in line for line in lines) == 4


def test_of_equal_scores_the_later_is_the_best() -> None:
    state = run_folder.State(*[None] * 4, f1=0.0, best_f1=0.0)  # type: ignore[list-item]
    assert run_folder.is_best(state)
    assert not run_folder.is_best(dataclasses.replace(state, best_f1=0.5))


def test_the_score_is_that_of_the_weights_in_the_file(tree: Path, tmp_path: Path) -> None:
    """Pre-training hands on the raw weights, so it validates them."""
    run(tree, tmp_path / "run", Pretraining, validation=(str(tree),), eval_interval=1, rate=3e-3, ema=0.99)
    best = weights(tmp_path / "run", "best.pth")
    network = load_single_date(tmp_path / "run" / "best.pth", "small")
    normalization = normalization_from(best["card"]["normalization"])
    sources = options(tree, Pretraining, validation=(str(tree),)).validation()
    found = validate(network, sources, 1, normalization, torch.device("cpu"), None)
    assert best["card"]["scores"] == {"validation": {"f1": round(found.f1 or 0, 4)}}
    assert found.f1


def test_one_folder_takes_one_run_at_a_time(tree: Path, tmp_path: Path) -> None:
    with (
        run_folder.held(tmp_path / "run", resume=False, writes=True),
        pytest.raises(SchangerError, match=r"another training uses .*run: wait for it, or choose another folder"),
    ):
        run(tree, tmp_path / "run")
    run(tree, tmp_path / "run", epochs=1, warmup_epochs=0)


def interrupted(asked: Training, folder: Path) -> None:
    def stop(stage: str, done: int, total: int, /, **facts: float | str | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(asked, folder, SAVING, report=stop)


def test_a_run_goes_on_where_its_data_have_moved(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tree, "before")
    torch.save({"state_dict": SChanger("small").state_dict()}, "start.pth")
    asked = options(Path("before"), validation=("before",), init="start.pth")
    interrupted(asked, Path("run"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    train(None, tmp_path / "run", CPU, resume=True)  # paths are kept whole
    (tmp_path / "before").rename(tmp_path / "moved")
    (tmp_path / "start.pth").unlink()
    with pytest.raises(DatasetError, match="before/train does not exist"):
        train(None, tmp_path / "again", CPU, resume=True)
    trained = train(options(tmp_path / "moved"), tmp_path / "again", CPU, resume=True)
    assert trained.step == 4
    assert_same_state(tmp_path / "run", tmp_path / "again")
    last = weights(tmp_path / "again")
    assert last["training"]["options"]["validation"] == [str(tmp_path / "moved")]


def test_a_run_killed_before_its_first_last_checkpoint_goes_on_from_the_best(tree: Path, tmp_path: Path) -> None:
    more = {"validation": (str(tree),), "eval_interval": 1}
    run(tree, tmp_path / "whole", **more)
    interrupted(options(tree, **more), tmp_path / "parts")
    (tmp_path / "parts" / "last.pth").unlink()
    with pytest.raises(CheckpointError, match="already holds a run: continue it with --resume"):
        run(tree, tmp_path / "parts", **more)
    train(None, tmp_path / "parts", CPU, resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "parts")


def test_a_run_does_not_go_on_with_other_data(tree: Path, tmp_path: Path) -> None:
    interrupted(options(tree), tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    for folder in ("A", "B", "label"):
        (other / "train" / folder / "22.png").rename(other / "train" / folder / "23.png")
    with pytest.raises(CheckpointError, match=r"was made from other data.*--init .*last\.pth"):
        train(options(other), tmp_path / "run", CPU, resume=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_one_sentence(tree: Path, tmp_path: Path, workers: int) -> None:
    data = tmp_path / "data"
    shutil.copytree(tree, data)
    image = data / "train" / "A" / "22.png"
    image.write_bytes(image.read_bytes()[:500])
    with pytest.raises(DatasetError) as caught:
        train(options(data), tmp_path / "run", dataclasses.replace(CPU, workers=workers))
    assert str(caught.value).startswith(f"{image} is incomplete")


def test_a_process_that_reads_data_ends(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> Any:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error.\nmore")

    monkeypatch.setattr(train_module, "loaded", killed)
    with pytest.raises(SchangerError, match=r"has ended \(.* Bus error\): use --workers 0, or .*/dev/shm"):
        run(tree, tmp_path / "run")


def test_images_smaller_than_a_crop_are_told(tree: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    train(options(tree, tile=128, epochs=1, warmup_epochs=0), tmp_path / "run", CPU, tell=lines.append)
    assert any(f"images of {tree} train (96 x 96) are smaller than --tile 128" in line for line in lines)
