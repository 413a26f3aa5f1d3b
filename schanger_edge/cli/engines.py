"""`schanger-edge build` and `schanger-edge doctor`: TensorRT plans, and what this machine can run them with."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import Json, print_json
from schanger_edge.cli.talk import note, out, progress_bars
from schanger_edge.sessions.tensorrt.options import BuildOptions

BindingOption = Enum("BindingOption", {"cuda_python": "cuda-python", "pycuda": "pycuda"}, type=str)


@flags
def build(
    model: Annotated[str, "An .onnx file, or a name that `models` lists, such as levir-cd:base."],
    options: BuildOptions,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Plan file to write.", show_default="in the engine cache")
    ] = None,
    cuda: Annotated[BindingOption | None, "Python package that queries the GPU."] = None,
    rebuild: Annotated[bool, "Build even if the cache already has the plan."] = False,
) -> None:
    """Build a TensorRT plan from a model (needs the tensorrt or rtx extra)."""
    from schanger_edge.model.bundled import model_path
    from schanger_edge.sessions.tensorrt.build import build as build_tool

    binding: Any = cuda.value if cuda else None
    with progress_bars() as progress:
        path = model_path(model, progress)
        result = build_tool(path, output, options, binding=binding, rebuild=rebuild, progress=progress)
    note(result.explanation)
    card = result.card
    target = f"{card.target.gpu or 'any GPU'} of compute capability {' or '.join(card.target.capabilities)}"
    state = "found in the cache" if result.cached and output is None else "found" if result.cached else "built"
    out.print(f"{result.plan}: {card.plan_bytes / 1e6:.1f} MB, {card.card.precision}, for {target}; {state}")


@flags
def doctor(as_json: Json = False) -> None:
    """Show what this machine has, what a run will use, and what is missing."""
    from rich.table import Table

    from schanger_edge.sessions.doctor import doctor as doctor_tool

    report = doctor_tool()
    if as_json:
        print_json(report.as_dict())
        return
    table = Table.grid(padding=(0, 2))
    for name, words in report.facts.items():
        table.add_row(name, words)
    out.print(table)
    out.print(f"\nrun --device auto uses: {report.uses}")
    if report.missing:
        out.print("\nnot installed (only if you need it):")
        for name, words in report.missing.items():
            out.print(f"  {name}: {words}")
