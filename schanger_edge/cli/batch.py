"""`schanger-edge batch`."""

from __future__ import annotations

import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from schanger_edge.cli.app import INTERRUPTED, app, err, out
from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import progress_bars
from schanger_edge.errors import SchangerError, require
from schanger_edge.run.options import RunOptions

if TYPE_CHECKING:
    from schanger_edge.batch import Batch, Outcome

_cluster = partial(typer.Option, rich_help_panel="Who does the work")
FAILED = 1
"""Exit code: pairs were given up."""


def batch(
    pairs: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet: before, after, and where needed id, before_date, after_date, clip, "
            "valid_mask_before, valid_mask_after."
        ),
    ],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for results: one folder for each pair.")],
    scheduler: Annotated[
        str | None, _cluster(help="Dask scheduler, such as tcp://10.0.0.1:8786 (workers on this machine).")
    ] = None,
    workers: Annotated[int | None, _cluster(help="Processes on this machine (one for each GPU, or core).")] = None,
    retries: Annotated[int, _cluster(help="Try a pair so often again that fails, or whose worker dies.")] = 2,
    split: Annotated[
        bool, _cluster("--split", help="Divide each scene over all workers: for few and large ones.")
    ] = False,
    restart: Annotated[bool, _cluster("--restart", help="Forget what earlier calls have done.")] = False,
    *,
    options: RunOptions,
) -> None:
    """Run a list of pairs over the processes of this machine, or over a Dask cluster.

    The same command goes on where an earlier one was stopped. Exit code 1: some pairs failed.
    """
    require("distributed", "station")
    from schanger_edge.batch import batch as batch_tool

    done = 0
    try:
        with progress_bars() as bars:

            def progress(count: int, total: int) -> None:
                nonlocal done
                done = count
                bars("pairs", count, total)

            result = batch_tool(
                pairs, output, scheduler=scheduler, workers=workers, retries=retries, split=split, restart=restart,
                options=options, on_cluster=_say_where, on_outcome=_say_how, progress=progress,
            )  # fmt: skip
    except (KeyboardInterrupt, SystemExit) as stopped:
        err.print(
            f"interrupted: {done} pairs are done with, of others what is finished is kept: the same command goes on."
        )
        sys.exit(INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else stopped.code)
    _print_batch(result)
    if result.failed:
        sys.exit(FAILED)


app.command()(flags(batch))


def _say_where(workers: int, dashboard: str | None) -> None:
    err.print(f"{workers} worker{'s' if workers > 1 else ''}; dashboard: {dashboard or 'none, pip install bokeh'}")


def _say_how(outcome: Outcome, error: BaseException | None) -> None:
    if outcome.status == "failed":
        err.print(Text(f"{outcome.id} failed: {outcome.reason}"), style="bold red")
        if error is not None and not isinstance(error, SchangerError):
            err.print(Text("".join(traceback.format_exception(error))))
    elif outcome.reason:
        err.print(Text(f"{outcome.id}: {outcome.reason}"))


def _print_batch(result: Batch) -> None:
    for note in result.notes:
        err.print(Text(f"warning: {note}"), style="yellow")
    counts = {status: sum(one.status == status for one in result.outcomes) for status in ("done", "kept", "failed")}
    out.print(f"pairs: {counts['done']} done, {counts['kept']} done before, {counts['failed']} failed")
    changed = sum(outcome.changed_m2 or 0 for outcome in result.outcomes)
    area = "" if result.crs is None else f"{changed:,.0f} m2, "
    out.print(f"change: {area}{result.polygons} polygons in {result.crs or 'no CRS'}")
    out.print(f"results: {result.folder}")
    for outcome in result.failed:
        out.print(f"  {outcome.id}: {outcome.reason}")
