"""Flags that follow from options: what a command gets where a user gave some of them, and where a group inherits."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from schanger_edge.cli.flags import flags
from schanger_edge.options import OptionGroups, Options, option


@dataclasses.dataclass(frozen=True)
class Pace(Options):
    title = "Pace"

    speed: float = option(1.0, "How fast.", above=0)
    steps: int = option(10, "How far.", at_least=1)
    careful: bool = option(True, "Look at nothing.", flag="--careless")


@dataclasses.dataclass(frozen=True)
class Walk(OptionGroups):
    pace: Pace = Pace()


@dataclasses.dataclass(frozen=True)
class Run(Walk):
    pace: Pace = Pace(speed=3.0)


def invoked(hint: Any, *arguments: str) -> Any:
    seen: list[Any] = []
    app = typer.Typer()

    def command(options: Any, place: str = "here") -> None:
        seen.append(options)

    command.__annotations__["options"] = hint
    app.command()(flags(command))
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return seen[0] if seen else result.output


def test_what_was_given_alone_also_where_it_is_the_default() -> None:
    hint = Annotated[dict[str, Any], Walk]
    assert invoked(hint) == {}
    assert invoked(hint, "--speed", "1", "--place", "there") == {"speed": 1.0}
    assert invoked(hint, "--careless") == {"careful": False}


def test_what_is_true_by_default_has_a_flag_that_denies_it() -> None:
    assert invoked(Walk).pace.careful is True
    assert invoked(Walk, "--careless").pace == Pace(careful=False)


@pytest.mark.parametrize(("kind", "speed"), [(Walk, 1.0), (Run, 3.0)])
def test_defaults_are_those_of_the_class_that_composes(kind: type[Walk], speed: float) -> None:
    assert invoked(kind, "--steps", "4") == kind.of(steps=4)
    assert kind.of(steps=4).pace.speed == speed
    assert [one.default for one in kind.described()] == [speed, 10, True]
    assert f"[default: {speed}]" in invoked(kind, "--help")
