"""Model files: `schanger-edge models`, `fetch`, `info`, `export`, `convert` and `calibrate`."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import Json, print_agreement, print_json
from schanger_edge.cli.talk import note, out, progress_bars, warn
from schanger_edge.datasets.sources import TILES, usage
from schanger_edge.errors import SchangerError, extra
from schanger_export.options import CalibrationOptions, ExportOptions

if TYPE_CHECKING:
    from schanger_edge.model.listing import Listed
    from schanger_export.calibrate import Calibration

FEW_TILES = 128

Data = Annotated[
    list[str] | None,
    typer.Option("--data", help=f"Source of tiles: {usage(TILES)}; repeatable, see docs/sources.md."),
]
Model = Annotated[str, typer.Argument(help="An FP32 .onnx file, or a name that `models` lists.")]
Target = Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write; a report is written beside it.")]


class PrecisionOption(str, Enum):
    """What `convert` can make."""

    fp16 = "fp16"


@flags
def info(model: Annotated[str, typer.Argument(help="An .onnx file, a plan, or a name that `models` lists.")]) -> None:
    """Print a model's card and, for a plan, what it was built for."""
    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.plan import info as info_tool

    out.print_json(json.dumps(info_tool(model_path(model))))


@flags
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
        with tempfile.TemporaryDirectory() as folder:
            target = output or Path(folder) / "model.onnx"
            _export(weights or checkpoint, target, options, shown=output)
            if triton is not None:
                _serve(target, triton, options.name)


@flags
def convert(
    model: Model,
    output: Target,
    precision: Annotated[PrecisionOption, typer.Option(help="fp16; see `calibrate` for INT8.")] = PrecisionOption.fp16,
    data: Data = None,
    samples: Annotated[int, typer.Option("--tiles", help="Tiles to measure ranges on.")] = 32,
) -> None:
    """Convert an FP32 model to FP16 and measure it against the original (needs the quantize extra)."""
    from schanger_edge.model.bundled import model_path

    with extra("quantize"):
        from schanger_export.convert import convert as convert_tool
    if not data:
        note("no --data: ranges are measured on rendered scenes; use your own imagery if you can.")
    with progress_bars() as progress:
        path = model_path(model, progress)
        result = convert_tool(path, output, sources=data or (), samples=samples, progress=progress)
    warn(*result.warnings)
    size, before = result.bytes
    out.print(f"{result.path}: {precision.value}, {size / 1e6:.1f} MB (parent {before / 1e6:.1f} MB)")
    print_agreement(result.agreement, result.label_rules)
    resize = "FP16" if result.resize_fp16 else "FP32"
    out.print(f"kept in FP32 for their range: {len(result.kept_by_range)} nodes; resize in {resize}")
    out.print(f"report: {result.report}")


@flags
def calibrate(model: Model, output: Target, options: CalibrationOptions, data: Data = None) -> None:
    """Convert an FP32 model to INT8 and measure the loss (needs the quantize extra)."""
    from schanger_edge.model.bundled import model_path

    with extra("quantize"):
        from schanger_export.calibrate import calibrate as calibrate_tool
    with progress_bars() as progress:
        result = calibrate_tool(model_path(model, progress), data or (), output, options, progress=progress)
    warn(*result.warnings)
    if result.tiles[0] < FEW_TILES:
        warn(f"only {result.tiles[0]} tiles; use {FEW_TILES} or more.")
    _print_calibration(result)


def _export(weights: str | Path | None, target: Path, options: ExportOptions, *, shown: Path | None) -> None:
    with extra("models"):
        from schanger_export.weights import Weights, find

        found = Weights(weights) if isinstance(weights, Path) else find(str(weights), options.size)
        from schanger_export.to_onnx import export as export_tool

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
        note(f"{served.folder / CONFIG} was edited and is kept: it still holds the model card of another version.")


def _print_calibration(result: Calibration) -> None:
    table = Table(
        "in INT8", "F1 lost", "against original's map", "agreement", "mean difference", title=f"method {result.method}"
    )

    rows = [(f"all, by {name}", found) for name, found in result.tries.items()]
    rows += [(f"{name} alone", found) for name, found in result.parts.items()]
    rows += [(f"all but {', '.join(step.kept)}", step.agreement) for step in result.steps[1:]]
    for name, found in rows:
        figures = f"{found.f1_loss:.2f}", f"{100 * (1 - found.f1_against_reference):.2f}"
        table.add_row(name, *figures, f"{100 * found.agreement:.2f} %", f"{found.mean_difference:.5f}")
    out.print(table)
    last = result.steps[-1]
    kept = f"; kept in higher precision: {', '.join(last.kept)}" if last.kept else ""
    out.print(f"{result.path}: {100 * last.macs_share:.1f} % of the multiply-adds in INT8{kept}")
    print_agreement(result.agreement, result.label_rules)
    out.print(f"reports: {result.reports[0]}, {result.reports[1]}")


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
