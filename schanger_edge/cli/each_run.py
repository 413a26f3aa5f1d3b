"""Options that `watch` and `batch` hand to each of their runs, described once."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from schanger_edge.cli.engines import BindingOption
from schanger_edge.cli.parsing import parse_bands, parse_nodata, parse_stretch
from schanger_edge.cli.run import FormatOption, GridOption

_run, _engine = (
    partial(typer.Option, rich_help_panel=title) for title in ("Each run, see `run --help`", "Engine")
)  # fmt: skip

Threshold = Annotated[float | None, _run(help="Change where probability is greater (the model's own).")]
Grid = Annotated[GridOption, _run(help="Whose grid the products take.")]
Gsd = Annotated[float | None, _run(help="Resample to this many metres per pixel on reading.")]
Bands = Annotated[str | None, _run(help="Bands of red, green, blue, such as 1,2,3.")]
Nodata = Annotated[str, _run(help="auto, none or a value.")]
Stretch = Annotated[str, _run(help="percentiles, none, or MIN,MAX.")]
Match = Annotated[bool, _run("--match", help="Match the later image's histograms to the earlier one's.")]
Align = Annotated[bool, _run("--align", help="Take the offset between the dates away.")]
MaxOffset = Annotated[float, _run(help="Warn where the dates lie more pixels apart; inf does not look.")]
MinArea = Annotated[float, _run(help="Leave out smaller polygons, square metres.")]
Simplify = Annotated[float, _run(help="Drop corners of polygons: metres an outline may move.")]
FillHoles = Annotated[float, _run(help="Fill smaller holes in polygons, square metres.")]
Also = Annotated[list[FormatOption] | None, _run(help="A further format of the polygons; may be repeated.")]

Model = Annotated[str | None, _engine(help="An .onnx file or a bundled model's name.")]
Device = Annotated[str, _engine(help="cpu, cuda (TensorRT), cuda:onnxruntime, or auto.")]
Cuda = Annotated[BindingOption | None, _engine(help="Package that reaches CUDA (what is installed).")]


def detection(
    *, grid: GridOption, bands: str | None, nodata: str, stretch: str, also: list[FormatOption] | None, **plain: Any
) -> dict[str, Any]:
    """Arguments of `detect`; those that need no parsing are passed on as they are.

    Raises:
        SchangerError: a text cannot be read.
    """
    return {
        **plain, "grid": grid.value, "bands": parse_bands(bands), "nodata": parse_nodata(nodata),
        "stretch": parse_stretch(stretch), "also": [form.value for form in also or ()],
    }  # fmt: skip
