"""`schanger-edge batch`."""

from __future__ import annotations

import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from schanger_edge.cli import each_run
from schanger_edge.cli.app import INTERRUPTED, app, err, out
from schanger_edge.cli.printing import progress_bars
from schanger_edge.cli.run import GridOption
from schanger_edge.errors import SchangerError, require

if TYPE_CHECKING:
    from schanger_edge.batch import Batch, Outcome

_cluster, _engine = (partial(typer.Option, rich_help_panel=title) for title in ("Who does the work", "Engine"))
FAILED = 1
"""Exit code: pairs were given up."""


@app.command()
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
    model: each_run.Model = None,
    device: each_run.Device = "auto",
    cuda: each_run.Cuda = None,
    threads: Annotated[int | None, _engine(help="CPU threads of each worker (an even share of the cores).")] = None,
    tiles: Annotated[
        int | None, _engine("--batch", help="Tiles per inference (what the engine is fastest at).")
    ] = None,
    threshold: each_run.Threshold = None,
    grid: each_run.Grid = GridOption.before,
    gsd: each_run.Gsd = None,
    bands: each_run.Bands = None,
    nodata: each_run.Nodata = "auto",
    stretch: each_run.Stretch = "percentiles",
    match: each_run.Match = False,
    max_offset: each_run.MaxOffset = 2.0,
    align: each_run.Align = False,
    min_area: each_run.MinArea = 0.0,
    simplify: each_run.Simplify = 0.0,
    fill_holes: each_run.FillHoles = 0.0,
    also: each_run.Also = None,
) -> None:
    """Run a list of pairs over the processes of this machine, or over a Dask cluster.

    The same command goes on where an earlier one was stopped. Exit code 1: some pairs failed.
    """
    require("distributed", "station")
    from schanger_edge.batch import Cluster
    from schanger_edge.batch import batch as batch_tool

    options = each_run.detection(
        threshold=threshold, batch=tiles, grid=grid, gsd=gsd, bands=bands, nodata=nodata, stretch=stretch, match=match,
        max_offset=max_offset, align=align, min_area=min_area, simplify=simplify, fill_holes=fill_holes, also=also,
    )  # fmt: skip
    done = 0
    try:
        with progress_bars() as bars:

            def progress(count: int, total: int) -> None:
                nonlocal done
                done = count
                bars("pairs", count, total)

            how: dict[str, Any] = {"cluster": Cluster(scheduler, workers, retries, split), "restart": restart}
            how |= {"model": model, "device": device, "cuda": cuda.value if cuda else None, "threads": threads}
            how |= {"on_cluster": _print_cluster, "on_outcome": _print_outcome, "progress": progress}
            result = batch_tool(pairs, output, options=options, **how)
    except (KeyboardInterrupt, SystemExit) as stopped:
        err.print(
            f"interrupted: {done} pairs are done with, of others what is finished is kept: the same command goes on."
        )
        sys.exit(INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else stopped.code)
    _print_batch(result)
    if result.failed:
        sys.exit(FAILED)


def _print_cluster(workers: int, dashboard: str | None) -> None:
    err.print(f"{workers} worker{'s' if workers > 1 else ''}; dashboard: {dashboard or 'none, pip install bokeh'}")


def _print_outcome(outcome: Outcome, error: BaseException | None) -> None:
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
