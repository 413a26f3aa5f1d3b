"""`schanger-edge export` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import command_line

pytest.importorskip("torch")


def export(*arguments: Any, block: str = "") -> subprocess.CompletedProcess[str]:
    """In this process, or in one of its own in which a package counts as not installed."""
    if not block:
        return command_line("export", *arguments)
    code = f"import sys; sys.modules[{block!r}] = None; from schanger_edge.cli import main; main()"
    command = [sys.executable, "-c", code, "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_export_then_info(weights: Callable[..., Any], checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    path = checkpoint(weights("small"))
    done = export(
        "--checkpoint", path, "--size", "small", "--dataset", "whu-cd", "--tile", 64, "--halo", 8, "-o", target
    )
    assert done.returncode == 0, done.stderr
    assert "largest difference from double precision: " in done.stdout
    card = json.loads(command_line("info", target).stdout)
    assert (card["dataset"], card["tile"], card["size"]) == ("whu-cd", 64, "small")


def test_a_checkpoint_of_a_training_needs_no_options(weights: Callable[..., Any], tmp_path: Path) -> None:
    from schanger_export.checkpoints import save_checkpoint

    statistics = {"mean": [0.5] * 3, "std": [0.2] * 3}
    card = {"dataset": "my town", "normalization": {"before": statistics, "after": statistics}, "tile": 32}
    save_checkpoint(tmp_path / "best.pth", weights("small"), card=card)
    done = export("--checkpoint", tmp_path / "best.pth", "-o", tmp_path / "m.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("given", [[], ["--checkpoint", "x.pth", "--weights", "levir-cd:base"]])
def test_weights_are_given_in_one_way(tmp_path: Path, given: list[str]) -> None:
    done = export(*given, "-o", tmp_path / "m.onnx", block="torch")
    assert done.returncode == 2
    told = "error: give exactly one of --weights NAME, --checkpoint FILE or, with --triton, --model FILE."
    assert told in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--size", "base", "--dataset", "levir-cd"], "--size small"),
        (["--size", "small"], "give either the dataset"),
        (["--size", "small", "--dataset", "mars"], "levir-cd"),
        (["--size", "small", "--dataset", "levir-cd", "--tile", "250"], "multiple of 16"),
    ],
)
def test_one_sentence_and_exit_code_two(
    weights: Callable[..., Any], checkpoint: Callable[..., Path], tmp_path: Path, options: list[str], sentence: str
) -> None:
    done = export("--checkpoint", checkpoint(weights("small")), *options, "-o", tmp_path / "model.onnx")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model.onnx").exists()


def test_export_needs_no_torch(weights: Callable[..., Any], checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    options = ["--dataset", "whu-cd", "--tile", 32, "-o", tmp_path / "model.onnx"]
    done = export("--checkpoint", checkpoint(weights("small")), *options, block="torch")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.onnx").exists()


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    done = export("--checkpoint", "x.pth", "--size", "small", "-o", tmp_path / "m.onnx", block="onnx")
    assert done.returncode == 2
    assert "onnx is not installed: pip install 'schanger-edge[models]'" in done.stderr
    assert "Traceback" not in done.stderr
