"""`schanger-edge watch` and `schanger-edge status`."""

from __future__ import annotations

import dataclasses
import signal
import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from schanger_edge.cli import each_run
from schanger_edge.cli.app import INTERRUPTED, app, err, out
from schanger_edge.cli.parsing import parse_seconds, parse_size
from schanger_edge.cli.run import GridOption

if TYPE_CHECKING:
    from schanger_edge.watch import Status, Wakeup

_pairing, _service, _hook, _engine = (
    partial(typer.Option, rich_help_panel=title)
    for title in ("Which scenes are compared", "Service", "Who is told", "Engine")
)


class PairByOption(str, Enum):
    """How it is known that two scenes show the same place."""

    footprint = "footprint"
    name = "name"


@app.command()
def watch(
    inbox: Annotated[Path, typer.Argument(help="Folder in which scenes arrive, with all folders in it.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for results, quarantine and ledger.")],
    pair_by: Annotated[
        PairByOption, _pairing(help="The same place: footprints overlap, or names are equal but for the date.")
    ] = PairByOption.footprint,
    min_overlap: Annotated[float, _pairing(help="Share of the smaller footprint that must be common.")] = 0.5,
    name_pattern: Annotated[
        str | None, _pairing(help="Regular expression with groups (?P<place>...) and maybe (?P<date>...).")
    ] = None,
    settle: Annotated[str, _service(help="A file has arrived when it has not changed for so long.")] = "10s",
    poll: Annotated[
        str | None, _service(help="Look into the inbox so often, such as 30s: for network shares (system events).")
    ] = None,
    once: Annotated[bool, _service("--once", help="Do what there is to do and end, for cron.")] = False,
    keep: Annotated[
        int | None, _service(help="Delete scenes and results of which a place has so many newer ones (keep all).")
    ] = None,
    min_free: Annotated[str, _service(help="Pause while less room than this is free.")] = "100MB",
    hook: Annotated[str | None, _hook(help="Program to run on each result; never through a shell.")] = None,
    hook_arg: Annotated[
        list[str] | None,
        _hook(help="One argument of it; may be repeated. {result} {before} {after} {name} are replaced."),
    ] = None,
    hook_timeout: Annotated[str, _hook(help="The hook is killed after so long.")] = "60s",
    metrics: Annotated[Path | None, _hook(help="File (.prom) for Prometheus' textfile collector.")] = None,
    model: each_run.Model = None,
    device: each_run.Device = "auto",
    cuda: each_run.Cuda = None,
    threads: Annotated[int | None, _engine(help="CPU threads (all).")] = None,
    batch: Annotated[int | None, _engine(help="Tiles per inference (what the engine is fastest at).")] = None,
    threshold: each_run.Threshold = None,
    grid: each_run.Grid = GridOption.before,
    gsd: each_run.Gsd = None,
    bands: each_run.Bands = None,
    nodata: each_run.Nodata = "auto",
    stretch: each_run.Stretch = "percentiles",
    match: each_run.Match = False,
    align: each_run.Align = False,
    min_area: each_run.MinArea = 0.0,
    simplify: each_run.Simplify = 0.0,
    fill_holes: each_run.FillHoles = 0.0,
    also: each_run.Also = None,
) -> None:
    """Run each scene that arrives against the newest earlier one of its place."""
    from schanger_edge.watch import Settings, Wakeup
    from schanger_edge.watch import watch as watch_tool

    detection = each_run.detection(
        threshold=threshold, batch=batch, grid=grid, gsd=gsd, bands=bands, nodata=nodata, stretch=stretch, match=match,
        align=align, min_area=min_area, simplify=simplify, fill_holes=fill_holes, also=also,
    )  # fmt: skip
    times: dict[str, Any] = {"settle": parse_seconds(settle, "--settle")}
    times |= {"poll": None if poll is None else parse_seconds(poll, "--poll")}
    times |= {"hook_timeout": parse_seconds(hook_timeout, "--hook-timeout")}
    pairing: dict[str, Any] = {"pair_by": pair_by.value, "name_pattern": name_pattern, "min_overlap": min_overlap}
    service: dict[str, Any] = {"keep": keep, "once": once, "min_free": parse_size(min_free, "--min-free")}
    service |= {"metrics": metrics, "hook": () if hook is None else (hook, *(hook_arg or ())), "detection": detection}
    wakeup = Wakeup()
    received = _stop_on_signals(wakeup)
    engine = {"device": device, "binding": cuda.value if cuda else None, "threads": threads}
    settings = Settings(inbox, output, **times, **pairing, **service)
    watch_tool(settings, model=model, wakeup=wakeup, report=lambda text: err.print(Text(text)), **engine)
    if signal.SIGINT in received:
        sys.exit(INTERRUPTED)


@app.command()
def status(
    output: Annotated[Path, typer.Argument(help="The folder that `watch` got as --out.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How a watch is doing: queue, throughput, last errors."""
    from schanger_edge.products.summary import to_json
    from schanger_edge.watch import status as status_tool

    found = status_tool(output)
    if json:
        out.print(to_json(dataclasses.asdict(found)))
    else:
        _print_status(found)


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


def _print_status(found: Status) -> None:
    heard = "never heard of" if found.heard is None else f"said {found.heard:.0f} s ago"
    out.print(f"{found.state} ({heard})")
    counts = found.counts
    next_ones = f", next {', '.join(found.queue)}" if found.queue else ""
    out.print(f"queue: {counts['queued']} pairs{next_ones}; {counts['waiting']} scenes without an earlier one")
    speed = found.megapixels_per_second
    rate = "" if speed is None else f", {speed:.2f} megapixels per second"
    out.print(f"results: {found.results}, {found.results_lately} in the last 24 hours{rate}")
    out.print(
        f"failed pairs: {counts['failed']}; scenes in quarantine: {counts['quarantined']}, seen twice: "
        f"{counts['duplicate']}, removed: {counts['expired']}"
    )
    for error in found.errors:
        out.print(f"{error['when']} {error['what']}: {error['reason']}")
