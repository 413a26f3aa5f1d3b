"""The commands as a whole: one list, one vocabulary, names of the last version, and a help that is there at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.cli.app import COMMANDS, load
from schanger_edge.cli.renamed import RENAMED, renamed
from schanger_edge.errors import ProductError
from schanger_edge.files import replacing

HEAVY = ("numpy", "rasterio", "cv2", "onnxruntime", "pyproj", "shapely", "torch")
QUICK = f"""
import sys
import schanger_edge
from schanger_edge.cli import app
for arguments in (["--help"], ["--version"], ["nothing"]):
    try:
        app(arguments)
    except SystemExit:
        pass
print("loaded:", *sorted(sys.modules.keys() & {set(HEAVY)}))
"""


def flags_of(command: Any) -> Iterator[tuple[str, Any]]:
    for parameter in command.params:
        for flag in parameter.opts:
            yield flag, parameter


def every() -> dict[str, Any]:
    """All commands by what a user types."""
    found = {name: load(name) for name in COMMANDS}
    group = found.pop("dataset")
    return found | {f"dataset {name}": command for name, command in group.commands.items()}


def test_the_help_needs_neither_arrays_nor_gdal_nor_an_engine() -> None:
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True, check=True)
    assert "Find what changed between two images" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_the_list_says_what_each_command_says_of_itself() -> None:
    for name, entry in COMMANDS.items():
        assert (load(name).help or "").splitlines()[0] == entry.help, name
    assert next(iter(COMMANDS)) == "run"
    panels = [entry.panel for entry in COMMANDS.values()]
    assert [*dict.fromkeys(panels)] == ["Map", "Automate", "Models", "Train", "Machine"]


def test_one_word_one_meaning() -> None:
    meanings: dict[str, set[str]] = {"--split": set(), "--clip": set(), "--data": set(), "--label": set()}
    for name, command in every().items():
        own = dict(flags_of(command))
        assert not own.keys() & {"--out", "--root", "--pairs"}, name
        assert ("-o" in own) == ("--output" in own), name
        assert own.get("-o") is own.get("--output"), name
        assert "--json" not in own or own["--json"].is_flag, name
        assert {"-q", "-v", "--log-file", "--progress"} <= own.keys(), name
        for flag in meanings.keys() & own.keys():
            meanings[flag].add(own[flag].help.split()[0])
    assert (meanings["--split"], meanings["--clip"]) == ({"Split"}, {"Vector"})
    assert (meanings["--data"], meanings["--label"]) == ({"Source", "Labelled"}, {"Label", "Mask"})


@pytest.mark.parametrize(
    ("command", "given", "taken"),
    [
        ("watch", "in --out st --once", "in --output st --once"),
        ("batch", "p.csv --out=st --split", "p.csv --output=st --divide"),
        ("evaluate", "--root data --json s.json --label-rule 1", "data --output s.json --label 1"),
        ("evaluate", "--json data --split val", "--json data --split val"),
        ("compare", "a b --pairs x --pairs y --json=c", "a b --data x --data y --output=c"),
        ("calibrate", "m --samples 9", "m --tiles 9"),
        ("bench", "--models a b --dataset x=y", "a b --data x=y"),
        ("make", "p.csv --split 1,2,3", "p.csv --shares 1,2,3"),
        ("train", "data --clip 1 -- --clip", "data --max-norm 1 -- --clip"),
        ("run", "a b --clip c --out d", "a b --clip c --out d"),
    ],
)
def test_names_of_the_last_version(command: str, given: str, taken: str) -> None:
    assert renamed(command, given.split()) == taken.split()


def test_what_is_renamed_is_there_under_its_new_name() -> None:
    commands = every()
    for name, names in RENAMED.items():
        own = dict(flags_of(commands["dataset make" if name == "make" else name]))
        assert set(filter(None, names.values())) <= own.keys(), name
        assert not (names.keys() - {"--json"}) & own.keys(), name


def test_an_old_name_works_and_a_sentence_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["watch", str(tmp_path / "none"), "--out", str(tmp_path / "st"), "--once"])
    assert "none is not a folder" in str(done.exception)
    assert done.stderr.count("--out is now --output; the old name is taken for the last time in this version.") == 1


def test_the_shell_can_complete() -> None:
    environment = {"_SCHANGER_EDGE_COMPLETE": "complete_bash", "COMP_WORDS": "schanger-edge ru", "COMP_CWORD": "1"}
    done = CliRunner().invoke(app, [], prog_name="schanger-edge", env=environment)
    assert done.stdout.split() == ["run"]


def test_folders_are_made_where_an_output_is_named(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.json"
    with pytest.raises(ProductError, match="choose a writable folder"), replacing(path, ProductError):
        raise OSError("no")
    assert not list(tmp_path.iterdir())  # nothing is left of what failed
    with replacing(path, ProductError) as temporary:
        temporary.write_text("{}")
    assert path.read_text() == "{}"
