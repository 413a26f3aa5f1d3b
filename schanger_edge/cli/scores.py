"""`schanger-edge evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.engines import BindingOption
from schanger_edge.cli.printing import percent, progress_bars

if TYPE_CHECKING:
    from schanger_edge.evaluation.evaluate import Evaluation


@app.command()
def evaluate(
    root: Annotated[Path, typer.Option(help="Folder of a labelled dataset as published, or with SPLIT/A, B, label.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="levir-cd, levir-cd+, s2looking, cdd, sysu-cd or whu-cd, to show its published F1."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split; . where ROOT itself holds A, B, label.")] = "test",
    model: Annotated[str | None, typer.Option(help="An .onnx file or a bundled model's name.")] = None,
    device: Annotated[str, typer.Option(help="Where it runs: as of `run`.")] = "cpu",
    cuda: Annotated[BindingOption | None, typer.Option(help="Package that reaches CUDA (what is installed).")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the result here.")] = None,
    label_rule: Annotated[
        str, typer.Option(help="Label values that mean change: auto, nonzero, >127, or values such as 2,3.")
    ] = "auto",
    gallery: Annotated[Path | None, typer.Option(help="Also write an HTML page of the worst images here.")] = None,
    gallery_count: Annotated[int, typer.Option(help="How many images the page shows at most.")] = 40,
    sweep: Annotated[
        Path | None, typer.Option(help="Also write the scores at all thresholds here (.json, with a .png beside it).")
    ] = None,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel, for the sweep's false alarms per km2.")] = None,
    stitched: Annotated[
        bool, typer.Option("--stitched", help="Read and tile whole images as run does, not by the protocol.")
    ] = False,
    halo: Annotated[int | None, typer.Option(help="Context around a tile, with --stitched (the model's own).")] = None,
) -> None:
    """Score a model against labels by the official protocol, or as run would map the images."""
    from schanger_edge.evaluation.evaluate import evaluate as evaluate_tool

    with progress_bars() as progress:
        result = evaluate_tool(
            root, dataset=dataset, split=split, model=model, json_file=json_file, label_rule=label_rule,
            gallery=gallery, gallery_count=gallery_count, sweep=sweep, gsd=gsd, stitched=stitched, halo=halo,
            device=device, cuda=cuda.value if cuda else None, progress=progress,
        )  # fmt: skip
    for note in result.engine.notes:
        err.print(note)
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
        out.print(f"published f1: article {result.paper_f1:.2f}, checkpoint {result.checkpoint_f1:.2f}")
    if result.sweep is not None:
        _print_sweep(result)
    for path in (gallery, sweep):
        if path is not None:
            out.print(f"written: {path}")


def _print_sweep(result: Evaluation) -> None:
    """The best threshold, the model's own, and what stands between."""
    sweep = result.sweep
    assert sweep is not None
    own = sweep.at_model_threshold
    if sweep.best is None:
        err.print("warning: nothing is labelled as change in this split: no threshold is best.", style="yellow")
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
            "warning: a threshold chosen on test makes its test score too good: choose it on val.", style="yellow"
        )
