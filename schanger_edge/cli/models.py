"""Model files: `schanger-edge info`, `export`, `convert` and `calibrate` (they need the models or quantize extra)."""

from __future__ import annotations

import json
import tempfile
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import print_agreement
from schanger_edge.cli.talk import note, out, progress_bars, warn
from schanger_edge.datasets.sources import TILES, usage
from schanger_edge.errors import SchangerError, extra
from schanger_export.model_options import CalibrationOptions, ExportOptions

if TYPE_CHECKING:
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
    from schanger_edge.model.info import info as info_tool

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
