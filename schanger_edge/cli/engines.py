"""`schanger-edge build` and `schanger-edge doctor`: TensorRT plans, and what this machine can run them with."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.printing import progress_bars
from schanger_edge.errors import SessionError

if TYPE_CHECKING:
    from schanger_edge.model.plan import Batches


class FlavourOption(str, Enum):
    """The two TensorRTs."""

    tensorrt = "tensorrt"
    rtx = "rtx"


class BindingOption(str, Enum):
    """Whom CUDA is reached by."""

    cuda_python = "cuda-python"
    pycuda = "pycuda"


@app.command()
def build(
    model: Annotated[str, typer.Argument(help="An .onnx file or a bundled model's name.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The plan to write. Default: your engine cache.")
    ] = None,
    batch: Annotated[
        str, typer.Option(help="Pairs of tiles in a batch: MIN,OPT,MAX, or one number for all three.")
    ] = "1,4,8",
    workspace: Annotated[int | None, typer.Option(help="Megabytes of scratch memory (TensorRT's own choice).")] = None,
    optimization_level: Annotated[
        int | None, typer.Option(help="0 (quick to build) to 5 (tries most); TensorRT's own choice.")
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File that keeps TensorRT's measurements from one build to the next.")
    ] = None,
    flavour: Annotated[FlavourOption | None, typer.Option(help="What is installed, TensorRT first.")] = None,
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(help="RTX only: build for these, without a GPU. '8.6 8.9 12.0', 8.6,8.9,12.0, or repeated."),
    ] = None,
    cuda: Annotated[BindingOption | None, typer.Option(help="Package that asks for the GPU.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build although the cache has it.")] = False,
) -> None:
    """Build a TensorRT plan from a model (needs the tensorrt or rtx extra)."""
    from schanger_edge.model.bundled import model_path
    from schanger_edge.sessions.tensorrt.build import BuildOptions
    from schanger_edge.sessions.tensorrt.build import build as build_tool

    capabilities = " ".join(compute_capability or ()).replace(",", " ").split()
    options = BuildOptions(
        batches=_batches(batch),
        workspace=workspace,
        level=optimization_level,
        timing_cache=timing_cache,
        flavour=flavour.value if flavour else None,
        capabilities=capabilities,
    )
    with progress_bars() as progress:
        result = build_tool(
            model_path(model),
            output,
            options,
            binding=cuda.value if cuda else None,
            rebuild=rebuild,
            progress=progress,
        )
    err.print(result.explanation)
    card = result.card
    target = f"{card.target.gpu or 'any GPU'} of compute capability {' or '.join(card.target.capabilities)}"
    state = "found in the cache" if result.cached and output is None else "found" if result.cached else "built"
    out.print(f"{result.plan}: {card.plan_bytes / 1e6:.1f} MB, {card.card.precision}, for {target}; {state}")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what this machine has, what a run will use, and what is missing."""
    from rich.table import Table

    from schanger_edge.sessions.doctor import doctor as doctor_tool

    report = doctor_tool()
    if as_json:
        out.print_json(json.dumps(report.as_dict()))
        return
    table = Table.grid(padding=(0, 2))
    for name, words in report.facts.items():
        table.add_row(name, words)
    out.print(table)
    out.print(f"\nrun --device auto uses: {report.uses}")
    if report.missing:
        out.print("\nmissing, if you need it:")
        for name, words in report.missing.items():
            out.print(f"  {name}: {words}")


def _batches(text: str) -> Batches:
    from schanger_edge.model.plan import Batches

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise SessionError(f"--batch must be MIN,OPT,MAX, such as 1,4,8, or one number, not {text!r}.")
    return Batches(*(numbers * 3 if len(numbers) == 1 else numbers))
