"""The Typer application, its two consoles and its entry point."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from schanger_edge._version import __version__
from schanger_edge.errors import SchangerError, printable

app = typer.Typer(
    help="Change maps from two georeferenced images, on the machine in the field.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C."""


def main() -> None:
    """Entry point of `schanger-edge`."""
    signal.signal(signal.SIGTERM, _terminated)
    _show_log()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console may have no sign for a letter of a file's name
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except SchangerError as error:
        err.print(Text(f"error: {printable(str(error))}"), style="bold red")
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # Python would try again when it ends
        err.print(Text(f"error: what was to be printed or written found no room ({error.strerror}): make some there."))
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(INTERRUPTED)


def _show_log() -> None:
    """What the package tells by the way, on standard error."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            err.print(Text(record.getMessage()))

    log = logging.getLogger("schanger_edge")
    log.setLevel(logging.INFO)
    log.handlers = [Lines()]


def _terminated(number: int, frame: object) -> None:
    """End as an interruption does, so that half-written files are removed."""
    sys.exit(128 + number)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"schanger-edge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...
