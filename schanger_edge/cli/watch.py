"""`schanger-edge watch` and `schanger-edge status`."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import Json, print_json
from schanger_edge.cli.talk import INTERRUPTED, note, out, progress_bars
from schanger_edge.errors import printable
from schanger_edge.run.options import RunOptions
from schanger_edge.watch.settings import Notification, Pairing, Service, Settings

if TYPE_CHECKING:
    from schanger_edge.watch import Wakeup


@flags
def watch(
    inbox: Annotated[Path, typer.Argument(help="Folder in which scenes arrive; subfolders are included.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, quarantine and the ledger.")],
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
