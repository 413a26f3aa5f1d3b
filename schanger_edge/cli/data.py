"""`schanger-edge dataset make` and `schanger-edge statistics`."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Annotated

import typer

from schanger_edge.cli.flags import flags
from schanger_edge.cli.renamed import Command
from schanger_edge.cli.talk import out, progress_bars, warn
from schanger_edge.datasets.options import MakeOptions

dataset = typer.Typer(help="Make labelled datasets.", no_args_is_help=True)


@dataset.callback()
def _dataset() -> None: ...


@dataset.command(cls=Command)
@flags
def make(
    pairs: Annotated[Path, typer.Argument(help="CSV table: before, after, label; optional layer, area, split, name.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to create; it must not exist yet.")],
    options: MakeOptions,
) -> None:
    """Cut labelled pairs into training tiles; no ground is shared between splits."""
    from schanger_edge.datasets.make import make_dataset

    with progress_bars() as bars:
        made = make_dataset(pairs, output, options, progress=functools.partial(bars, "tiles"))
    warn(*made.warnings)
    out.print(f"{'split':<6}{'tiles':>8}{'change':>10}")
    for name, counts in made.splits.items():
        out.print(f"{name:<6}{counts.tiles:>8}{counts.change:>10.2%}")
    dropped = ", ".join(f"{count} {reason}" for reason, count in made.dropped.items() if count)
    out.print(f"dropped: {dropped or 'no tiles'}")
    out.print(f"{made.gsd:.3g} m per pixel, split by squares of {made.block:g} m; results: {made.root}")


@flags
def statistics(
    root: Annotated[Path, typer.Argument(help="Dataset folder; with --single, a folder of images (and masks).")],
    split: Annotated[str, typer.Option(help="Split to use.")] = "train",
    single: Annotated[bool, typer.Option("--single", help="Single-date images with masks.")] = False,
    masks: Annotated[
        Path | None, typer.Option(help="With --single: folder of the masks, if ROOT holds only images.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file to write.")] = None,
) -> None:
    """Compute a dataset's colour statistics, for --normalization of train and export."""
    from schanger_edge.datasets.statistics import color_statistics

    with progress_bars() as bars:
        progress = functools.partial(bars, "images")
        result = color_statistics(root, split=split, single=single, masks=masks, output=output, progress=progress)
    if output is None:
        out.print_json(json.dumps(dataclasses.asdict(result)))
    else:
        before, after = (f"{_numbers(date.mean)} +- {_numbers(date.std)}" for date in (result.before, result.after))
        out.print(f"{output}: before {before}, after {after}")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
