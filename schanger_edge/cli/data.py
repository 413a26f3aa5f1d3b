"""`schanger-edge dataset make` and `schanger-edge statistics`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.parsing import parse_bands, parse_nodata
from schanger_edge.cli.printing import progress_bars
from schanger_edge.errors import SchangerError

if TYPE_CHECKING:
    from schanger_edge.datasets.make import MadeDataset

dataset = typer.Typer(help="Make labelled datasets.", no_args_is_help=True)
app.add_typer(dataset, name="dataset")


@dataset.callback()
def _dataset() -> None: ...


@dataset.command()
def make(
    pairs: Annotated[
        Path, typer.Argument(help="CSV table: before, after, label, and where needed layer, area, split, name.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make; it must not exist.")],
    tile: Annotated[int, typer.Option(help="Side of a tile in pixels, a multiple of 16.")] = 256,
    block: Annotated[
        float | None,
        typer.Option(help="Side in metres of the squares of ground dealt to splits (4 tiles, less on little ground)."),
    ] = None,
    split: Annotated[str, typer.Option(help="Shares of train, val and test.")] = "70,15,15",
    seed: Annotated[int, typer.Option(help="Decides which square goes to which split.")] = 36,
    gsd: Annotated[float | None, typer.Option(help="Resample to this many metres per pixel on reading.")] = None,
    min_valid: Annotated[
        float, typer.Option(help="Least share of a tile's pixels with data in both dates, up to 1.")
    ] = 1.0,
    bands: Annotated[str | None, typer.Option(help="Bands of red, green, blue, such as 1,2,3.")] = None,
    nodata: Annotated[str, typer.Option(help="auto, none (ignore what the files declare) or a value.")] = "auto",
) -> None:
    """Cut pairs with labels into training tiles; no ground is in two splits."""
    from schanger_edge.datasets.make import make_dataset

    with progress_bars() as progress:
        made = make_dataset(
            pairs, output, tile=tile, block=block, shares=_parse_shares(split), seed=seed, gsd=gsd,
            min_valid=min_valid, bands=parse_bands(bands), nodata=parse_nodata(nodata),
            progress=lambda done, total: progress("tiles", done, total),
        )  # fmt: skip
    for note in made.notes:
        err.print(Text(f"warning: {note}"), style="yellow")
    _print_made(made)


@app.command()
def statistics(
    root: Annotated[Path, typer.Argument(help="Folder of a dataset; with --single, of images (and masks).")],
    split: Annotated[str, typer.Option(help="Which split.")] = "train",
    single: Annotated[bool, typer.Option("--single", help="Images of one date with masks.")] = False,
    masks: Annotated[
        Path | None, typer.Option(help="With --single: folder of masks where ROOT holds the images alone.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file to write.")] = None,
) -> None:
    """Colour statistics of a dataset, as train and export --normalization read them."""
    from schanger_edge.datasets.statistics import color_statistics

    with progress_bars() as progress:
        result = color_statistics(
            root, split=split, single=single, masks=masks, output=output,
            progress=lambda done, total: progress("images", done, total),
        )  # fmt: skip
    if output is None:
        out.print_json(json.dumps(dataclasses.asdict(result)))
    else:
        out.print(f"{output}: before {_numbers(result.before.mean)} +- {_numbers(result.before.std)}, "
                  f"after {_numbers(result.after.mean)} +- {_numbers(result.after.std)}")  # fmt: skip


def _print_made(made: MadeDataset) -> None:
    out.print(f"{'split':<6}{'tiles':>8}{'change':>10}")
    for name, counts in made.splits.items():
        out.print(f"{name:<6}{counts.tiles:>8}{counts.change:>10.2%}")
    dropped = ", ".join(f"{count} {reason}" for reason, count in made.dropped.items() if count)
    out.print(f"left out: {dropped or 'no tile'}")
    out.print(f"{made.gsd:.3g} m per pixel, split by squares of {made.block:g} m; results: {made.root}")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _parse_shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SchangerError(f"--split needs three numbers such as 70,15,15, not {text!r}.") from None
