"""`schanger-edge info` and `schanger-edge export`."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from schanger_edge.cli.app import app, err, out
from schanger_edge.errors import SchangerError, missing_extra


class SizeOption(str, Enum):
    """The two networks."""

    small = "small"
    base = "base"


@app.command()
def info(model: Annotated[str, typer.Argument(help="An .onnx file, a plan, or a bundled model's name.")]) -> None:
    """Print a model's card, and what a plan was built for."""
    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.info import info as info_tool

    out.print_json(json.dumps(info_tool(model_path(model))))


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .onnx file to write.")] = None,
    triton: Annotated[
        Path | None, typer.Option(metavar="REPO", help="Triton model repository to add it to, as the next version.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Weights by name: levir-cd:base, whu-cd:small, ..., schanger-small; fetched once."),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A .pth file with a state_dict instead.")] = None,
    model: Annotated[
        str | None, typer.Option(help="With --triton: an .onnx file that is there, or a bundled model's name.")
    ] = None,
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
    """Turn weights into a model file (needs the export extra), and serve it with Triton."""
    if [weights, checkpoint, model].count(None) != 2:
        raise SchangerError(
            "give the weights: either --weights NAME or --checkpoint FILE; or, for --triton, --model FILE."
        )
    options: dict[str, Any] = {
        "size": size and size.value, "dataset": dataset, "normalization": normalization, "tile": tile, "halo": halo,
        "threshold": threshold, "gsd": gsd, "license": license_text,
    }  # fmt: skip
    if model is not None:
        _serve_only(model, triton, name, {"output": output, **options})
    elif output is None and triton is None:
        raise SchangerError("say where the model goes: -o FILE, --triton REPO, or both.")
    else:
        with _model_file(output) as target:
            _export(weights, checkpoint, target, {**options, "name": name}, shown=output)
            if triton is not None:
                _serve(target, triton, name)


def _export(
    weights: str | None, checkpoint: Path | None, target: Path, options: dict[str, Any], *, shown: Path | None
) -> None:
    try:
        from schanger_export.weights import Weights, find

        found = Weights(checkpoint) if checkpoint is not None else find(str(weights), options["size"])
        from schanger_export.to_onnx import export as export_tool
    except ImportError as error:
        raise missing_extra(error, "export") from error

    size = options.pop("size") or found.card.get("size")
    report = export_tool(found.path, size, target, **options, known=found.card)
    facts = f"{report.bytes / 1e6:.1f} MB, opset {report.opset}, sha256 {report.sha256[:16]}"
    out.print(f"{shown}: {facts}" if shown else facts)
    out.print(f"largest difference from double precision: {report.largest_difference:.1e} over {report.tiles} tiles")


def _serve_only(model: str, triton: Path | None, name: str | None, options: dict[str, Any]) -> None:
    """A model file into the repository, as it is."""
    from schanger_edge.model.bundled import model_path

    if triton is None:
        raise SchangerError("--model takes a model file that is there: say with --triton REPO where it is served from.")
    given = [f"--{option}" for option, value in options.items() if value is not None]
    if given:
        raise SchangerError(f"--model is served as it is: leave out {', '.join(given)}, or export from the weights.")
    _serve(model_path(model), triton, name)


def _serve(model: Path, repository: Path, name: str | None) -> None:
    from schanger_edge.model.triton import CONFIG, add_to_repository

    served = add_to_repository(model, repository, name)
    out.print(f"{served.model}: version {served.version} of {served.folder.name}")
    if served.kept_config:
        err.print(f"{served.folder / CONFIG} was edited and stays: the model card in it is not this version's.")


@contextlib.contextmanager
def _model_file(output: Path | None) -> Iterator[Path]:
    """Where to write the model file; a place that is gone afterwards where none was asked for."""
    if output is not None:
        yield output
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "model.onnx"
