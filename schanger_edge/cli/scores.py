"""`schanger-edge evaluate` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schanger_edge.cli.flags import flags
from schanger_edge.cli.models import Data
from schanger_edge.cli.printing import Json, percent, print_agreement, print_json, print_written
from schanger_edge.cli.talk import note, out, progress_bars, warn
from schanger_edge.evaluation.options import ComparisonOptions, EvaluationOptions

if TYPE_CHECKING:
    from schanger_edge.evaluation.evaluate import Evaluation


@flags
def evaluate(
    root: Annotated[Path, typer.Argument(help="Labelled dataset, as published or with SPLIT/A, SPLIT/B, SPLIT/label.")],
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
    first: Annotated[str, typer.Argument(help="An .onnx file, the name of a bundled model, or a TensorRT plan.")],
    second: Annotated[str, typer.Argument(help="The second model, likewise.")],
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
