"""`schanger-edge run`, `demo` and `review`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from schanger_edge.cli.flags import flags
from schanger_edge.cli.interrupt import interruptible
from schanger_edge.cli.printing import Json, percent, print_json, print_result, print_written
from schanger_edge.cli.talk import note, out, progress_bars, warn
from schanger_edge.run.control import AfterStop, Control
from schanger_edge.run.options import RunOptions
from schanger_edge.run.review import ReviewOptions
from schanger_edge.scene import Pair
from schanger_edge.sessions import Session

BETTER = (
    "the bundled model has seen little: a better one for your imagery is one command away, see `schanger-edge models`"
)
"""What a run without --model says."""


@flags
def run(
    before: Annotated[
        str,
        "Image of the first date: a GeoTIFF, a URL, or a PNG/JPEG of the same size as the second.",
    ],
    after: Annotated[str, "Image of the second date: any CRS, grid and extent that overlaps the first."],
    output: Annotated[Path, "Folder for the products."],
    options: RunOptions,
    after_stop: AfterStop,
    as_json: Json = False,
) -> None:
    """Find what changed between two images of one place."""
    from schanger_edge.run.detect import detect

    def start(session: Session, pair: Pair, warnings: Sequence[str]) -> None:
        _print_start(session, pair, warnings)
        if options.engine.model is None:
            note(BETTER)

    with interruptible(output), progress_bars() as progress:
        control = Control(after_stop.resume, after_stop.restart, on_start=start, progress=progress)
        result = detect(before, after, output, options, control=control)
    if as_json:
        print_json(result.summary)
    else:
        print_result(result)


@flags
def demo(
    output: Annotated[Path, "Folder for the scene and the result."] = Path("demo"),
    side: Annotated[int, "Width and height of the scene in pixels."] = 2048,
    seed: Annotated[int, "Seed that selects the scene."] = 14,
) -> None:
    """Render a pair with known truth, find what changed and score it."""
    from schanger_edge.evaluation.demo import demo as demo_tool
    from schanger_edge.products import PROJECT

    with progress_bars() as progress:

        def rendered(share: float) -> None:
            progress("render", round(share * side * side), side * side)

        control = Control(on_start=_print_start, progress=progress)
        result = demo_tool(output, side=side, seed=seed, on_render=rendered, control=control)
    print_result(result.detection)
    out.print(f"against the exact truth: {percent(result.counts, 'f1', 'precision', 'recall')}")
    out.print(f"both dates and all maps in QGIS: open {result.detection.folder / PROJECT}")


@flags
def review(
    result: Annotated[Path, "Folder of a run."],
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


def _print_start(session: Session, pair: Pair, warnings: Sequence[str]) -> None:
    card = session.card
    note(*session.notes)
    tile = session.tile_for(pair.grid.height, pair.grid.width)
    note(f"{session.device}, model {card.name} ({card.precision}, tile {tile}, halo {card.halo})")
    size = f"{pair.grid.width} x {pair.grid.height} pixels"
    note(f"{size}, {_crs_name(pair)}, {pair.overlap:.0%} overlap", *pair.notes)
    warn(*warnings)


def _crs_name(pair: Pair) -> str:
    crs = pair.grid.crs
    if crs is None:
        return "no CRS"
    name = crs.to_string() if crs.to_epsg() else "custom CRS"
    return f"{name}, pixels of unknown size" if pair.grid.gsd is None else f"{name}, {pair.grid.gsd:.3g} m"
