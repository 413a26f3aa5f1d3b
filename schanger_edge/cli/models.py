"""Models: `schanger-edge models`, `fetch`, `info`, `evaluate`, `compare`, `convert` and `calibrate`."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import Json, percent, print_agreement, print_json, print_table, print_written
from schanger_edge.cli.talk import note, out, progress_bars, warn
from schanger_edge.datasets.sources import TILES, usage
from schanger_edge.errors import ModelError, SchangerError, extra
from schanger_edge.evaluation.options import ComparisonOptions, EvaluationOptions
from schanger_edge.files import replacing
from schanger_edge.model.bundled import model_path
from schanger_export.options import CalibrationOptions

if TYPE_CHECKING:
    from schanger_edge.evaluation.evaluate import Evaluation
    from schanger_edge.model.listing import Listed
    from schanger_export.calibrate import Calibration

FEW_TILES = 128

Data = Annotated[list[str] | None, f"Source of tiles: {usage(TILES)}; repeatable, see docs/sources.md."]
Model = Annotated[str, "An FP32 .onnx file, or a name that `models` lists."]
Target = Annotated[Path, "The .onnx file to write; a report is written beside it."]
Precision = Enum("Precision", {"fp16": "fp16"}, type=str)


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
    output: Annotated[Path | None, "An .onnx file to write the model to."] = None,
) -> None:
    """Fetch published models before leaving for a place without a network (needs the models extra)."""
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


@flags
def info(model: Annotated[str, "An .onnx file, a plan, or a name that `models` lists."]) -> None:
    """Print a model's card and, for a plan, what it was built for."""
    from schanger_edge.model.plan import info as info_tool

    out.print_json(json.dumps(info_tool(model_path(model))))


@flags
def evaluate(
    root: Annotated[Path, "Labelled dataset, as published or with SPLIT/A, SPLIT/B, SPLIT/label."],
    options: EvaluationOptions,
    as_json: Json = False,
) -> None:
    """Score a model against labels, by the official protocol or on whole images as `run` maps them."""
    from schanger_edge.evaluation.evaluate import evaluate as evaluate_tool

    with progress_bars() as progress:
        result = evaluate_tool(root, options, progress=progress)
    note(*result.engine.notes)
    warn(*result.warnings)
    if result.official_tiles is not None and result.tiles != result.official_tiles:
        warn(f"the official test split has {result.official_tiles} tiles; this score is not comparable.")
    if as_json:
        print_json(result.as_dict())
        return
    out.print(f"{result.dataset or root} {result.split}: {result.model} on {result.device}")
    out.print(percent(result, "f1", "precision", "recall", "iou", "accuracy"))
    official = "" if result.official_tiles is None else f" (official split: {result.official_tiles})"
    out.print(f"{result.tiles} tiles of {result.tile}{official}, {result.tiling}")
    out.print(f"label: {result.label_rule}, change: probability > 0.5")
    if result.paper_f1 is not None:
        out.print(f"published F1: paper {result.paper_f1:.2f}, checkpoint {result.checkpoint_f1:.2f}")
    if result.sweep is not None:
        _print_sweep(result)
    print_written((options.results.gallery, options.results.sweep))


@flags
def compare(
    first: Annotated[str, "An .onnx file, the name of a bundled model, or a TensorRT plan."],
    second: Annotated[str, "The second model, likewise."],
    options: ComparisonOptions,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Run two models on the same tiles: agreement, differences, F1, latency."""
    from schanger_edge.evaluation.compare import compare as compare_tool

    with progress_bars() as progress:
        result = compare_tool(first, second, data or (), options, progress=progress)
    names = [Path(model).name for model in result.models]
    for name, used in zip(names, result.engines, strict=True):
        note(*(f"{name}: {text}" for text in used.notes))
    warn(*result.warnings)
    if as_json:
        print_json(result.as_dict())
        return
    for row in zip(names, result.precisions, result.devices, result.latency_ms, strict=True):
        out.print("{}: {}, {}, {:.1f} ms per pair of tiles (median)".format(*row))
    out.print(f"the second takes {result.latency_ratio:.2f} times as long as the first")
    print_agreement(result.agreement, result.label_rules)
    print_written((options.worst, options.json_file))


@flags
def convert(
    model: Model,
    output: Target,
    precision: Annotated[Precision, "fp16; see `calibrate` for INT8."] = Precision.fp16,
    data: Data = None,
    samples: Annotated[int, typer.Option("--tiles", help="Tiles to measure ranges on.")] = 32,
) -> None:
    """Convert an FP32 model to FP16 and measure it against the original (needs the quantize extra)."""
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
    with extra("quantize"):
        from schanger_export.calibrate import calibrate as calibrate_tool
    with progress_bars() as progress:
        result = calibrate_tool(model_path(model, progress), data or (), output, options, progress=progress)
    warn(*result.warnings)
    if result.tiles[0] < FEW_TILES:
        warn(f"only {result.tiles[0]} tiles; use {FEW_TILES} or more.")
    _print_calibration(result)


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
    print_table(table)
    out.print(
        "F1 in percent, as the authors of the published models measured it on the test split of what each was trained "
        f"on; licence of these: {LICENSE}"
    )
    out.print("Choose the one whose GSD, sensor, view and kind of change are most like yours; --model takes its name.")
    for one in found:
        if one.sensor is None:
            scores = ", ".join(f"{f1:.1f} on {data}" for data, f1 in one.f1.items())
            out.print(Text(f"{one.name}: F1 {scores}; trained on {one.trained_on}; licence: {one.license}"))


def _print_sweep(result: Evaluation) -> None:
    """The best threshold, the model's own, and what stands between."""
    sweep = result.sweep
    assert sweep is not None
    own = sweep.at_model_threshold
    if sweep.best is None:
        warn("this split has no labelled change, so there is no best threshold.")
    else:
        out.print(f"best threshold: {sweep.best.threshold:.2f}  {percent(sweep.best, 'f1', 'precision', 'recall')}")
    out.print(f"the model's threshold: {own.threshold:g}  {percent(own, 'f1', 'precision', 'recall')}")
    out.print(f"average precision: {100 * sweep.average_precision:.2f}")
    middle = next(entry for entry in sweep.false_alarms if entry.threshold == 0.5)
    rate = "" if middle.per_km2 is None else f", {middle.per_km2:.1f} per km2 (GSD {sweep.gsd:g} m, {sweep.gsd_source})"
    unknown = "; their rate is unknown without --gsd" if middle.per_km2 is None else ""
    out.print(f"false-alarm objects at 0.5: {middle.objects}{rate}{unknown}")
    if result.split == "test" and sweep.best is not None:
        warn("a threshold chosen on the test split inflates the test score: choose it on val.")


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
