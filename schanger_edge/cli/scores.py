"""`schanger-edge evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.printing import percent, progress_bars


@app.command()
def evaluate(
    root: Annotated[Path, typer.Option(help="Folder that holds SPLIT/A, SPLIT/B and SPLIT/label.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="levir-cd, levir-cd+, s2looking, cdd, sysu-cd or whu-cd, to show its published F1."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split.")] = "test",
    model: Annotated[str | None, typer.Option(help="An .onnx file or a bundled model's name.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the result here.")] = None,
) -> None:
    """Score a model against labels by the official protocol."""
    from schanger_edge.evaluate import evaluate as evaluate_tool

    with progress_bars() as progress:
        result = evaluate_tool(
            root, dataset=dataset, split=split, model=model, json_file=json_file,
            progress=lambda done, total: progress("images", done, total),
        )  # fmt: skip
    out.print(f"{result.dataset or root} {result.split}: {result.model} on {result.device}")
    out.print(percent(result, "f1", "precision", "recall", "iou", "accuracy"))
    official = "" if result.official_tiles is None else f" (official split: {result.official_tiles})"
    out.print(f"{result.tiles} tiles of {result.tile}{official}, label: {result.label_rule}, change: probability > 0.5")
    if result.official_tiles is not None and result.tiles != result.official_tiles:
        err.print(
            f"warning: the official test split has {result.official_tiles} tiles; this score is not comparable.",
            style="yellow",
        )
    if result.paper_f1 is not None:
        out.print(f"published f1: article {result.paper_f1:.2f}, checkpoint {result.checkpoint_f1:.2f}")
