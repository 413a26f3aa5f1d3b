"""How far long work is: a bar on a terminal, elsewhere a line now and then, or for programs one JSON object a line."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, what is done of it and what there is in all, in the units of `UNITS`."""
Face = Literal["auto", "json"]

UNITS = {
    **dict.fromkeys(("render", "predict"), "pixels"),
    **dict.fromkeys(("tiles", "compare", "reference", "ranges"), "tiles"),
    **dict.fromkeys(("images", "accuracy"), "images"),
    "fetch": "bytes",
    "pairs": "pairs",
}
"""Of stages; all others go in steps."""
BUILD = "build"
"""A stage whose end is unknown until it is there."""
OPEN = "open"
"""A stage whose beginning gets no line, so that nothing precedes the sentence on input that is refused at once."""
LINE_SHARE, LINE_SECONDS = 0.05, 30.0
"""Off a terminal there is a line where so much more is done, or so long has passed, whichever is first."""
LINE_PAUSE, JSON_PAUSE = 1.0, 0.25
"""Seconds between two lines of a stage, at least; its first and last are always told."""
_MEGA = {"pixels": "Mpx", "bytes": "MB"}


class Tell(Protocol):
    """A `Progress` that also takes facts, by name: `tell("train", 3, 10, loss=0.2)`."""

    def __call__(self, stage: str, done: int, total: int, /, **facts: float | str | None) -> None: ...


@dataclasses.dataclass
class Stage:
    """A stage under way.

    Attributes:
        name: of the stage.
        first: what was done when it was first heard of, which an earlier run may have left.
        began: when that was, in seconds.
        done: what is done now.
        total: what there is in all; None where nobody knows.
        now: when `done` was told.
        facts: what else there is to say.
    """

    name: str
    first: int
    began: float
    done: int = 0
    total: int | None = None
    now: float = 0.0
    facts: dict[str, float | str | None] = dataclasses.field(default_factory=dict)

    @property
    def unit(self) -> str:
        """In which it is counted."""
        return UNITS.get(self.name, "steps")

    @property
    def rate(self) -> float | None:
        """Units per second since it was first heard of; None before the second time."""
        passed = self.now - self.began
        return (self.done - self.first) / passed if passed > 0 and self.done > self.first else None

    @property
    def eta(self) -> float | None:
        """Seconds left at this rate."""
        rate = self.rate
        return None if rate is None or self.total is None else max(0, self.total - self.done) / rate

    def as_json(self) -> str:
        """One line for programs."""
        speed = {"rate": self.rate, "eta": self.eta}
        rounded = {name: value and float(f"{value:.4g}") for name, value in speed.items()}
        known = {"stage": self.name, "done": self.done, "total": self.total, "unit": self.unit}
        return json.dumps({**known, **rounded, **self.facts})

    def words(self) -> str:
        """Everything but the name and the share, for people."""
        rate, mega = self.rate, _MEGA.get(self.unit)
        parts = [] if mega or self.total is None else [f"{self.done:,} of {self.total:,} {self.unit}"]
        parts += [f"{rate / 1e6:.3g} {mega}/s"] if mega and rate else []
        told = {name.replace("_", " "): value for name, value in self.facts.items() if value is not None}
        parts += [f"{name} {value if isinstance(value, str) else format(value, '.3g')}" for name, value in told.items()]
        if self.eta and self.done != self.total:
            parts.append(f"{_duration(self.eta)} left")
        return ", ".join(parts)


def heard(progress: Progress | bool | None) -> contextlib.AbstractContextManager[Progress | None]:
    """Whom to tell: where this is True, the terminal or notebook of this process."""
    if progress is not True:
        return contextlib.nullcontext(progress or None)
    from rich.console import Console

    return shown(Console(stderr=True, highlight=False))


def shown(console: Console, face: Face | None = "auto") -> contextlib.AbstractContextManager[Tell]:
    """Whom to tell how far a piece of work is; it is shown until the block ends.

    Args:
        console: where.
        face: `auto` is a bar on a terminal, else lines; `json` is one object a line; None shows nothing.
    """
    if face is None:
        return contextlib.nullcontext(lambda *_, **__: None)
    if face == "json":
        return _Lines(lambda stage: _print(console, stage.as_json()), JSON_PAUSE, 0.0)
    if console.is_terminal or console.is_jupyter:
        return _bars(console)
    return _Lines(lambda stage: _line(console, stage), LINE_PAUSE, LINE_SHARE)


class _Stages(dict[str, Stage]):
    """The stages by name."""

    def renewed(self, name: str, done: int, total: int, facts: dict[str, Any]) -> tuple[Stage, bool]:
        """The stage as it is now, and whether it has just begun, for the first time or anew."""
        now, stage = time.monotonic(), self.get(name)
        new = stage is None or done < stage.done
        if stage is None or new:
            stage = self[name] = Stage(name, done, now)
        stage.done, stage.now, stage.facts = done, now, facts
        stage.total = None if name == BUILD and not done else total
        return stage, new


class _Lines(contextlib.AbstractContextManager[Tell]):
    """Writes the first and the last of each stage, and some between them.

    Args:
        write: a stage.
        pause: seconds between two lines of a stage, at least.
        share: of the stage, that must be done between two lines unless `LINE_SECONDS` have passed.
    """

    def __init__(self, write: Callable[[Stage], None], pause: float, share: float) -> None:
        self._write, self._pause, self._share = write, pause, share
        self._stages = _Stages()
        self._told = Stage("", 0, 0.0, now=-1.0)  # as it was written last
        self._pending: Stage | None = None

    def __enter__(self) -> Tell:
        return self._tell

    def __exit__(self, *_: object) -> None:
        self._flush()

    def _tell(self, name: str, done: int, total: int, /, **facts: float | str | None) -> None:
        if (self._told.name, self._told.done, self._told.facts) == (name, done, facts):
            return
        stage, new = self._stages.renewed(name, done, total, facts)
        if name != self._told.name:
            self._flush()
            new = True
        passed, share = stage.now - self._told.now, (done - self._told.done) / (total or 1)
        due = passed >= self._pause and (share >= self._share or passed >= LINE_SECONDS)
        self._pending = stage
        if new or due or done >= total:
            self._flush()

    def _flush(self) -> None:
        """Write what was heard last and not yet written."""
        if self._pending is not None:
            self._told, self._pending = dataclasses.replace(self._pending), None
            self._write(self._told)


def _line(console: Console, stage: Stage) -> None:
    if stage.total is not None and (stage.done or stage.name != OPEN):
        words = stage.words()
        share = f"{stage.done / (stage.total or 1):.0%}"
        _print(console, f"{stage.name}: {share}{', ' if words else ''}{words}")


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


@contextlib.contextmanager
def _bars(console: Console) -> Iterator[Tell]:
    from rich import progress as rich_progress

    bar = rich_progress.BarColumn(40)
    columns = ("{task.description:>9}", bar, "{task.percentage:>4.0f} %", "{task.fields[words]}")
    stages, tasks = _Stages(), dict[str, Any]()
    with rich_progress.Progress(*columns, console=console) as bars:

        def tell(name: str, done: int, total: int, /, **facts: float | str | None) -> None:
            stage, _ = stages.renewed(name, done, total, facts)
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=stage.total, words="")
            bars.update(tasks[name], completed=done, total=stage.total, words=stage.words())

        yield tell


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
