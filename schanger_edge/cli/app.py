"""The commands, each loaded when it is called, and how every one of them ends.

An error ends with one sentence and exit code 2. A command is a function in a module of this folder and one line here.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
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
    """A command: its panel of the help, the module of the function of its name, and that function's first sentence."""

    panel: str
    module: str
    help: str


COMMANDS = {
    "run": Entry("Map", "run", "Find what changed between two images of one place."),
    "demo": Entry("Map", "run", "Render a pair with known truth, find what changed and score it."),
    "review": Entry(
        "Map", "review", "Take over what was decided in a report: reviewed changes, labels for training, a PDF."
    ),
    "watch": Entry("Automate", "watch", "Compare each arriving scene with the newest earlier one of the same place."),
    "status": Entry("Automate", "watch", "Show a watch's queue, throughput and last errors."),
    "batch": Entry("Automate", "batch", "Run a list of pairs on this machine's processes or on a Dask cluster."),
    "models": Entry(
        "Models",
        "models",
        "List the models that can be named: bundled, fetched, and published; and which one is for which imagery.",
    ),
    "fetch": Entry(
        "Models",
        "models",
        "Fetch published models before leaving for a place without a network (needs the models extra).",
    ),
    "info": Entry("Models", "models", "Print a model's card and, for a plan, what it was built for."),
    "evaluate": Entry(
        "Models",
        "scores",
        "Score a model against labels, by the official protocol or on whole images as `run` maps them.",
    ),
    "compare": Entry("Models", "scores", "Run two models on the same tiles: agreement, differences, F1, latency."),
    "convert": Entry(
        "Models",
        "models",
        "Convert an FP32 model to FP16 and measure it against the original (needs the quantize extra).",
    ),
    "calibrate": Entry(
        "Models", "models", "Convert an FP32 model to INT8 and measure the loss (needs the quantize extra)."
    ),
    "dataset": Entry("Train", "data", "Make labelled datasets."),
    "statistics": Entry(
        "Train", "data", "Compute a dataset's colour statistics, for --normalization of train and export."
    ),
    "pretrain": Entry(
        "Train", "training", "Train the semantic prior on single images with masks of buildings or land cover."
    ),
    "train": Entry(
        "Train", "training", "Train on labelled pairs: Siamese fine-tuning from single-date or earlier weights."
    ),
    "export": Entry(
        "Train",
        "models",
        "Turn weights into a model file (needs the models extra), or add one to a Triton repository.",
    ),
    "doctor": Entry("Machine", "engines", "Show what this machine has, what a run will use, and what is missing."),
    "build": Entry("Machine", "engines", "Build a TensorRT plan from a model (needs the tensorrt or rtx extra)."),
    "bench": Entry(
        "Machine",
        "bench",
        "Measure accuracy, speed, memory and energy of models on this machine (needs the bench extra).",
    ),
}


class Commands(TyperGroup):
    """Lists all commands without loading them: the help is there at once, without GDAL and engines."""

    def __init__(self, **settings: Any) -> None:
        listed = {
            name: TyperCommand(name, help=entry.help, rich_help_panel=entry.panel) for name, entry in COMMANDS.items()
        }
        super().__init__(**{**settings, "commands": listed})

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
