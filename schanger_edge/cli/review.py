"""`schanger-edge review`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schanger_edge.cli.flags import flags
from schanger_edge.cli.printing import print_written
from schanger_edge.cli.talk import note, out
from schanger_edge.run.review import ReviewOptions


@flags
def review(
    result: Annotated[Path, typer.Argument(help="Folder of a run.")],
    options: ReviewOptions,
    decisions: Annotated[Path | None, typer.Argument(help="decisions.json, which its report saved.")] = None,
) -> None:
    """Take over what was decided in a report: reviewed changes, labels for training, a PDF."""
    from schanger_edge.run.review import review as review_tool

    done = review_tool(result, decisions, options)
    note(*done.notes)
    if done.kept is not None:
        counts = done.counts
        out.print(
            f"{done.reviewed} of {done.changes} reviewed: {counts['accept']} accepted, {counts['reject']} rejected, "
            f"{counts['unsure']} unsure; the {done.kept} not rejected are kept"
        )
    if done.labels is not None:
        change, no_change = done.labels
        out.print(f"labels: {change} accepted as change, {no_change} rejected as no change; what else is near them too")
    print_written(map(str, done.written))
