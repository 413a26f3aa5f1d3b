"""`schanger-edge info` and `schanger-edge export`."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from schanger_edge.cli.app import app, out
from schanger_edge.errors import SchangerError


class SizeOption(str, Enum):
    """The two networks."""

    small = "small"
    base = "base"


@app.command()
def info(model: Annotated[str, typer.Argument(help="An .onnx file or a bundled model's name.")]) -> None:
    """Print a model's card."""
    from schanger_edge.bundled import model_path
    from schanger_edge.sessions import open_session

    path = model_path(model)
    with open_session(path) as session:
        card = {"file": str(path), "sha256": session.model_sha256, **dataclasses.asdict(session.card)}
    out.print_json(json.dumps(card))


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Option(help="A .pth file with a state_dict.")],
    size: Annotated[SizeOption, typer.Option(help="Which network the checkpoint holds.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    dataset: Annotated[str | None, typer.Option(help="Benchmark dataset whose colour statistics it takes.")] = None,
    normalization: Annotated[Path | None, typer.Option(help="JSON file with colour statistics instead.")] = None,
    tile: Annotated[int, typer.Option(help="Side of the input in pixels, a multiple of 16.")] = 256,
    halo: Annotated[int, typer.Option(help="Context dropped on each side of a tile.")] = 32,
    threshold: Annotated[float, typer.Option(help="Default threshold of the model.")] = 0.5,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel of the training images.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    license_text: Annotated[str, typer.Option("--license", help="Licence of the weights.")] = "",
) -> None:
    """Turn a checkpoint into a model file (needs the export extra)."""
    try:
        from schanger_export.to_onnx import export as export_tool
    except ImportError as error:
        raise SchangerError(f"{error.name} is not installed: pip install 'schanger-edge[export]'.") from error

    report = export_tool(
        checkpoint, size.value, output, dataset=dataset, normalization=normalization, tile=tile, halo=halo,
        threshold=threshold, gsd=gsd, name=name, license=license_text, scores={},
    )  # fmt: skip
    out.print(f"{report.path}: {report.bytes / 1e6:.1f} MB, opset {report.opset}, sha256 {report.sha256[:16]}")
    out.print(f"largest difference from torch: {report.largest_difference:.1e} over {report.tiles} tiles")
