"""kill -9 while models, datasets and benchmarks are made: what bears a final name is whole, and a rerun completes it.

The real commands are killed at moments drawn from the time that a whole run takes. SCHANGER_EDGE_KILLS sets how often
each is killed. `benchmarks/kill_resume.py` does the same to `run`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import write_tiff

from schanger_edge.model.file import read_model
from schanger_edge.model.plan import sidecar_of
from schanger_edge.synthetic import SyntheticScene

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]
KILLS = int(os.environ.get("SCHANGER_EDGE_KILLS", "3"))
SHORT = ["--tile", "32", "--batch", "2", "--warmup-epochs", "1", "--eval-interval", "2", "--save-seconds", "0"]
TRAIN = ["--device", "cpu", "--threads", "1"]
STATISTICS = {"mean": [0.4, 0.39, 0.34], "std": [0.18, 0.17, 0.16]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered pairs as a labelled tree, as images with masks, and as GeoTIFFs in a table; a small model."""
    pytest.importorskip("torch")
    from schanger_export.to_onnx import export
    from schanger_export.weights import resolve

    root = tmp_path_factory.mktemp("data")
    lines = ["before,after,label"]
    for number, seed in enumerate((15, 22, 18, 11)):
        scene = SyntheticScene(seed, 192, 192, 0.5)
        before, after, truth = scene.render("before"), scene.render("after"), scene.truth() * np.uint8(255)
        split = "val" if number == 3 else "train"
        arrays = {f"{split}/A": before, f"{split}/B": after, f"{split}/label": truth, "image": before}
        arrays["mask"] = scene.buildings("before") * np.uint8(255)
        for folder, array in arrays.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            pixels = array if array.ndim == 2 else array[::-1].transpose(1, 2, 0)
            cv2.imwrite(str(root / folder / f"{seed}.png"), pixels)
        names = [f"{name}{seed}.tif" for name in ("before", "after", "label")]
        for name, array in zip(names, (before, after, truth[None]), strict=True):
            write_tiff(root / "tiffs" / name, array)
        lines.append(",".join(f"tiffs/{name}" for name in names))
    (root / "pairs.csv").write_text("\n".join(lines) + "\n")
    (root / "statistics.json").write_text(json.dumps({"before": STATISTICS, "after": STATISTICS}))
    export(resolve("schanger-small"), "small", root / "model.onnx", tile=64, halo=8)
    return root


Command = Callable[[Path, Path], list[str]]
"""The arguments, given the data and where the result belongs: a file or folder called `result` and a suffix."""

COMMANDS: dict[str, tuple[str, Command]] = {
    "train": ("", lambda data, result: [
        "train", str(data), "-o", str(result), "--from-scratch", "--epochs", "20", *SHORT, *TRAIN,
    ]),
    "pretrain": ("", lambda data, result: [
        "pretrain", str(data), "-o", str(result), "--val", str(data), "--epochs", "20", *SHORT, *TRAIN,
    ]),
    "calibrate": (".onnx", lambda data, result: [
        "calibrate", str(data / "model.onnx"), "--data", str(data), "-o", str(result), "--tiles", "16", "--method",
        "minmax", "--max-f1-loss", "100",
    ]),
    "build": (".plan", lambda data, result: [
        "build", str(data / "model.onnx"), "-o", str(result), "--flavour", "rtx", "--compute-capability", "8.6",
    ]),
    "bench": ("", lambda data, result: [
        "bench", str(data / "model.onnx"), "-o", str(result), "--data", f"tree={data},split=val", "--batch", "1",
        "--repetitions", "10",
    ]),
    "dataset make": ("", lambda data, result: [
        "dataset", "make", str(data / "pairs.csv"), "-o", str(result), "--tile", "32",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_any_moment(name: str, data: Path, tmp_path: Path) -> None:
    if name == "build":
        pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu13 (Linux and Windows on x86-64)")
    suffix, command = COMMANDS[name]
    whole = tmp_path / "whole"
    whole.mkdir()
    began = time.monotonic()
    finished(command(data, whole / f"result{suffix}"))
    seconds = time.monotonic() - began
    draw, killed = random.Random(name), 0
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        result = folder / f"result{suffix}"
        killed += killed_after(draw.uniform(0.2, 1) * seconds, command(data, result))
        check_whole(folder)
        again = ["--resume"] if list(folder.rglob("*.pth")) else ["--rebuild"] if name == "build" else []
        if not (name == "dataset make" and result.exists()):  # it takes no folder that exists, and this one is whole
            finished([*command(data, result), *again])
        check_whole(folder)
        assert names(folder) == names(whole)
    assert killed  # else the moments prove nothing


def finished(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "schanger_edge", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def killed_after(seconds: float, arguments: list[str]) -> bool:
    """Start a command and kill it with all its children; whether it was still at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "schanger_edge", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        return True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def names(folder: Path) -> list[str]:
    """Of what a user sees."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not any(part.startswith(".") for part in path.parts))


def check_whole(folder: Path) -> None:
    for name in names(folder):
        CHECKS[Path(name).suffix](folder / name)
    for made in folder.glob("result/dataset.json"):
        tiles = {(tile["split"], f"{tile['name']}.png") for tile in json.loads(made.read_text())["tiles"]}
        for kind in ("A", "B", "label"):
            assert {(path.parts[-3], path.name) for path in made.parent.glob(f"*/{kind}/*")} == tiles


def is_checkpoint(path: Path) -> None:
    import torch

    content = torch.load(path, weights_only=True)
    assert content["state_dict"]
    assert content["training"]["step"] > 0


def is_history(path: Path) -> None:
    """A line that a kill cut off is the last, and is left out when it is read."""
    for line in path.read_text().splitlines(keepends=True):
        assert not line.endswith("\n") or "step" in json.loads(line)


def is_picture(path: Path) -> None:
    assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    assert cv2.imread(str(path)) is not None


def is_plan(path: Path) -> None:
    """Without its sidecar it is not loaded."""
    if sidecar_of(path).exists():
        card = json.loads(sidecar_of(path).read_text())
        assert card["plan_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def ends_as(end: str) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        assert path.read_text().rstrip().endswith(end)

    return check


CHECKS: dict[str, Callable[[Path], Any]] = {
    ".pth": is_checkpoint,
    ".jsonl": is_history,
    ".png": is_picture,
    ".onnx": read_model,
    ".plan": is_plan,
    ".json": lambda path: json.loads(path.read_text()),
    ".html": ends_as("</html>"),
    ".md": ends_as("."),
}
