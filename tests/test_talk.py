"""What a command says: the flags that every command takes, before it or after it, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import MakePair

from schanger_edge.cli.app import call


class Said:
    """What a command line, called in this process, printed, and its exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: Any) -> None:
        with pytest.raises(SystemExit) as ended:
            call([str(argument) for argument in arguments])
        self.code = ended.value.code
        self.out, self.err = capsys.readouterr()


@pytest.fixture
def run_of(make_pair: MakePair, model: Path, tmp_path: Path) -> list[Any]:
    """Arguments of `run`, without the command."""
    return [*make_pair(100, 120), "-o", tmp_path / "out", "--model", model]


@pytest.mark.parametrize("before", [True, False])
def test_progress_as_objects(capsys: pytest.CaptureFixture[str], run_of: list[Any], before: bool) -> None:
    asked = ["--progress", "json"]
    said = Said(capsys, *(asked if before else []), "run", *run_of, *([] if before else asked))
    assert said.code == 0, said.err
    found = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    assert [one["stage"] for one in found if one["done"] == one["total"]] == ["open", "predict", "finish"]
    assert list(found[-1]) == ["stage", "done", "total", "unit", "rate", "eta"]
    assert list(found[-1].values())[:4] == ["finish", 4, 4, "steps"]
    assert "ONNX Runtime" in said.err


def test_quiet_leaves_results_and_errors(capsys: pytest.CaptureFixture[str], run_of: list[Any]) -> None:
    said = Said(capsys, "run", *run_of, "-q")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("change: ")
    refused = Said(capsys, "-q", "run", *run_of, "--bands", "red")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: ")
    again = Said(capsys, "run", *run_of)  # one command's wishes are not those of the next
    assert "ONNX Runtime" in again.err


def test_details_on_request(capsys: pytest.CaptureFixture[str], run_of: list[Any]) -> None:
    assert "predict took" in Said(capsys, "run", *run_of, "-v").err
    assert "predict took" not in Said(capsys, "run", *run_of).err


def test_the_log_has_everything_with_times(capsys: pytest.CaptureFixture[str], run_of: list[Any]) -> None:
    log = run_of[3] / "new" / "log.txt"
    said = Said(capsys, "run", *run_of, "--log-file", log)
    assert "predict took" not in said.err
    lines = log.read_text(encoding="utf-8").splitlines()
    assert all(line[:2] == "20" and line[10] == " " for line in lines)
    assert any("predict took" in line for line in lines)
    assert any("standin-integer" in line for line in lines)
    Said(capsys, "run", *run_of, "--bands", "red", "--log-file", log)
    after = log.read_text(encoding="utf-8").splitlines()
    assert after[: len(lines)] == lines
    assert "error: " in after[-1]


def test_a_log_that_cannot_be_written(capsys: pytest.CaptureFixture[str], run_of: list[Any], tmp_path: Path) -> None:
    said = Said(capsys, "run", *run_of, "--log-file", tmp_path)
    assert said.code == 2
    assert f"--log-file: {tmp_path} cannot be written (Is a directory): name another file." in said.err
    assert not run_of[3].exists()
    both = Said(capsys, "-q", "run", *run_of, "-v")
    assert (both.code, both.err) == (2, "error: give --quiet or --verbose, not both.\n")


def test_the_summary_for_programs(capsys: pytest.CaptureFixture[str], run_of: list[Any]) -> None:
    said = Said(capsys, "run", *run_of, "--json")
    assert json.loads(said.out) == json.loads((run_of[3] / "summary.json").read_text())
