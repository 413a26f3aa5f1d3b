"""What the command line says and where: results on standard output, all else on standard error and in the log."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rich.console import Console
from rich.text import Text

from schanger_edge.errors import SchangerError
from schanger_edge.options import Options, option
from schanger_edge.progress import BUILD, Face, Tell, shown

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
LOG = logging.getLogger("schanger_edge")
INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C."""
BUILD_TAKES = (
    "building a TensorRT plan: this may take minutes, longest on small boards. The plan is kept for later runs."
)


@dataclasses.dataclass(frozen=True)
class Talk(Options):
    """What every command says, beside its results.

    These flags may stand before the command or after it.
    """

    title = "Output"

    quiet: bool = option(False, "Print only results, warnings and errors.", short="-q")
    verbose: bool = option(False, "Print the details of the log, too.", short="-v")
    log_file: str | None = option(
        None, "Also append what is said, with details and times, to this file.", unset="none", is_path=True
    )
    progress: Face = option(
        "auto",
        "On standard error: auto is a bar, or a line now and then off a terminal; json is one object a line.",
    )

    now: ClassVar[Talk]
    """As the command line asks for it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quiet and self.verbose:
            raise SchangerError("give --quiet or --verbose, not both.")

    def begin(self) -> None:
        """Say from now on what these options want."""
        Talk.now = self
        level = logging.WARNING if self.quiet else logging.DEBUG if self.verbose else logging.INFO
        handlers: list[logging.Handler] = [_Terminal(level)]
        if self.log_file is not None:
            path = Path(self.log_file)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = _File(path, encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise SchangerError(
                    f"--log-file: {path} cannot be written ({error.strerror}): name another file."
                ) from error
            file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            handlers.append(file)
        for old in LOG.handlers:
            old.close()
        LOG.handlers = handlers
        LOG.setLevel(logging.DEBUG if self.verbose or self.log_file is not None else logging.INFO)

    @property
    def face(self) -> Face | None:
        """How progress is shown; None where it is not."""
        return None if self.quiet and self.progress == "auto" else self.progress


Talk.now = Talk()


class _Terminal(logging.Handler):
    """Lines on standard error, coloured by how much they matter."""

    def emit(self, record: logging.LogRecord) -> None:
        style = {logging.WARNING: "yellow", logging.ERROR: "bold red"}.get(record.levelno, "")
        err.print(Text(self.format(record), style=style))


class _File(logging.FileHandler):
    """The log; where it can be written no more, the work goes on without it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        LOG.removeHandler(self)
        warn(f"{self.baseFilename} cannot be written any more: the log ends here.")


def note(*texts: str) -> None:
    """What the user should know of."""
    for text in texts:
        LOG.info("%s", text)


def warn(*texts: str, word: str = "warning") -> None:
    """What makes a result doubtful."""
    for text in texts:
        LOG.warning("%s: %s", word, text)


def fail(text: str) -> None:
    """What went wrong."""
    LOG.error("%s", text)


@contextlib.contextmanager
def progress_bars(*, to_people: bool = True) -> Iterator[Tell]:
    """Whom to tell how far work is, shown as the command line asks for it; or to programs alone."""
    told = False
    with shown(err, Talk.now.face if to_people or Talk.now.progress == "json" else None) as tell:

        def told_first(stage: str, done: int, total: int, /, **facts: float | str | None) -> None:
            nonlocal told
            if stage == BUILD and not told:
                told = True
                note(BUILD_TAKES)
            tell(stage, done, total, **facts)

        yield told_first
