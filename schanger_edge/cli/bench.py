"""`schanger-edge bench`."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from schanger_edge.bench.plan import Plan, Request
from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import print_table
from schanger_edge.cli.talk import note, out, progress_bars, warn

if TYPE_CHECKING:
    from schanger_edge.bench.tables import Table

WHOLE = ("dataset", "model")
"""Columns that are never wrapped."""


@functools.partial(flags, leave_out=("models",))
def bench(
    request: Request,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...", help="Model files, plans or names of models; all bundled ones where none is named."
        ),
    ] = None,
    pair: Annotated[
        tuple[str, str] | None, typer.Option(metavar="BEFORE AFTER", help="Two images, to measure whole runs.")
    ] = None,
    beside: Annotated[list[Path] | None, "bench.json of another machine, shown alongside; repeatable."] = None,
    output: Annotated[Path, "Folder for the results."] = Path("bench"),
    restart: Annotated[bool, "Discard an interrupted benchmark and start over."] = False,
) -> None:
    """Measure accuracy, speed, memory and energy of models on this machine (needs the bench extra)."""
    from schanger_edge.bench.measure import UNFINISHED
    from schanger_edge.bench.tables import tables
    from schanger_edge.bench.tool import bench as bench_tool

    request = dataclasses.replace(request, models=tuple(models or ()), pair=pair)
    try:
        with progress_bars() as progress:
            result = bench_tool(
                output, request, beside=beside or (), restart=restart, on_start=_print_plan, progress=progress
            )
    except (KeyboardInterrupt, SystemExit):
        if (output / UNFINISHED).exists():
            note(f"finished parts are kept in {output}; repeat the command to continue.")
        raise
    for table in tables(result):
        _print_table(table)
    for text in result["doubts"]:
        warn(text, word="doubtful")
    for text in result["advice"]:
        out.print(Text(text))
    out.print(f"results: {output}; open {output / 'bench.html'} in a browser")


def _print_plan(plan: Plan, finished: int) -> None:
    note(*dict.fromkeys(text for place in plan.places for text in place.notes))
    seconds = plan.seconds()
    time = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    note(f"measuring {plan.words}: about {time}")
    if finished:
        note(f"continuing an interrupted benchmark, {finished} parts are done")


def _print_table(table: Table) -> None:
    from rich import box
    from rich.table import Table as RichTable

    drawn = RichTable(title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in table.head:
        drawn.add_column(Text(name), overflow="fold", no_wrap=name in WHOLE)
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    print_table(drawn)
    if table.note:
        out.print(Text(table.note), style="dim")
