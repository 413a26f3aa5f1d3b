"""What is called and with which arguments; nothing of QGIS is needed here."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Union

SETTINGS = "Settings > Options > Processing > Providers > schanger-edge"
"""Where the program is chosen."""
SPLIT = "test"
"""The split that all tiles of a scored area are in."""
_NAME = "schanger-edge"
_INTERPRETER = re.compile(r"(python|pypy)[\d.]*w?|py", re.IGNORECASE)

Value = Union[str, float, bool, None]


class CommandError(Exception):
    """What went wrong and what to do, in one sentence."""


def program(setting: str) -> list[str]:
    """How the command line is called.

    Args:
        setting: a Python interpreter that has schanger-edge, or the executable itself; empty looks on the PATH.

    Raises:
        CommandError: there is none.
    """
    chosen = setting.strip()
    path = os.path.expanduser(chosen) if chosen else shutil.which(_NAME)
    if path is None:
        raise CommandError(f"schanger-edge is not on the PATH: choose the Python that has it in {SETTINGS}.")
    if not os.path.isfile(path):
        raise CommandError(f"{path} is no file: choose the Python that has schanger-edge in {SETTINGS}.")
    name = Path(path).name
    stem = name[:-4] if name.lower().endswith(".exe") else name
    return [path, "-m", "schanger_edge"] if _INTERPRETER.fullmatch(stem) else [path]


def arguments(options: Mapping[str, Value]) -> list[str]:
    """Flags and their values; None, empty text and False are left out, True is a flag alone."""
    found: list[str] = []
    for flag, value in options.items():
        if value is True:
            found.append(flag)
        elif value is not None and value is not False and value != "":
            found += [flag, value if isinstance(value, str) else f"{value:.15g}"]
    return found


def further(text: str) -> list[str]:
    """Flags that the user typed, parted at blanks outside quotes; a backslash is part of a path.

    Raises:
        CommandError: a quotation mark is not closed.
    """
    words = shlex.shlex(text, posix=True)
    words.whitespace_split, words.commenters, words.escape = True, "", ""
    try:
        return list(words)
    except ValueError:
        raise CommandError(f"the further options {text!r} lack a quotation mark: close it.") from None


def write_pairs(path: Path, before: str, after: str, label: str, layer: str, area: str) -> None:
    """The table that `dataset make` reads, of one pair, all of whose tiles are in the split `SPLIT`.

    Args:
        path: the file to write.
        before: image of the first date.
        after: image of the second date.
        label: file with polygons of what changed.
        layer: their layer; empty for the file's only one.
        area: file with polygons of the ground that was looked at; empty for all of it.
    """
    row = {"before": before, "after": after, "label": label, "layer": layer, "area": area, "split": SPLIT}
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(row))
        table.writeheader()
        table.writerow(row)


def shown(command: Sequence[str]) -> str:
    """A command as one would type it."""
    return " ".join(map(shlex.quote, command))
