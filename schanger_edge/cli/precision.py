"""`schanger-edge convert`, `calibrate` (they need the quantize extra) and `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import progress_bars
from schanger_edge.datasets.sources import TILES, usage
from schanger_edge.errors import missing_extra
from schanger_edge.evaluation.options import ComparisonOptions
from schanger_export.model_options import CalibrationOptions

if TYPE_CHECKING:
    from schanger_edge.evaluation.agreement import Agreement
    from schanger_export.calibrate import Calibration

FEW_TILES = 128

Pairs = Annotated[
    list[str] | None,
    typer.Option("--pairs", help=f"Source of tiles: {usage(TILES)}; repeatable, see docs/sources.md."),
]
Model = Annotated[str, typer.Argument(help="An FP32 .onnx file or the name of a bundled model.")]
Target = Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write; a report is written beside it.")]


class PrecisionOption(str, Enum):
    """What `convert` can make."""

    fp16 = "fp16"


@app.command()
def convert(
    model: Model,
    output: Target,
    precision: Annotated[PrecisionOption, typer.Option(help="fp16; see `calibrate` for INT8.")] = PrecisionOption.fp16,
    pairs: Pairs = None,
    samples: Annotated[int, typer.Option(help="Tiles to measure ranges on.")] = 32,
) -> None:
    """Convert an FP32 model to FP16 and measure it against the original (needs the quantize extra)."""
    from schanger_edge.model.bundled import model_path

    try:
        from schanger_export.convert import convert as convert_tool
    except ImportError as error:
        raise missing_extra(error, "quantize") from error
    if not pairs:
        err.print("no --pairs: ranges are measured on rendered scenes; use your own imagery if you can.")
    with progress_bars() as progress:
        result = convert_tool(model_path(model), output, sources=pairs or (), samples=samples, progress=progress)
    size, before = result.bytes
    _print_labels(result.label_rules, result.notes)
    out.print(f"{result.path}: {precision.value}, {size / 1e6:.1f} MB (parent {before / 1e6:.1f} MB)")
    out.print(_sentence(result.agreement))
    resize = "FP16" if result.resize_fp16 else "FP32"
    out.print(f"kept in FP32 for their range: {len(result.kept_by_range)} nodes; resize in {resize}")
    out.print(f"report: {result.report}")


def calibrate(model: Model, output: Target, options: CalibrationOptions, pairs: Pairs = None) -> None:
    """Convert an FP32 model to INT8 and measure the loss (needs the quantize extra)."""
    from schanger_edge.model.bundled import model_path

    try:
        from schanger_export.calibrate import calibrate as calibrate_tool
    except ImportError as error:
        raise missing_extra(error, "quantize") from error
    with progress_bars() as progress:
        result = calibrate_tool(model_path(model), pairs or (), output, options, progress=progress)
    _print_labels(result.label_rules, result.notes)
    if result.tiles[0] < FEW_TILES:
        err.print(f"warning: only {result.tiles[0]} tiles; use {FEW_TILES} or more.", style="yellow")
    _print_calibration(result)


def compare(
    first: Annotated[str, typer.Argument(help="An .onnx file, the name of a bundled model, or a TensorRT plan.")],
    second: Annotated[str, typer.Argument(help="The second model, likewise.")],
    options: ComparisonOptions,
    pairs: Pairs = None,
) -> None:
    """Run two models on the same tiles: agreement, differences, F1, latency."""
    from schanger_edge.evaluation.compare import compare as compare_tool

    with progress_bars() as progress:
        result = compare_tool(first, second, pairs or (), options, progress=progress)
    for name, used in zip(result.models, result.engines, strict=True):
        for note in used.notes:
            err.print(f"{Path(name).name}: {note}")
    for name, engine, precision, latency in zip(
        result.models, result.devices, result.precisions, result.latency_ms, strict=True
    ):
        out.print(f"{Path(name).name}: {precision}, {engine}, {latency:.1f} ms per pair of tiles (median)")
    out.print(f"the second takes {result.latency_ratio:.2f} times as long as the first")
    _print_labels(result.label_rules, result.notes)
    out.print(_sentence(result.agreement))
    for path in (options.worst, options.json_file):
        if path is not None:
            out.print(f"written: {path}")


app.command()(flags(calibrate))
app.command()(flags(compare))


def _print_labels(rules: Sequence[str], notes: Sequence[str]) -> None:
    if rules:
        out.print(f"label: {', '.join(rules)}")
    for note in notes:
        err.print(Text(f"warning: {note}"), style="yellow")


def _sentence(found: Agreement) -> str:
    """How two models agree."""
    text = (
        f"{found.tiles} tiles: agreement {100 * found.agreement:.3f} %, mean difference of probability "
        f"{found.mean_difference:.5f} (largest {found.largest:.3f}), F1 against the first's own map "
        f"{100 * found.f1_against_reference:.2f}"
    )
    if found.labelled and found.reference_counts and found.other_counts:
        text += f", F1 against labels {100 * found.reference_counts.f1:.2f} and {100 * found.other_counts.f1:.2f}"
    return text


def _print_calibration(result: Calibration) -> None:
    table = Table(
        "in INT8", "F1 lost", "against original's map", "agreement", "mean difference", title=f"method {result.method}"
    )

    def row(name: str, found: Agreement) -> None:
        table.add_row(
            name,
            f"{found.f1_loss:.2f}",
            f"{100 * (1 - found.f1_against_reference):.2f}",
            f"{100 * found.agreement:.2f} %",
            f"{found.mean_difference:.5f}",
        )

    for name, found in result.tries.items():
        row(f"all, by {name}", found)
    for name, found in result.parts.items():
        row(f"{name} alone", found)
    for step in result.steps[1:]:
        row(f"all but {', '.join(step.kept)}", step.agreement)
    out.print(table)
    last = result.steps[-1]
    kept = f"; kept in higher precision: {', '.join(last.kept)}" if last.kept else ""
    out.print(f"{result.path}: {100 * last.macs_share:.1f} % of the multiply-adds in INT8{kept}")
    out.print(_sentence(result.agreement))
    out.print(f"reports: {result.reports[0]}, {result.reports[1]}")
