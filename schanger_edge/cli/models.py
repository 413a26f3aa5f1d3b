"""`schanger-edge info`, `models`, `fetch` and `export`."""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_format
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import progress_bars
from schanger_edge.errors import SchangerError, missing_extra
from schanger_export.model_options import ExportOptions

if TYPE_CHECKING:
    from schanger_edge.model.listing import Listed

FILE_WIDTH = 200
"""Width of a table when the output is not a terminal."""


@app.command()
def info(model: Annotated[str, typer.Argument(help="An .onnx file, a plan, or a name that `models` lists.")]) -> None:
    """Print a model's card and, for a plan, what it was built for."""
    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.info import info as info_tool

    out.print_json(json_format.dumps(info_tool(model_path(model))))


@app.command()
def models(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that can be named: bundled, fetched, and published; and which one is for which imagery."""
    from schanger_edge.files import to_json
    from schanger_edge.model.listing import listing

    found = listing()
    if json:
        out.print(to_json({"models": [dataclasses.asdict(one) for one in found]}))
    else:
        _print_models(found)


@app.command()
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


def export(
    options: ExportOptions,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .onnx file to write.")] = None,
    triton: Annotated[
        Path | None,
        typer.Option(metavar="REPO", help="Triton model repository to add the model to, as its next version."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Weights by name: levir-cd:base, whu-cd:small, ..., schanger-small; downloaded once."),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Or a .pth file with a state_dict.")] = None,
    model: Annotated[
        str | None, typer.Option(help="With --triton: an existing .onnx file, or a name that `models` lists.")
    ] = None,
) -> None:
    """Turn weights into a model file (needs the models extra), or add one to a Triton repository."""
    if [weights, checkpoint, model].count(None) != 2:
        raise SchangerError("give exactly one of --weights NAME, --checkpoint FILE or, with --triton, --model FILE.")
    if model is not None:
        _serve_only(model, triton, output, options)
    elif output is None and triton is None:
        raise SchangerError("say where to write the model: -o FILE, --triton REPO, or both.")
    else:
        with _model_file(output) as target:
            _export(weights or checkpoint, target, options, shown=output)
            if triton is not None:
                _serve(target, triton, options.name)


app.command()(flags(export))


def _export(weights: str | Path | None, target: Path, options: ExportOptions, *, shown: Path | None) -> None:
    try:
        from schanger_export.weights import Weights, find

        found = Weights(weights) if isinstance(weights, Path) else find(str(weights), options.size)
        from schanger_export.to_onnx import export as export_tool
    except ImportError as error:
        raise missing_extra(error, "models") from error

    size = options.size or found.card.get("size")
    report = export_tool(found.path, size, target, options, known=found.card)
    facts = f"{report.bytes / 1e6:.1f} MB, opset {report.opset}, sha256 {report.sha256[:16]}"
    out.print(f"{shown}: {facts}" if shown else facts)
    out.print(f"largest difference from double precision: {report.largest_difference:.1e} over {report.tiles} tiles")


def _serve_only(model: str, triton: Path | None, output: Path | None, options: ExportOptions) -> None:
    """A model file into the repository, as it is."""
    from schanger_edge.model.bundled import model_path

    if triton is None:
        raise SchangerError("--model adds an existing model file to a Triton repository: name it with --triton REPO.")
    given = [one.flag for one in options.described() if one.name != "name" and getattr(options, one.name) is not None]
    if output is not None:
        given.insert(0, "--output")
    if given:
        raise SchangerError(f"--model is used unchanged: omit {', '.join(given)}, or export from weights.")
    _serve(model_path(model), triton, options.name)


def _serve(model: Path, repository: Path, name: str | None) -> None:
    from schanger_edge.model.triton import CONFIG, add_to_repository

    served = add_to_repository(model, repository, name)
    out.print(f"{served.model}: version {served.version} of {served.folder.name}")
    if served.kept_config:
        err.print(f"{served.folder / CONFIG} was edited and is kept: it still holds the model card of another version.")


@contextlib.contextmanager
def _model_file(output: Path | None) -> Iterator[Path]:
    """Where to write the model file; a place that is gone afterwards where none was asked for."""
    if output is not None:
        yield output
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "model.onnx"


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
