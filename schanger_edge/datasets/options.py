"""What `dataset make` is asked for: the command line reads its flags from here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from schanger_edge.errors import DatasetError
from schanger_edge.model.card import TILE_MULTIPLE
from schanger_edge.options import OptionGroups, Options, option
from schanger_edge.scene.options import check_nodata, parse_bands, parse_nodata
from schanger_edge.scene.validity import Nodata

SHARES = (70.0, 15.0, 15.0)


def check_tile(tile: int) -> None:
    """Raise a DatasetError unless the network takes tiles of this side."""
    if tile < TILE_MULTIPLE or tile % TILE_MULTIPLE:
        raise DatasetError(f"--tile must be a positive multiple of {TILE_MULTIPLE}, not {tile}.")


def parse_shares(text: str) -> tuple[float, ...]:
    """`70,15,15`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise DatasetError(f"--shares must be three numbers such as 70,15,15, not {text!r}.") from None


def check_shares(shares: Sequence[float]) -> None:
    """Raise a DatasetError unless these are shares of three splits."""
    if len(shares) != 3 or not all(0 <= share < math.inf for share in shares) or not sum(shares) > 0:
        raise DatasetError("--shares must be three non-negative shares of train, val and test, such as 70,15,15.")


@dataclasses.dataclass(frozen=True)
class CutOptions(Options):
    """How pairs are opened and cut.

    A pixel is valid where both dates have data and the label is known; see `scene.open_pair`.
    """

    title = "Tiles"

    tile: int = option(256, "Side of a tile in pixels, a multiple of 16.", check_value=check_tile)
    gsd: float | None = option(
        None,
        "Resample to this many metres per pixel while reading.",
        unit="metres per pixel",
        above=0,
        unset="that of each before image",
    )
    min_valid: float = option(
        1.0, "Minimum share of a tile's pixels with data in both dates, up to 1.", above=0, at_most=1
    )
    bands: tuple[int, ...] | None = option(
        None, "Bands to use as red, green, blue, such as 1,2,3.", parse=parse_bands, unset="from the file"
    )
    nodata: Nodata = option(
        "auto",
        "auto, none (ignore what the files declare), or a value.",
        parse=parse_nodata,
        check_value=check_nodata,
    )


@dataclasses.dataclass(frozen=True)
class SplitOptions(Options):
    """How ground is dealt to splits.

    Shares are relative to their sum. By default squares are four tiles of the coarsest pair wide, or two or one where
    that gives less than ten squares.
    """

    title = "Splits"

    shares: tuple[float, ...] | None = option(
        None,
        "Shares of train, val and test.",
        parse=parse_shares,
        check_value=check_shares,
        unset="70,15,15",
    )
    block: float | None = option(
        None,
        "Side of the ground squares that are assigned to splits.",
        unit="metres",
        above=0,
        unset="4 tiles, less if there is little ground",
    )
    seed: int = option(36, "Seed that assigns squares to splits.", at_least=0)


@dataclasses.dataclass(frozen=True)
class MakeOptions(OptionGroups):
    """How labelled pairs become training tiles."""

    cut: CutOptions = CutOptions()
    split: SplitOptions = SplitOptions()
