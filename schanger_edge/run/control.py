"""How a run goes on after a stop, and who hears of it: what decides nothing about its results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from schanger_edge.options import Options, option
from schanger_edge.progress import Progress
from schanger_edge.run.options import RunOptions
from schanger_edge.scene import Pair
from schanger_edge.sessions import Session


@dataclasses.dataclass(frozen=True)
class AfterStop(Options):
    """What becomes of an unfinished run that an earlier call left; without either its presence is an error.

    Attributes:
        resume: go on with it; where nothing is left, begin.
        restart: drop it.
    """

    title = "Resuming"

    resume: bool = option(False, "Continue an unfinished run.")
    restart: bool = option(False, "Discard an unfinished run and start over.")


@dataclasses.dataclass(frozen=True)
class Control(AfterStop):
    """See `AfterStop`; and who hears of the run.

    Attributes:
        stop: asked before each section of the scene; once it says True the run ends with what it has finished kept.
        on_start: called once with the session, the pair and the warnings, before the first tile.
        progress: see `progress.Progress`; True shows a bar, or lines off a terminal.
    """

    stop: Callable[[], bool] | None = None
    on_start: Callable[[Session, Pair, Sequence[str]], None] | None = None
    progress: Progress | bool | None = None


def understood(
    options: RunOptions | None, control: Control | None, keywords: dict[str, Any]
) -> tuple[RunOptions, Control]:
    """Options and control with the keywords laid over them.

    Raises:
        TypeError: a keyword is none of theirs.
        SchangerError: a value is out of range.
    """
    names = {field.name for field in dataclasses.fields(Control)}
    own = {name: keywords[name] for name in names & keywords.keys()}
    others = {name: value for name, value in keywords.items() if name not in names}
    return (options or RunOptions()).replace(**others), dataclasses.replace(control or Control(), **own)
