"""The command line as a user meets it: its output, its exit code; a process of its own where that matters."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from affine import Affine
from helpers import Ground, MakePair, Tiff, command_line, terrain


def process(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "schanger_edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_run_ends_with_three_lines(make_pair: MakePair, model: Path, tmp_path: Path) -> None:
    a, b = make_pair(100, 120)
    out = tmp_path / "res [v2][/b]"  # no markup
    done = process("run", a, b, "-o", out, "--model", model, "--batch", 2, "--bands", "3,2,1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("change: ")
    assert "polygons" in lines[0]
    assert "valid: 100.0%" in lines[1]
    assert lines[2] == f"results: {out}; open {out / 'report.html'} in a browser"
    assert "ONNX Runtime" in done.stderr
    assert "standin-integer" in done.stderr
    assert "schanger-edge models" not in done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["inputs"]["before"]["bands"] == [3, 2, 1]


def test_without_model_a_better_one_is_mentioned_once(make_pair: MakePair, tmp_path: Path) -> None:
    a, b = make_pair(60, 60)
    done = command_line("run", a, b, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("a better one for your imagery is one command away, see `schanger-edge models`") == 1


def test_pixels_of_unknown_size(make_tiff: Tiff, ground: Ground, model: Path, tmp_path: Path) -> None:
    """Degrees with latitudes up to 400, where no metre is defined."""
    path = make_tiff("a.tif", ground(400, 400), crs="EPSG:4326", transform=Affine(1, 0, 0, 0, -1, 400))
    done = command_line("run", path, path, "-o", tmp_path / "out", "--model", model)
    assert done.returncode == 0, done.stderr
    assert "EPSG:4326, pixels of unknown size" in done.stderr


def test_warning_is_printed_and_kept(make_tiff: Tiff, ground: Ground, model: Path, tmp_path: Path) -> None:
    bright = np.clip(ground(80, 80).astype(int) // 4 + 190, 1, 254).astype(np.uint8)
    path = make_tiff("a.tif", bright)
    done = command_line("run", path, path, "-o", tmp_path / "out", "--model", model)
    assert done.returncode == 0
    assert "warning: the colours of the before image" in done.stderr
    assert len(json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]) == 2


def failures(make_tiff: Tiff, ground: Ground, model: Path, folder: Path) -> dict[str, tuple[list[Any], str]]:
    good = make_tiff("good.tif", ground(60, 60))
    far = make_tiff("far.tif", ground(60, 60), transform=Affine(0.5, 0, 9e5, 0, -0.5, 4e6))
    text = folder / "text.tif"
    text.write_text("hello")
    taken = folder / "taken"
    taken.write_text("a file where the folder should be")
    out = ["-o", folder / "out", "--model", model]
    return {
        "missing": ([folder / "none.tif", good, *out], "does not exist"),
        "text": ([text, good, *out], "cannot be opened"),
        "far": ([good, far, *out], "do not overlap"),
        "model": ([good, good, "-o", folder / "out", "--model", text], "is no ONNX model, or is damaged"),
        "bands": ([good, good, *out, "--bands", "red"], "--bands"),
        "nodata": ([good, good, *out, "--nodata", "black"], "--nodata"),
        "folder": ([good, good, "-o", taken, "--model", model], "taken"),
    }


@pytest.mark.parametrize("name", ["missing", "text", "far", "model", "bands", "nodata", "folder"])
def test_one_sentence_and_exit_code_two(
    make_tiff: Tiff, ground: Ground, model: Path, tmp_path: Path, name: str
) -> None:
    arguments, sentence = failures(make_tiff, ground, model, tmp_path)[name]
    done = command_line("run", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert sentence in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_tile_that_is_no_probability(make_tiff: Tiff, ground: Ground, model: Path, tmp_path: Path) -> None:
    """A real model whose arithmetic breaks down where the image is black."""
    import onnx

    proto = onnx.load(str(model))
    (absolute,) = [node for node in proto.graph.node if node.op_type == "Abs"]
    broken = onnx.helper.make_node("Div", ["sum", "sum"], ["absolute"])  # 0 / 0
    index = list(proto.graph.node).index(absolute)
    proto.graph.node.remove(absolute)
    proto.graph.node.insert(index, broken)
    onnx.save(proto, str(tmp_path / "broken.onnx"))
    image = ground(200, 200)
    image[:, 150:, 150:] = 0  # only the last tile fails
    path = make_tiff("a.tif", image)
    done = command_line(
        "run", path, path, "-o", tmp_path / "out", "--model", tmp_path / "broken.onnx", "--device", "cpu"
    )
    assert done.returncode == 2
    assert "error: the model returned values" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_full_disk(small_disk: Path, make_pair: MakePair, model: Path) -> None:
    a, b = make_pair(2100, 800)
    done = command_line("run", a, b, "-o", small_disk / "out", "--model", model)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "done: repeat the command with --resume to continue" in done.stderr
    assert [path.name for path in (small_disk / "out").iterdir()] == [".schanger-edge.unfinished"]


def test_info_prints_the_card(model: Path) -> None:
    done = command_line("info", model)
    assert done.returncode == 0
    card = json.loads(done.stdout)
    assert (card["name"], card["tile"], card["halo"]) == ("standin-integer", 64, 4)
    assert len(card["sha256"]) == 64


def test_version_and_help() -> None:
    assert process("--version").stdout.startswith("schanger-edge ")
    assert "run" in command_line("--help").stdout
    assert process("run").returncode == 2


def test_evaluate(ground: Ground, model: Path, tmp_path: Path) -> None:
    for index in range(2):
        for folder in ("A", "B", "label"):
            path = tmp_path / "root" / "val" / folder
            path.mkdir(parents=True, exist_ok=True)
            image = ground(128, 192, index + 5 * (folder == "B")).transpose(1, 2, 0)
            cv2.imwrite(str(path / f"{index}.png"), (image[..., 0] > 128) * 255 if folder == "label" else image)
    arguments = ["evaluate", "--dataset", "levir-cd", tmp_path / "root", "--model", model]
    done = command_line(*arguments, "--split", "val", "-o", tmp_path / "new" / "scores.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "new" / "scores.json").read_text())
    counts = result["counts"]
    assert sum(counts.values()) == 2 * 128 * 192
    f1 = 2 * counts["true_positive"]
    f1 /= f1 + counts["false_positive"] + counts["false_negative"]
    assert result["f1"] == pytest.approx(f1)
    assert f"f1 {100 * f1:.2f}" in done.stdout
    assert result["tiles"] == 12
    assert "12 tiles of 64" in done.stdout
    assert json.loads(command_line(*arguments, "--split", "val", "--json").stdout) == result
    missing = command_line(*arguments, "--split", "test")
    assert missing.returncode == 2
    assert "does not exist" in missing.stderr
    own = command_line("evaluate", tmp_path / "root", "--model", model, "--split", "val")
    assert own.returncode == 0
    assert "published" not in own.stdout
    unknown = command_line("evaluate", "--dataset", "mars", tmp_path, "--model", model)
    assert unknown.returncode == 2
    assert "levir-cd" in unknown.stderr


def test_the_offset_is_printed_and_aligned(make_tiff: Tiff, model: Path, tmp_path: Path) -> None:
    a, b = make_tiff("a.tif", terrain(300, 300)), make_tiff("b.tif", terrain(300, 300, at=(3, 4)))
    out = ["-o", tmp_path / "out", "--model", model]
    done = " ".join(command_line("run", a, b, *out).stderr.split())
    assert "the dates are 5.00 pixels (2.5 m) apart" in done
    assert "warning: the dates are 5.00 pixels (2.5 m) apart, more than 2 pixels" in done
    done = " ".join(command_line("run", a, b, *out, "--max-offset", "6").stderr.split())
    assert "more than" not in done
    done = " ".join(command_line("run", a, b, *out, "--align").stderr.split())
    assert "aligned to 0.0" in done
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["registration"]["applied"][2:6:3] == [3, 4]
    refused = command_line("run", a, b, *out, "--max-offset", "0")
    assert refused.returncode == 2
    assert "max-offset must be greater than 0 pixels, or inf" in " ".join(refused.stderr.split())


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_without_letters_of_a_name(make_pair: MakePair, model: Path, tmp_path: Path, encoding: str) -> None:
    out = tmp_path / "日本"
    command = [sys.executable, "-m", "schanger_edge", "run", *make_pair(70, 70), "-o", out, "--model", model]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([str(part) for part in command], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"\\u65e5\\u672c" in done.stdout
    assert (out / "summary.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_without_room() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "schanger_edge", "--version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "found no room" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems know no such names")
@pytest.mark.parametrize("flag", ["before", "--clip", "--model", "--valid-mask-after", "-o"])
def test_a_name_that_is_no_text(make_pair: MakePair, model: Path, tmp_path: Path, flag: str) -> None:
    odd, (before, after) = os.fsdecode(os.fsencode(tmp_path) + b"/\xe4.tif"), make_pair(70, 70)  # as Python reads it
    shutil.copy(before, odd)
    images = (odd, after) if flag == "before" else (before, after)
    more = [] if flag == "before" else [flag, odd]
    started = process if flag == "before" else command_line
    done = started("run", *images, "-o", tmp_path / "out", "--model", model, *more)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "has a name that is not valid text" in " ".join(done.stderr.split())
