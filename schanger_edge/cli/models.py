"""`schanger-edge info` and `schanger-edge export`."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from schanger_edge.cli.app import app, out
from schanger_edge.errors import SchangerError, missing_extra


class SizeOption(str, Enum):
    """The two networks."""

    small = "small"
    base = "base"


@app.command()
def info(model: Annotated[str, typer.Argument(help="An .onnx file, a plan, or a bundled model's name.")]) -> None:
    """Print a model's card, and what a plan was built for."""
    from schanger_edge.bundled import model_path
    from schanger_edge.info import info as info_tool

    out.print_json(json.dumps(info_tool(model_path(model))))


@app.command()
def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    weights: Annotated[
        str | None,
        typer.Option(help="Weights by name: levir-cd:base, whu-cd:small, ..., schanger-small; fetched once."),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A .pth file with a state_dict instead.")] = None,
    size: Annotated[SizeOption | None, typer.Option(help="Which network it must be. Default: what it is.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Benchmark dataset whose colour statistics it takes. Default: what the weights say."),
    ] = None,
    normalization: Annotated[Path | None, typer.Option(help="JSON file with colour statistics instead.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side of the input, a multiple of 16. Default: 256.")] = None,
    halo: Annotated[int | None, typer.Option(help="Context on each side of a core, in pixels. Default: 32.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Default threshold of the model. Default: 0.5.")] = None,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel of the training images.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    license_text: Annotated[str | None, typer.Option("--license", help="Licence of the weights.")] = None,
) -> None:
    """Turn weights into a model file (needs the export extra)."""
    if (weights is None) == (checkpoint is None):
        raise SchangerError("give the weights: either --weights NAME or --checkpoint FILE.")
    try:
        from schanger_export.weights import Weights, find

        found = Weights(checkpoint) if checkpoint is not None else find(str(weights), size and size.value)
        from schanger_export.to_onnx import export as export_tool
    except ImportError as error:
        raise missing_extra(error, "export") from error

    report = export_tool(
        found.path, size.value if size else found.card.get("size"), output,
        dataset=dataset, normalization=normalization, tile=tile, halo=halo, threshold=threshold, gsd=gsd,
        name=name, license=license_text, known=found.card,
    )  # fmt: skip
    out.print(f"{report.path}: {report.bytes / 1e6:.1f} MB, opset {report.opset}, sha256 {report.sha256[:16]}")
    out.print(f"largest difference from torch: {report.largest_difference:.1e} over {report.tiles} tiles")
