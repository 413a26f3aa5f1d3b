"""The commands, each loaded when it is called, and how every one of them ends.

An error ends with one sentence and exit code 2. A command is a function in a module of this folder, and its name here.
"""

from __future__ import annotations

import ast
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from schanger_edge._version import __version__
from schanger_edge.cli.flags import flags
from schanger_edge.cli.renamed import Command
from schanger_edge.cli.talk import INTERRUPTED, Talk, fail, out, warn
from schanger_edge.errors import SchangerError, printable

SETTINGS = {"help_option_names": ["-h", "--help"]}


class Entry(NamedTuple):
    """A command: its name, the module of the function of that name, and its panel of the help."""

    name: str
    module: str
    panel: str

    @property
    def help(self) -> str:
        """The first line of what the function says of itself, read without loading its module."""
        source = Path(__file__).with_name(f"{self.module}.py").read_text(encoding="utf-8")
        functions = (one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef))
        own = next(one for one in functions if one.name.strip("_") == self.name)
        return str(ast.get_docstring(own)).partition("\n")[0]


_PANELS: dict[str, dict[str, tuple[str, ...]]] = {
    "Map": {"run": ("run", "demo", "review")},
    "Automate": {"automate": ("watch", "status", "batch")},
    "Models": {"models": ("models", "fetch", "info", "evaluate", "compare", "convert", "calibrate")},
    "Train": {"training": ("dataset", "statistics", "pretrain", "train", "export")},
    "Machine": {"engines": ("doctor", "build"), "bench": ("bench",)},
}
COMMANDS = {
    name: Entry(name, module, panel)
    for panel, modules in _PANELS.items()
    for module, names in modules.items()
    for name in names
}


class Commands(TyperGroup):
    """Lists all commands without loading them: the help is there at once, without GDAL and engines."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": {name: TyperCommand(name) for name in COMMANDS}})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What the list says of a command."""
        entry = COMMANDS.get(cmd_name)
        return entry and TyperCommand(cmd_name, help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, loaded."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else listed, rest


def load(name: str) -> Any:
    """A command with its flags."""
    found = getattr(importlib.import_module(f"schanger_edge.cli.{COMMANDS[name].module}"), name)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(pretty_exceptions_enable=False, add_completion=False, context_settings=SETTINGS)
        alone.command(name, cls=Command)(found)
        found = alone
    return typer.main.get_command(found)


app = typer.Typer(
    cls=Commands,
    help="Change maps from two georeferenced images, on the machine in the field.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)


def main() -> None:
    """Entry point of `schanger-edge`."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.unraisablehook = _unraisable
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console may have no sign for a letter of a file's name
            stream.reconfigure(errors="backslashreplace")
    call()


def call(arguments: Sequence[str] | None = None) -> None:
    """Do what a command line says, by default that of this process; ends with SystemExit."""
    Talk().begin()
    try:
        try:
            app(arguments)
        finally:
            sys.stdout.flush()
    except SchangerError as error:
        fail(f"error: {printable(str(error))}")
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # Python would try again when it ends
        fail(f"error: what was to be printed or written found no room ({error.strerror}): make some there.")
        sys.exit(2)
    except KeyboardInterrupt:
        fail("interrupted")
        sys.exit(INTERRUPTED)


def _terminated(number: int, frame: object) -> None:
    """End as an interruption does, so that half-written files are removed."""
    sys.exit(128 + number)


def _unraisable(problem: Any) -> None:
    """What Python cannot raise: one line of each of GDAL's errors whose letters rasterio cannot read."""
    if "rasterio" not in str(problem.object) or not isinstance(problem.exc_value, UnicodeDecodeError):
        sys.__unraisablehook__(problem)
    elif "log_error" not in str(problem.object):
        warn("GDAL found an error in an input, and says it in letters that cannot be read: check the input.")


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"schanger-edge {__version__}")
        raise typer.Exit


@app.callback()
@flags
def _root(
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None: ...
