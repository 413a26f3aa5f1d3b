"""`schanger-edge watch`, `status` and `batch`."""

from __future__ import annotations

import dataclasses
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schanger_edge.batch.options import Cluster
from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import Json, print_json
from schanger_edge.cli.talk import INTERRUPTED, fail, note, out, progress_bars, warn
from schanger_edge.errors import SchangerError, printable, require
from schanger_edge.run.options import RunOptions
from schanger_edge.watch.settings import Notification, Pairing, Service, Settings

if TYPE_CHECKING:
    from schanger_edge.batch.outcome import Outcome
    from schanger_edge.watch import Wakeup

FAILED = 1
"""Exit code: some pairs failed."""


@flags
def watch(
    inbox: Annotated[Path, "Folder in which scenes arrive; subfolders are included."],
    output: Annotated[Path, "Folder for results, quarantine and the ledger."],
    pairing: Pairing,
    service: Service,
    notification: Notification,
    options: RunOptions,
) -> None:
    """Compare each arriving scene with the newest earlier one of the same place."""
    from schanger_edge.watch import Wakeup
    from schanger_edge.watch import watch as watch_tool

    wakeup = Wakeup()
    received = _stop_on_signals(wakeup)
    settings = Settings(inbox, output, pairing, service, notification, options)
    with progress_bars(to_people=False) as tell:
        watch_tool(settings, wakeup=wakeup, report=note, tell=tell)
    if signal.SIGINT in received:
        sys.exit(INTERRUPTED)


@flags
def status(
    output: Annotated[Path, typer.Argument(help="The folder given to `watch` as --output.")],
    as_json: Json = False,
) -> None:
    """Show a watch's queue, throughput and last errors."""
    from schanger_edge.watch import status as status_tool

    found = status_tool(output)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    heard = "no sign of life yet" if found.heard is None else f"last seen {found.heard:.0f} s ago"
    out.print(f"{found.state} ({heard})")
    counts = found.counts
    next_ones = f", next {', '.join(map(printable, found.queue))}" if found.queue else ""
    out.print(f"queue: {counts['queued']} pairs{next_ones}; {counts['waiting']} scenes without an earlier one")
    speed = found.megapixels_per_second
    rate = "" if speed is None else f", {speed:.2f} megapixels per second"
    out.print(f"results: {found.results}, {found.results_lately} in the last 24 hours{rate}")
    out.print(
        f"failed pairs: {counts['failed']}; scenes in quarantine: {counts['quarantined']}, duplicates: "
        f"{counts['duplicate']}, expired: {counts['expired']}"
    )
    for error in found.errors:
        out.print(f"{error['when']} {printable(error['what'])}: {printable(error['reason'])}")


def _stop_on_signals(wakeup: Wakeup) -> list[int]:
    """SIGTERM and a first Ctrl-C end a watch after the current section; a second Ctrl-C ends it at once."""
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        wakeup.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return received


@flags
def batch(
    pairs: Annotated[
        Path,
        "CSV or Parquet table: before, after; optional id, before_date, after_date, and any option of `run` "
        "except the engine's, such as clip or valid_mask_before.",
    ],
    output: Annotated[Path, "Folder for the results, one folder per pair."],
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
