"""What the QGIS plugin calls, and with which arguments."""

from __future__ import annotations

import ast
import csv
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from schanger_edge_qgis import command
from typer.testing import CliRunner

from schanger_edge.cli.app import app
from schanger_edge.datasets.pair_list import read_pair_list
from schanger_edge.datasets.splits import SPLITS


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("python", True),
        ("python3.12", True),
        ("pythonw.exe", True),
        ("py.exe", True),
        ("pypy3", True),
        ("schanger-edge", False),
        ("schanger-edge.exe", False),
        ("python-launcher", False),
    ],
)
def test_an_interpreter_is_told_from_the_executable(name: str, module: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch()
    assert command.program(f" {path} ") == [str(path), *(["-m", "schanger_edge"] if module else [])]


def test_without_a_setting_the_path_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(command.CommandError, match=r"not on the PATH: choose .* in Settings > Options > Processing"):
        command.program("")
    (tmp_path / "schanger-edge").touch(mode=0o755)
    assert command.program("") == [str(tmp_path / "schanger-edge")]
    with pytest.raises(command.CommandError, match="is no file: choose"):
        command.program(str(tmp_path))


def test_what_is_not_set_is_left_to_the_command_line() -> None:
    given = {"--gsd": 0.5, "--min-area": 10.0, "--threshold": None, "--align": True, "--restart": False, "--clip": ""}
    assert command.arguments(given) == ["--gsd", "0.5", "--min-area", "10", "--align"]
    assert command.arguments({"--threshold": 0.0, "--gsd": 1 / 3}) == [
        "--threshold", "0", "--gsd", "0.333333333333333",
    ]  # fmt: skip


def test_further_options_are_parted_at_blanks() -> None:
    assert command.further("") == []
    text = r"""--match  --valid-mask-before "C:\my images\mask.tif" --also geojson"""
    words = ["--match", "--valid-mask-before", r"C:\my images\mask.tif", "--also", "geojson"]
    assert command.further(text) == words
    with pytest.raises(command.CommandError, match="lack a quotation mark: close it"):
        command.further('--clip "a b')


def test_the_table_of_a_labelled_area_is_one_that_dataset_make_reads(tmp_path: Path) -> None:
    given = ["a, b.tif", "b.tif", "label.gpkg", "second", "area.gpkg"]
    paths = [str(tmp_path / name) if name != "second" else name for name in given]
    command.write_pairs(tmp_path / "pairs.csv", *paths)
    (row,) = read_pair_list(tmp_path / "pairs.csv", SPLITS)
    assert [row.before, row.after, row.label, row.layer, row.area] == paths
    assert row.split == command.SPLIT
    command.write_pairs(tmp_path / "all.csv", *paths[:3], "", "")
    (whole,) = read_pair_list(tmp_path / "all.csv", SPLITS)
    assert (whole.layer, whole.area) == (None, None)
    with open(tmp_path / "pairs.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 2


def flags_of(name: str) -> set[str]:
    """All texts of a file of the plugin that look like a flag."""
    tree = ast.parse((ROOT / "qgis" / "schanger_edge_qgis" / name).read_text(encoding="utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {text for text in texts if text.startswith("--")}


@pytest.mark.parametrize(("name", "words"), [("find_changes.py", ["run"])])
def test_the_command_line_has_the_flags(name: str, words: list[str]) -> None:
    assert flags_of(name)
    told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "300", "TERM": "dumb"}, color=False)
    assert told.exit_code == 0
    assert {flag for flag in flags_of(name) if f"{flag} " not in told.output} == set()


def test_python_3_9_reads_the_plugin() -> None:
    """That of QGIS 3.22 on Windows and macOS."""
    files = list((ROOT / "qgis" / "schanger_edge_qgis").glob("*.py"))
    assert len(files) > 5
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]
        imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
        assert not [module for module in imported if str(module).startswith(("schanger_edge", "schanger_export"))]
    assert "qgis" not in sys.modules


def test_a_command_is_shown_as_one_types_it() -> None:
    assert command.shown(["a b", "c"]) == "'a b' c"
