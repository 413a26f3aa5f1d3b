"""The Typer application, its entry point, its two consoles, and what several commands print there."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from schanger_edge._version import __version__
from schanger_edge.errors import SchangerError, printable

if TYPE_CHECKING:
    from schanger_edge.evaluation.agreement import Agreement
    from schanger_edge.run.detect import Detection

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
BUILD = "build"  # the stage that `sessions.build` begins and ends with
BUILD_TAKES = (
    "building a TensorRT plan: this may take minutes, longest on small boards. The plan is kept for later runs."
)


def main() -> None:
    """Entry point of `schanger-edge`."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.unraisablehook = _unraisable
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
            note(record.getMessage())

    log = logging.getLogger("schanger_edge")
    log.setLevel(logging.INFO)
    log.handlers = [Lines()]


def _terminated(number: int, frame: object) -> None:
    """End as an interruption does, so that half-written files are removed."""
    sys.exit(128 + number)


def _unraisable(problem: Any) -> None:
    """What Python cannot raise: one line of each of GDAL's errors whose letters rasterio cannot read."""
    if "rasterio" not in str(problem.object) or not isinstance(problem.exc_value, UnicodeDecodeError):
        sys.__unraisablehook__(problem)
    elif "log_error" not in str(problem.object):
        err.print(
            "warning: GDAL found an error in an input, and says it in letters that cannot be read: check the input."
        )


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


def note(*texts: str) -> None:
    """What the user should know of."""
    for text in texts:
        err.print(Text(text))


def warn(*texts: str) -> None:
    """What makes a result doubtful."""
    for text in texts:
        err.print(Text(f"warning: {text}"), style="yellow")


def print_written(paths: Iterable[str | None]) -> None:
    """Files that a command wrote because it was asked for them."""
    for path in filter(None, paths):
        out.print(f"written: {path}")


def print_result(result: Detection) -> None:
    """What `run` and `demo` end with."""
    summary = result.summary
    area = summary["area_m2"]["changed"]
    size = f"{area:,.0f} m2" if area is not None else f"{result.changed:,} pixels"
    out.print(
        f"change: {size}, {result.changed_share:.2%} of the valid area, {result.polygons} polygons{_least(summary)}"
    )
    total = summary["pixels"]["total"]
    out.print(
        f"valid: {result.valid / total:.1%} of {total / 1e6:.1f} megapixels; {summary['tiles']['run']} tiles run, "
        f"{summary['tiles']['skipped']} skipped; {summary['seconds']['total']:.1f} s"
    )
    out.print(f"results: {result.folder}; open {result.report} in a browser")


def _least(summary: Mapping[str, Any]) -> str:
    """From which size on areas count, and how many did not."""
    least, small = summary["options"]["min_area"], summary["too_small"]["areas"]
    unit = "pixels" if summary["grid"]["crs"] is None else "m2"
    return f" of {least:g} {unit} or more ({small} smaller left out; see --min-area)" if least else ""


def percent(scores: Any, *names: str) -> str:
    """Some of an object's scores, 0-1, in percent."""
    return "  ".join(f"{name} {100 * getattr(scores, name):.2f}" for name in names)


def print_agreement(found: Agreement, label_rules: Iterable[str]) -> None:
    """How two models agree, and which values of the labels count."""
    if label_rules:
        out.print(f"label: {', '.join(label_rules)}")
    text = (
        f"{found.tiles} tiles: agreement {100 * found.agreement:.3f} %, mean difference of probability "
        f"{found.mean_difference:.5f} (largest {found.largest:.3f}), F1 against the first's own map "
        f"{100 * found.f1_against_reference:.2f}"
    )
    if found.labelled and found.reference_counts and found.other_counts:
        text += f", F1 against labels {100 * found.reference_counts.f1:.2f} and {100 * found.other_counts.f1:.2f}"
    out.print(text)


class _Rate(ProgressColumn):
    """Megapixels of scene per second."""

    def render(self, task: Task) -> Text:
        if not task.fields.get("pixels") or not task.speed:
            return Text("")
        return Text(f"{task.speed / 1e6:.2f} Mpx/s")


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar per stage on standard error, with throughput and time left."""
    columns = (TextColumn("{task.description:>9}"), BarColumn(40), TextColumn("{task.percentage:>4.0f} %"))
    bars = Progress(*columns, _Rate(), TimeRemainingColumn(), console=err, transient=False)
    tasks: dict[str, Any] = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage == BUILD and stage not in tasks:
            err.print(BUILD_TAKES)
        size = None if stage == BUILD and not done else total  # its end is unknown: the bar only moves
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=size, pixels=stage in ("render", "predict"))
        bars.update(tasks[stage], completed=done, total=size)

    with bars:
        yield update
