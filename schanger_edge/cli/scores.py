"""`schanger-edge evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import percent, progress_bars
from schanger_edge.evaluation.options import EvaluationOptions

if TYPE_CHECKING:
    from schanger_edge.evaluation.evaluate import Evaluation


def evaluate(
    root: Annotated[Path, typer.Option(help="Labelled dataset, as published or with SPLIT/A, SPLIT/B, SPLIT/label.")],
    options: EvaluationOptions,
) -> None:
    """Score a model against labels, by the official protocol or on whole images as `run` maps them."""
    from schanger_edge.evaluation.evaluate import evaluate as evaluate_tool

    with progress_bars() as progress:
        result = evaluate_tool(root, options, progress=progress)
    for note in result.engine.notes:
        err.print(note)
    for note in result.notes:
        err.print(Text(f"warning: {note}"), style="yellow")
    out.print(f"{result.dataset or root} {result.split}: {result.model} on {result.device}")
    out.print(percent(result, "f1", "precision", "recall", "iou", "accuracy"))
    official = "" if result.official_tiles is None else f" (official split: {result.official_tiles})"
    out.print(f"{result.tiles} tiles of {result.tile}{official}, {result.tiling}")
    out.print(f"label: {result.label_rule}, change: probability > 0.5")
    if result.official_tiles is not None and result.tiles != result.official_tiles:
        err.print(
            f"warning: the official test split has {result.official_tiles} tiles; this score is not comparable.",
            style="yellow",
        )
    if result.paper_f1 is not None:
        out.print(f"published F1: paper {result.paper_f1:.2f}, checkpoint {result.checkpoint_f1:.2f}")
    if result.sweep is not None:
        _print_sweep(result)
    for path in (options.results.gallery, options.results.sweep):
        if path is not None:
            out.print(f"written: {path}")


app.command()(flags(evaluate))


def _print_sweep(result: Evaluation) -> None:
    """The best threshold, the model's own, and what stands between."""
    sweep = result.sweep
    assert sweep is not None
    own = sweep.at_model_threshold
    if sweep.best is None:
        err.print("warning: this split has no labelled change, so there is no best threshold.", style="yellow")
    else:
        out.print(f"best threshold: {sweep.best.threshold:.2f}  {percent(sweep.best, 'f1', 'precision', 'recall')}")
    out.print(f"the model's threshold: {own.threshold:g}  {percent(own, 'f1', 'precision', 'recall')}")
    out.print(f"average precision: {100 * sweep.average_precision:.2f}")
    middle = next(entry for entry in sweep.false_alarms if entry.threshold == 0.5)
    rate = "" if middle.per_km2 is None else f", {middle.per_km2:.1f} per km2 (GSD {sweep.gsd:g} m, {sweep.gsd_source})"
    unknown = "; their rate is unknown without --gsd" if middle.per_km2 is None else ""
    out.print(f"false-alarm objects at 0.5: {middle.objects}{rate}{unknown}")
    if result.split == "test" and sweep.best is not None:
        err.print(
            "warning: a threshold chosen on the test split inflates the test score: choose it on val.", style="yellow"
        )
