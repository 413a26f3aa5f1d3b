"""`schanger-edge models` and `schanger-edge fetch`: which models there are, and published ones ahead of their use."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import Json, print_json
from schanger_edge.cli.talk import out, progress_bars
from schanger_edge.errors import SchangerError

if TYPE_CHECKING:
    from schanger_edge.model.listing import Listed

FILE_WIDTH = 200
"""Width of a table when the output is not a terminal."""


@flags
def models(as_json: Json = False) -> None:
    """List the models that can be named: bundled, fetched, and published; and which one is for which imagery."""
    from schanger_edge.model.listing import listing

    found = listing()
    if as_json:
        print_json({"models": [dataclasses.asdict(one) for one in found]})
    else:
        _print_models(found)


@flags
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Published models, such as levir-cd:base.")
    ] = None,
    all_published: Annotated[bool, typer.Option("--all", help="Fetch all twelve.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="An .onnx file to write the model to.")] = None,
) -> None:
    """Fetch published models before leaving for a place without a network (needs the models extra)."""
    from schanger_edge.errors import ModelError
    from schanger_edge.files import replacing
    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.published import MODELS

    wanted = [*MODELS] if all_published else names or []
    if not wanted or (all_published and names):
        raise SchangerError("name the models to fetch, such as levir-cd:base, or give --all; `models` lists them.")
    if output is not None and len(wanted) > 1:
        raise SchangerError("-o takes one model: name one, or omit -o to keep them all in the cache.")
    for name in wanted:
        with progress_bars() as progress:
            path = model_path(name, progress)
        if output is not None:
            with replacing(output, ModelError) as temporary:
                shutil.copyfile(path, temporary)
        out.print(f"{name}: {output or path}")


def _print_models(found: Sequence[Listed]) -> None:
    from rich.table import Table

    from schanger_edge.model.published import LICENSE

    table = Table(box=None, pad_edge=False)
    for head in ("model", "where", "MB", "F1", "GSD, m", "sensor", "view", "change"):
        table.add_column(head, no_wrap=head in ("model", "where"), overflow="fold")
    for one in found:
        bundled = one.sensor is None
        scores = "" if bundled else ", ".join(f"{f1:.1f}" for f1 in one.f1.values())
        scale = "" if one.gsd is None else " to ".join(f"{value:g}" for value in dict.fromkeys(one.gsd))
        view = "" if bundled else "off-nadir" if one.off_nadir else "near-nadir"
        cells = (one.name, one.where, f"{one.bytes / 1e6:.1f}", scores, scale, one.sensor, view, one.change)
        table.add_row(*(Text(cell or "") for cell in cells))
    if not out.is_terminal:
        out.width = FILE_WIDTH
    out.print(table)
    out.print(
        "F1 in percent, as the authors of the published models measured it on the test split of what each was trained "
        f"on; licence of these: {LICENSE}"
    )
    out.print("Choose the one whose GSD, sensor, view and kind of change are most like yours; --model takes its name.")
    for one in found:
        if one.sensor is None:
            scores = ", ".join(f"{f1:.1f} on {data}" for data, f1 in one.f1.items())
            out.print(Text(f"{one.name}: F1 {scores}; trained on {one.trained_on}; licence: {one.license}"))
