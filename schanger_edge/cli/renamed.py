"""Flags that had another name up to 0.1: they are taken for one version more, with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

from schanger_edge.cli.talk import note

_DATA = {"--pairs": "--data", "--samples": "--tiles"}
RENAMED = {
    "watch": {"--out": "--output"},
    "batch": {"--out": "--output", "--split": "--divide"},
    "evaluate": {"--root": "", "--label-rule": "--label", "--json": "--output"},
    "compare": {**_DATA, "--json": "--output"},
    "convert": _DATA,
    "calibrate": _DATA,
    "bench": {"--models": "", "--dataset": "--data"},
    "make": {"--split": "--shares"},
    "train": {"--clip": "--max-norm"},
    "pretrain": {"--clip": "--max-norm"},
}
"""Old name to new, by command; what is an argument now has no name."""


class Command(TyperCommand):
    """A command that takes the old names, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The names of today first."""
        return super().parse_args(ctx, renamed(self.name or "", args))


def renamed(command: str, given: list[str]) -> list[str]:
    """The arguments of a command with the names of today; a sentence tells of each that had another."""
    return [*_renamed(RENAMED.get(command, {}), given)]


def _renamed(names: dict[str, str], given: list[str]) -> Iterator[str]:
    told = set()
    for index, argument in enumerate(given):
        old, equals, value = argument.partition("=")
        if argument == "--":
            yield from given[index:]
            return
        if old not in names or (old == "--json" and not (value or _is_json(given[index + 1 : index + 2]))):
            yield argument
            continue
        new = names[old]
        if old not in told:
            told.add(old)
            now = f"is now {new}" if new else "is no longer written: what follows it is an argument"
            note(f"{old} {now}; the old name is taken for the last time in this version.")
        if new:
            yield new + equals + value
        elif equals:
            yield value


def _is_json(following: list[str]) -> bool:
    """Whether `--json` names a file, as it once did for some commands; now it prints."""
    return any(word.endswith(".json") or word.startswith("/dev/") for word in following)
