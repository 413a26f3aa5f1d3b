"""`schanger-edge batch`."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schanger_edge.batch.options import Cluster
from schanger_edge.cli.flags import flags
from schanger_edge.cli.talk import INTERRUPTED, fail, note, out, progress_bars, warn
from schanger_edge.errors import SchangerError, require
from schanger_edge.run.options import RunOptions

if TYPE_CHECKING:
    from schanger_edge.batch.outcome import Outcome

FAILED = 1
"""Exit code: some pairs failed."""


@flags
def batch(
    pairs: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet table: before, after; optional id, before_date, after_date, and any option of `run` "
            "except the engine's, such as clip or valid_mask_before."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results, one folder per pair.")],
    cluster: Cluster,
    options: RunOptions,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Ignore and replace the results of earlier runs.", rich_help_panel="Workers"),
    ] = False,
) -> None:
    """Run a list of pairs on this machine's processes or on a Dask cluster.

    Repeat the command to continue after a stop. Exit code 1 means that some pairs failed.
    """
    require("distributed", "station")
    from schanger_edge.batch.service import Listener
    from schanger_edge.batch.service import batch as batch_tool
    from schanger_edge.model.bundled import model_path

    done = 0
    try:
        with progress_bars() as bars:

            class Screen(Listener):
                """What is printed while the batch runs."""

                def cluster(self, workers: int, dashboard: str | None) -> None:
                    where = dashboard or "none; --dashboard shows one, with the package bokeh"
                    note(f"{workers} worker{'s' if workers > 1 else ''}; dashboard: {where}")

                def outcome(self, outcome: Outcome, error: BaseException | None) -> None:
                    if outcome.status == "failed":
                        fail(f"{outcome.id} failed: {outcome.reason}")
                        if error is not None and not isinstance(error, SchangerError):
                            note("".join(traceback.format_exception(error)))
                    elif outcome.reason:
                        note(f"{outcome.id}: {outcome.reason}")

                def progress(self, count: int, total: int) -> None:
                    nonlocal done
                    done = count
                    bars("pairs", count, total)

            model_path(options.engine.model, bars)  # a published one is fetched here, where that is seen
            result = batch_tool(pairs, output, cluster=cluster, restart=restart, options=options, listener=Screen())
    except (KeyboardInterrupt, SystemExit) as stopped:
        fail(
            f"interrupted: {done} pairs are done, and finished parts of the others are kept; repeat the command to "
            "continue."
        )
        sys.exit(INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else stopped.code)
    warn(*result.notes)
    counts = {status: sum(one.status == status for one in result.outcomes) for status in ("done", "kept", "failed")}
    out.print(f"pairs: {counts['done']} done, {counts['kept']} already done, {counts['failed']} failed")
    changed = sum(outcome.changed_m2 or 0 for outcome in result.outcomes)
    area = "" if result.crs is None else f"{changed:,.0f} m2, "
    out.print(f"change: {area}{result.polygons} polygons in {result.crs or 'no CRS'}")
    out.print(f"results: {result.folder}")
    for outcome in result.failed:
        out.print(f"  {outcome.id}: {outcome.reason}")
    if result.failed:
        sys.exit(FAILED)
