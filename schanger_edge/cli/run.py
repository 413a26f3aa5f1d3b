"""`schanger-edge run` and `schanger-edge demo`."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.engines import BindingOption
from schanger_edge.cli.interrupt import interruptible
from schanger_edge.cli.parsing import parse_bands, parse_nodata, parse_stretch
from schanger_edge.cli.printing import percent, print_result, progress_bars
from schanger_edge.sessions.register import device_help

_reading, _result, _further, _engine, _stopped = (
    partial(typer.Option, rich_help_panel=title)
    for title in ("Reading the images", "What counts as change", "Further products", "Engine", "After a stop")
)


class FormatOption(str, Enum):
    """Further formats of the polygons."""

    geoparquet = "geoparquet"
    flatgeobuf = "flatgeobuf"


class GridOption(str, Enum):
    """Whose grid the products take."""

    before = "before"
    after = "after"


@app.command()
def run(
    before: Annotated[
        str, typer.Argument(help="Image of the first date: GeoTIFF, its URL, or PNG/JPEG of equal size.")
    ],
    after: Annotated[str, typer.Argument(help="Image of the second date; any CRS, grid and extent that overlaps.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the products.")],
    model: Annotated[str | None, _engine(help="An .onnx file or a bundled model's name.")] = None,
    threshold: Annotated[float | None, _result(help="Change where probability is greater (the model's own).")] = None,
    batch: Annotated[int | None, _engine(help="Tiles per inference (what the engine is fastest at).")] = None,
    grid: Annotated[GridOption, _reading(help="Whose grid the products take.")] = GridOption.before,
    gsd: Annotated[float | None, _reading(help="Resample to this many metres per pixel on reading.")] = None,
    bands: Annotated[str | None, _reading(help="Bands of red, green, blue, such as 1,2,3.")] = None,
    nodata: Annotated[str, _reading(help="auto, none (ignore what the files declare) or a value.")] = "auto",
    clip: Annotated[
        str | None, _result(help="Area of interest, a vector file: only tiles that touch it are run.")
    ] = None,
    clip_layer: Annotated[str | None, _result(help="Layer of the area of interest (its only one).")] = None,
    stretch: Annotated[
        str,
        _reading(help="To 8 bits: percentiles of each date, none (values are 0 to 255), or MIN,MAX for both."),
    ] = "percentiles",
    match: Annotated[
        bool, _reading("--match", help="Give the after image the histograms of the before image.")
    ] = False,
    valid_mask_before: Annotated[
        list[str] | None,
        _reading(help="Raster that is not 0 where the first image is usable (clouds, UDM); may be repeated."),
    ] = None,
    valid_mask_after: Annotated[list[str] | None, _reading(help="The same of the second image.")] = None,
    min_area: Annotated[float, _result(help="Leave out smaller polygons, square metres.")] = 0.0,
    simplify: Annotated[float, _result(help="Drop corners of polygons: metres an outline may move.")] = 0.0,
    fill_holes: Annotated[float, _result(help="Fill smaller holes in polygons, square metres.")] = 0.0,
    also: Annotated[
        list[FormatOption] | None, _further(help="Write the polygons in this format too; may be repeated.")
    ] = None,
    stac: Annotated[bool, _further("--stac", help="Write a STAC item of the run too.")] = False,
    dates: Annotated[
        str | None, _further(help="When the images were taken, for STAC: 2019-05-01,2021-06-03 (from the files).")
    ] = None,
    device: Annotated[str, _engine(help=device_help())] = "auto",
    cuda: Annotated[BindingOption | None, _engine(help="Package that reaches CUDA (what is installed).")] = None,
    threads: Annotated[int | None, _engine(help="CPU threads (all).")] = None,
    max_offset: Annotated[float, _reading(help="Warn where the dates lie more pixels apart; inf does not look.")] = 2.0,
    align: Annotated[bool, _reading("--align", help="Take the offset between the dates away on reading.")] = False,
    resume: Annotated[bool, _stopped("--resume", help="Go on with what an unfinished run left.")] = False,
    restart: Annotated[bool, _stopped("--restart", help="Drop what an unfinished run left.")] = False,
) -> None:
    """Find what changed between two images of one place."""
    from schanger_edge.run.detect import detect

    def on_start(session: Any, pair: Any, warnings: Any) -> None:
        card = session.card
        for note in session.notes:
            err.print(note)
        err.print(f"{session.device}, model {card.name} ({card.precision}, tile {card.tile}, halo {card.halo})")
        size = f"{pair.grid.width} x {pair.grid.height} pixels"
        err.print(f"{size}, {_crs_name(pair)}, {pair.overlap:.0%} overlap")
        for note in pair.notes:
            err.print(Text(note))
        for warning in warnings:
            err.print(Text(f"warning: {warning}"), style="yellow")

    with interruptible(output), progress_bars() as progress:
        result = detect(
            before, after, output, model=model, threshold=threshold, batch=batch, grid=grid.value, gsd=gsd,
            bands=parse_bands(bands), nodata=parse_nodata(nodata), clip=clip, clip_layer=clip_layer,
            stretch=parse_stretch(stretch), match=match, valid_masks_before=valid_mask_before or (),
            valid_masks_after=valid_mask_after or (),
            min_area=min_area, simplify=simplify, fill_holes=fill_holes,
            also=[form.value for form in also or ()], stac=stac, dates=dates.split(",") if dates else None,
            device=device, cuda=cuda.value if cuda else None, threads=threads, max_offset=max_offset, align=align,
            resume=resume, restart=restart, on_start=on_start, progress=progress,
        )  # fmt: skip
    print_result(result)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for scene and result.")] = Path("demo"),
    side: Annotated[int, typer.Option(help="Columns and rows of the scene.")] = 2048,
    seed: Annotated[int, typer.Option(help="Which scene.")] = 14,
) -> None:
    """Render a pair with known truth, find what changed and score it."""
    from schanger_edge.evaluation.demo import demo as demo_tool
    from schanger_edge.products import CHANGE, POLYGONS

    with progress_bars() as progress:
        result = demo_tool(
            output, side=side, seed=seed, progress=progress,
            on_render=lambda share: progress("render", round(share * side * side), side * side),
        )  # fmt: skip
    print_result(result.detection)
    out.print(f"against the exact truth: {percent(result.counts, 'f1', 'precision', 'recall')}")
    folder = result.detection.folder
    out.print("in QGIS:")
    for path in (result.pair.before, result.pair.after, folder / CHANGE, folder / POLYGONS):
        out.print(f"  {path}")


def _crs_name(pair: Any) -> str:
    crs = pair.grid.crs
    if crs is None:
        return "no CRS"
    name = crs.to_string() if crs.to_epsg() else "custom CRS"
    return f"{name}, pixels of unknown size" if pair.grid.gsd is None else f"{name}, {pair.grid.gsd:.3g} m"
