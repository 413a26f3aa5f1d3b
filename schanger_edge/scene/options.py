"""How two images are read: the options of `open_pair`, which every run takes too."""

from __future__ import annotations

import dataclasses
from typing import Literal

from schanger_edge.errors import SceneError
from schanger_edge.options import OptionGroups, Options, option
from schanger_edge.scene.radiometry import StretchChoice, check_stretch
from schanger_edge.scene.validity import Nodata

GridChoice = Literal["before", "after"]


def parse_bands(text: str) -> tuple[int, ...]:
    """`1,2,3`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SceneError(f"--bands must be three numbers such as 1,2,3, not {text!r}.") from None


def parse_nodata(text: str) -> Nodata:
    """`auto`, `none` or a value."""
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    try:
        return float(text)
    except ValueError:
        raise SceneError(f"--nodata must be auto, none or a number, not {text!r}.") from None


def parse_stretch(text: str) -> StretchChoice:
    """`percentiles`, `none`, or numbers such as `0,3000`."""
    if text in ("percentiles", "none"):
        return "none" if text == "none" else "percentiles"
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SceneError(f"--stretch must be percentiles, none or MIN,MAX such as 0,3000, not {text!r}.") from None


def check_nodata(value: Nodata) -> None:
    """Raise a SceneError where it is no choice."""
    if isinstance(value, str) and value != "auto":
        raise SceneError(f"nodata must be auto, None or a number, not {value!r}.")


@dataclasses.dataclass(frozen=True)
class Reading(Options):
    """Where pixels lie, which bands are read, and where there is data.

    Attributes:
        grid: whose grid the pair takes, `before` or `after`; the other date is reprojected lazily (bilinear). Where CRS
            and pixels coincide both are read bit-exact.
        gsd: metres per pixel to resample to on reading; None keeps that of the grid.
        bands: band numbers of red, green, blue, from 1; None takes them from the file's colour interpretation.
        nodata: `auto` (what the file declares: value, alpha, mask), None (ignore it all), or a value for both dates.
        valid_masks_before: rasters whose first band is not zero where the first date is usable; all must say so.
        valid_masks_after: the same of the second date.
    """

    title = "Reading the images"
    error = SceneError

    grid: GridChoice = option("before", "Which image's grid the products use.", decides="facts")
    gsd: float | None = option(
        None,
        "Resample to this many metres per pixel while reading.",
        unit="metres per pixel",
        above=0,
        unset="that of the grid",
        decides="facts",
    )
    bands: tuple[int, ...] | None = option(
        None,
        "Bands to use as red, green, blue, such as 1,2,3.",
        parse=parse_bands,
        unset="from the file",
        decides="facts",
    )
    nodata: Nodata = option(
        "auto",
        "auto, none (ignore what the files declare), or a value.",
        parse=parse_nodata,
        check_value=check_nodata,
        decides="facts",
    )
    valid_masks_before: tuple[str, ...] = option(
        (),
        "Raster that is nonzero where the first image is usable (cloud mask, UDM); repeatable.",
        flag="--valid-mask-before",
        is_path=True,
        decides="facts",
    )
    valid_masks_after: tuple[str, ...] = option(
        (), "The same for the second image.", flag="--valid-mask-after", is_path=True, decides="facts"
    )


@dataclasses.dataclass(frozen=True)
class Opening(Options):
    """Which files are opened.

    Attributes:
        formats: GDAL's drivers that may open the two images, such as `GTiff`; none: all of them. A watch that is given
            none takes those whose files hold their own pixels, see `opening.PLAIN_FORMATS`.
    """

    title = "Reading the images"
    error = SceneError

    formats: tuple[str, ...] = option(
        (),
        "GDAL driver that may open the images, such as GTiff; may be repeated. A watch opens plain formats alone.",
        flag="--format",
    )


@dataclasses.dataclass(frozen=True)
class Radiometry(Options):
    """How values become 8 bits.

    Attributes:
        stretch: `percentiles` (1 to 99 of each date; uint8 as it is), `none` (they are 0 to 255), or (MIN, MAX),
            physical values for both dates, after scale and offset.
        match: give the after image the histograms of the before image, see `Matching`.
    """

    title = "Reading the images"
    error = SceneError

    stretch: StretchChoice = option(
        "percentiles",
        "How values become 8 bits: percentiles of each date, none (values are already 0 to 255), or MIN,MAX for both "
        "dates.",
        parse=parse_stretch,
        check_value=check_stretch,
        decides="facts",
    )
    match: bool = option(False, "Match the after image's histograms to the before image's.", decides="facts")


@dataclasses.dataclass(frozen=True)
class Area(Options):
    """Which part of the scene is wanted.

    Attributes:
        clip: vector file, of any CRS, with the polygons of the area of interest: only tiles that touch it are run,
            pixels outside it are nodata. See `Pair.wanted`.
        clip_layer: its layer, where there are several.
    """

    title = "What counts as change"
    error = SceneError

    clip: str | None = option(
        None,
        "Vector file with the area of interest; only tiles that touch it are run.",
        is_path=True,
        unset="the whole scene",
        decides="facts",
    )
    clip_layer: str | None = option(None, "Layer of the area of interest.", unset="the only layer", decides="facts")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip is None and self.clip_layer is not None:
            raise SceneError("--clip-layer names a layer of the area of interest: give its file with --clip.")


@dataclasses.dataclass(frozen=True)
class PairOptions(OptionGroups):
    """How two images are put on one grid and read."""

    opening: Opening = Opening()
    reading: Reading = Reading()
    radiometry: Radiometry = Radiometry()
    area: Area = Area()
