"""`schanger-edge info` and `schanger-edge export`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.flags import flags
from schanger_edge.errors import SchangerError, missing_extra
from schanger_export.model_options import ExportOptions


@app.command()
def info(model: Annotated[str, typer.Argument(help="An .onnx file, a plan, or the name of a bundled model.")]) -> None:
    """Print a model's card and, for a plan, what it was built for."""
    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.info import info as info_tool

    out.print_json(json.dumps(info_tool(model_path(model))))


@app.command()
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
        str | None, typer.Option(help="With --triton: an existing .onnx file or the name of a bundled model.")
    ] = None,
) -> None:
    """Turn weights into a model file (needs the export extra), or add one to a Triton repository."""
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


def _export(weights: str | Path | None, target: Path, options: ExportOptions, *, shown: Path | None) -> None:
    try:
        from schanger_export.weights import Weights, find

        found = Weights(weights) if isinstance(weights, Path) else find(str(weights), options.size)
        from schanger_export.to_onnx import export as export_tool
    except ImportError as error:
        raise missing_extra(error, "export") from error

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
        err.print(f"{served.folder / CONFIG} was edited and is kept: it still holds the model card of another version.")
