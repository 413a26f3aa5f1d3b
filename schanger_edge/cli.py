"""The command line: parse, call one tool, print. Errors end with one sentence and exit code 2."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from schanger_edge._version import __version__
from schanger_edge.errors import SchangerError

if TYPE_CHECKING:
    from schanger_edge.detect import Detection

app = typer.Typer(
    help="Change maps from two georeferenced images, on the machine in the field.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


class GridOption(str, Enum):
    """Whose grid the products take."""

    before = "before"
    after = "after"


class SizeOption(str, Enum):
    """The two networks."""

    small = "small"
    base = "base"


def main() -> None:
    """Entry point of `schanger-edge`."""
    try:
        app()
    except SchangerError as error:
        err.print(Text(f"error: {error}"), style="bold red")
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("interrupted: nothing was written")
        sys.exit(130)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"schanger-edge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


@app.command()
def run(
    before: Annotated[str, typer.Argument(help="Image of the first date: GeoTIFF, or PNG/JPEG of equal size.")],
    after: Annotated[str, typer.Argument(help="Image of the second date; any CRS, grid and extent that overlaps.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the products.")],
    model: Annotated[str | None, typer.Option(help="An .onnx file or a bundled model's name.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Change where probability is greater (the model's own).")
    ] = None,
    batch: Annotated[int, typer.Option(help="Tiles per inference.")] = 1,
    grid: Annotated[GridOption, typer.Option(help="Whose grid the products take.")] = GridOption.before,
    gsd: Annotated[float | None, typer.Option(help="Resample to this many metres per pixel on reading.")] = None,
    bands: Annotated[str | None, typer.Option(help="Bands of red, green, blue, such as 1,2,3.")] = None,
    nodata: Annotated[str, typer.Option(help="auto, none (ignore what the files declare) or a value.")] = "auto",
    min_area: Annotated[float, typer.Option(help="Leave out smaller polygons, square metres.")] = 0.0,
    threads: Annotated[int | None, typer.Option(help="CPU threads (all).")] = None,
) -> None:
    """Find what changed between two images of one place."""
    from schanger_edge.detect import detect

    def on_start(session: Any, pair: Any, warnings: Any) -> None:
        card = session.card
        err.print(f"{session.device}, model {card.name} ({card.precision}, tile {card.tile}, halo {card.halo})")
        size = f"{pair.grid.width} x {pair.grid.height} pixels"
        err.print(f"{size}, {_crs_name(pair)}, {pair.overlap:.0%} overlap")
        for warning in warnings:
            err.print(Text(f"warning: {warning}"), style="yellow")

    with _progress() as progress:
        result = detect(
            before, after, output, model=model, threshold=threshold, batch=batch, grid=grid.value, gsd=gsd,
            bands=_parse_bands(bands), nodata=_parse_nodata(nodata), min_area=min_area, threads=threads,
            on_start=on_start, progress=progress,
        )  # fmt: skip
    _print_result(result)


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

    with _progress() as progress:
        result = evaluate_tool(
            root, dataset=dataset, split=split, model=model, json_file=json_file,
            progress=lambda done, total: progress("images", done, total),
        )  # fmt: skip
    out.print(f"{result.dataset or root} {result.split}: {result.model} on {result.device}")
    out.print(_percent(result, "f1", "precision", "recall", "iou", "accuracy"))
    official = "" if result.official_tiles is None else f" (official split: {result.official_tiles})"
    out.print(f"{result.tiles} tiles of {result.tile}{official}, label: {result.label_rule}, change: probability > 0.5")
    if result.official_tiles is not None and result.tiles != result.official_tiles:
        err.print(
            f"warning: the official test split has {result.official_tiles} tiles; this score is not comparable.",
            style="yellow",
        )
    if result.paper_f1 is not None:
        out.print(f"published f1: article {result.paper_f1:.2f}, checkpoint {result.checkpoint_f1:.2f}")


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


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for scene and result.")] = Path("demo"),
    side: Annotated[int, typer.Option(help="Columns and rows of the scene.")] = 2048,
    seed: Annotated[int, typer.Option(help="Which scene.")] = 14,
) -> None:
    """Render a pair with known truth, find what changed and score it."""
    from schanger_edge.demo import demo as demo_tool
    from schanger_edge.products import CHANGE, POLYGONS, PREVIEW

    with _progress() as progress:
        result = demo_tool(
            output, side=side, seed=seed, progress=progress,
            on_render=lambda share: progress("render", round(share * side * side), side * side),
        )  # fmt: skip
    _print_result(result.detection)
    out.print(f"against the exact truth: {_percent(result.counts, 'f1', 'precision', 'recall')}")
    folder = result.detection.folder
    out.print(f"look at {folder / PREVIEW}, or open these in QGIS:")
    for path in (result.pair.before, result.pair.after, folder / CHANGE, folder / POLYGONS):
        out.print(f"  {path}")


def _print_result(result: Detection) -> None:
    summary = result.summary
    area = summary["area_m2"]["changed"]
    size = f"{area:,.0f} m2" if area is not None else f"{result.changed:,} pixels"
    out.print(f"change: {size}, {result.changed_share:.2%} of the valid area, {result.polygons} polygons")
    total = summary["pixels"]["total"]
    out.print(
        f"valid: {result.valid / total:.1%} of {total / 1e6:.1f} megapixels; {summary['tiles']['run']} tiles run, "
        f"{summary['tiles']['skipped']} skipped; {summary['seconds']['total']:.1f} s"
    )
    out.print(f"results: {result.folder}")


def _percent(scores: Any, *names: str) -> str:
    """Some of an object's scores, 0-1, in percent."""
    return "  ".join(f"{name} {100 * getattr(scores, name):.2f}" for name in names)


def _crs_name(pair: Any) -> str:
    crs = pair.grid.crs
    if crs is None:
        return "no CRS"
    name = crs.to_string() if crs.to_epsg() else "custom CRS"
    return f"{name}, pixels of unknown size" if pair.grid.gsd is None else f"{name}, {pair.grid.gsd:.3g} m"


def _parse_bands(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SchangerError(f"--bands needs three numbers such as 1,2,3, not {text!r}.") from None


def _parse_nodata(text: str) -> float | str | None:
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    try:
        return float(text)
    except ValueError:
        raise SchangerError(f"--nodata needs auto, none or a number, not {text!r}.") from None


class _Rate(ProgressColumn):
    """Megapixels of scene per second."""

    def render(self, task: Task) -> Text:
        if not task.fields.get("pixels") or not task.speed:
            return Text("")
        return Text(f"{task.speed / 1e6:.2f} Mpx/s")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar per stage on standard error, with throughput and time left."""
    columns = (TextColumn("{task.description:>8}"), BarColumn(40), TextColumn("{task.percentage:>4.0f} %"))
    bars = Progress(*columns, _Rate(), TimeRemainingColumn(), console=err, transient=False)
    tasks: dict[str, Any] = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total, pixels=stage in ("render", "predict"))
        bars.update(tasks[stage], completed=done)

    with bars:
        yield update
