"""A command in a process of its own: a clean environment, progress, cancelling, and what went wrong in one sentence.

Nothing of QGIS is needed here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Callable

from .command import SETTINGS, CommandError

_OURS = re.compile(
    "PYTHON.*|__PYVENV_LAUNCHER__|VIRTUAL_ENV|CONDA_PREFIX|GDAL_DATA|GDAL_DRIVER_PATH|PROJ_LIB|PROJ_DATA|LD_LIBRARY_PATH"
    "|LD_PRELOAD|DYLD_.*|QT_PLUGIN_PATH|FORCE_COLOR",
    re.IGNORECASE,
)
"""What QGIS and its installers set for themselves, and what colours the output."""
_BREAK: int = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)
_FLAGS: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
_ERROR = "error: "
STEPS = "steps"
"""The unit of stages that are short: opening, finishing."""
_MEGA = {"pixels": (1e6, "megapixels"), "bytes": (1e6, "MB")}


@dataclasses.dataclass(frozen=True)
class Progress:
    """A line of `--progress json`.

    Attributes:
        stage: what is being done.
        done: how much of it.
        total: how much there is in all; None where that is unknown.
        unit: of both.
        eta: seconds left; None where that is unknown.
    """

    stage: str
    done: float
    total: float | None = None
    unit: str = ""
    eta: float | None = None

    @property
    def percent(self) -> float | None:
        """Of the stage."""
        return 100 * self.done / self.total if self.total else None

    @property
    def tenth(self) -> int:
        """How many tenths of the stage are done."""
        return int((self.percent or 0) // 10)

    def __str__(self) -> str:
        factor, unit = _MEGA.get(self.unit, (1, self.unit))
        done, total = (f"{value / factor:,.{1 if factor > 1 else 0}f}" for value in (self.done, self.total or 0))
        count = f"{done} of {total}" if self.total else done
        if not self.eta:
            return f"{self.stage}: {count} {unit}".rstrip()
        left = f"{self.eta / 60:.0f} min" if self.eta > 90 else f"{self.eta:.0f} s"
        return f"{self.stage}: {count} {unit}".rstrip() + f", {left} left"


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, its standard output, and what it said on standard error beside progress."""

    code: int
    output: str
    said: tuple[str, ...]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what QGIS sets for its own Python, GDAL and PROJ.

    Text comes as UTF-8, at once, and no module of the folder that QGIS happens to be in is imported.
    """
    kept = {name: value for name, value in environment.items() if not _OURS.fullmatch(name)}
    return {**kept, "PYTHONIOENCODING": "utf-8:backslashreplace", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}


def parse_progress(line: str) -> Progress | None:
    """The progress that a line tells; None where it is another line."""
    if not line.startswith("{"):
        return None
    try:
        told = json.loads(line)
        total, eta = told.get("total"), told.get("eta")
        return Progress(
            str(told["stage"]),
            float(told["done"]),
            None if total is None else float(total),
            str(told.get("unit") or ""),
            None if eta is None else float(eta),
        )
    except (ValueError, KeyError, TypeError):
        return None


def call(
    command: Sequence[str],
    hears: Callable[[object], None],
    cancelled: Callable[[], bool],
    patience: float = 10.0,
) -> Ended:
    """Run a command to its end.

    Args:
        command: the program and its arguments.
        hears: called with each line of standard error, as `Progress` or as text.
        cancelled: asked several times a second; True interrupts the command, which then keeps what it has finished.
        patience: seconds after which one that does not heed this is terminated, and after as many again killed.

    Raises:
        CommandError: it cannot be started.
    """
    said: list[str] = []
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                list(command),
                env=clean_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                creationflags=_FLAGS,
            )
        except OSError as error:
            reason = error.strerror or error
            raise CommandError(
                f"{command[0]} cannot be started ({reason}): choose another program in {SETTINGS}."
            ) from None
        with child:
            stop = _Stop(child, patience)
            for line in _lines(child):
                if cancelled():
                    stop.hasten()
                if not line:
                    continue
                progress = parse_progress(line)
                if progress is None:
                    said.append(line)
                hears(line if progress is None else progress)
        output.seek(0)
        return Ended(child.returncode, output.read().decode("utf-8", "replace"), tuple(said))


class _Stop:
    """Ends a process: kindly at first, then more and more harshly."""

    def __init__(self, child: subprocess.Popen[str], patience: float) -> None:
        self._child, self._patience, self._next = child, patience, 0.0
        self._steps = [lambda: child.send_signal(_BREAK), child.terminate, child.kill]

    def hasten(self) -> None:
        """The next step, once the one before has had its time."""
        if self._steps and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._patience
            try:
                self._steps.pop(0)()
            except OSError:  # Windows: a process without a console hears of no break
                self._next = 0.0


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of standard error as they come, and an empty one whenever none has come for a while."""
    assert child.stderr is not None
    arrived: queue.Queue[str | None] = queue.Queue()
    stream = child.stderr

    def read() -> None:
        for line in stream:
            arrived.put(line.rstrip())
        arrived.put(None)

    threading.Thread(target=read, name="schanger-edge", daemon=True).start()
    while True:
        try:
            line = arrived.get(timeout=0.2)
        except queue.Empty:
            line = ""
        if line is None:
            return
        yield line


def problem(ended: Ended, command: Sequence[str]) -> str:
    """What went wrong in a command that failed, in one sentence."""
    for line in reversed(ended.said):
        if line.startswith(_ERROR):
            return line[len(_ERROR) :]
    text = "\n".join(ended.said)
    if "No module named schanger_edge" in text:
        return f"{command[0]} has no schanger-edge: run {command[0]} -m pip install schanger-edge."
    if "No such option: --progress" in text:
        return f"the schanger-edge of {command[0]} is older than this plugin: upgrade it with pip."
    boxed = [line.strip("│ ") for line in ended.said if line.startswith("│")]  # how a wrong flag is refused
    if boxed:
        return " ".join(boxed)
    last = next((line for line in reversed(ended.said) if line), "it said nothing")
    return f"schanger-edge failed with exit code {ended.code}: {last}"
