"""What several commands print as their result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schanger_edge.cli.talk import out
from schanger_edge.files import to_json

if TYPE_CHECKING:
    from rich.table import Table

    from schanger_edge.evaluation.agreement import Agreement
    from schanger_edge.run.detect import Detection


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else on standard output.")]


def print_json(content: Mapping[str, Any]) -> None:
    """A result for programs, where `--json` asks for it."""
    out.print(to_json(content))


def print_table(table: Table) -> None:
    """A table; where the output is no terminal, as wide as names need that should stay whole."""
    if not out.is_terminal:
        out.width = 200
    out.print(table)


def print_written(paths: Iterable[str | None]) -> None:
    """Files that a command wrote because it was asked for them."""
    for path in filter(None, paths):
        out.print(f"written: {path}")


def print_result(result: Detection) -> None:
    """What `run` and `demo` end with."""
    summary = result.summary
    out.print(f"change: {result.words}{_least(summary)}")
    total = summary["pixels"]["total"]
    out.print(
        f"valid: {result.valid / total:.1%} of {total / 1e6:.1f} megapixels; {summary['tiles']['run']} tiles run, "
        f"{summary['tiles']['skipped']} skipped; {summary['seconds']['total']:.1f} s"
    )
    out.print(f"results: {result.folder}; open {result.report} in a browser")


def _least(summary: Mapping[str, Any]) -> str:
    """From which size on areas count, and how many did not."""
    least, small = summary["options"]["min_area"], summary["too_small"]["areas"]
    unit = "pixels" if summary["grid"]["crs"] is None else "m2"
    return f" of {least:g} {unit} or more ({small} smaller left out; see --min-area)" if least else ""


def percent(scores: Any, *names: str) -> str:
    """Some of an object's scores, 0-1, in percent."""
    return "  ".join(f"{name} {100 * getattr(scores, name):.2f}" for name in names)


def print_agreement(found: Agreement, label_rules: Iterable[str]) -> None:
    """How two models agree, and which values of the labels count."""
    if label_rules:
        out.print(f"label: {', '.join(label_rules)}")
    text = (
        f"{found.tiles} tiles: agreement {100 * found.agreement:.3f} %, mean difference of probability "
        f"{found.mean_difference:.5f} (largest {found.largest:.3f}), F1 against the first's own map "
        f"{100 * found.f1_against_reference:.2f}"
    )
    if found.labelled and found.reference_counts and found.other_counts:
        text += f", F1 against labels {100 * found.reference_counts.f1:.2f} and {100 * found.other_counts.f1:.2f}"
    out.print(text)
