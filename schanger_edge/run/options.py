"""What a run is asked for, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from schanger_edge.errors import SchangerError, require
from schanger_edge.model.decision import check_threshold
from schanger_edge.products.exchange import WRITERS
from schanger_edge.products.stac import parse_date
from schanger_edge.scene import Pair

MAX_THREADS = 1024
DATES = ("before", "after")


def check_engine(threshold: float | None, batch: int | None, threads: int | None) -> None:
    """Raise a SchangerError where a number is out of its range."""
    if threshold is not None:
        check_threshold(threshold)
    if batch is not None and batch < 1:
        raise SchangerError(f"batch must be at least 1, not {batch}.")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise SchangerError(f"threads must lie between 1 and {MAX_THREADS}, not {threads}.")


def check_polygons(options: Mapping[str, float]) -> None:
    """Raise a SchangerError where a number that shapes the polygons is out of its range."""
    units = {"min_area": "square metres", "simplify": "metres", "fill_holes": "square metres"}
    for name, value in options.items():
        if not 0 <= value < math.inf:
            raise SchangerError(f"{name.replace('_', '-')} must be a number of {units[name]} from 0 up, not {value}.")


def check_products(also: Sequence[str], stac: bool, dates: Sequence[str] | None) -> None:
    """Raise a SchangerError where a product is not known, lacks its packages, or a date is none."""
    for form in also:
        if form not in WRITERS:
            raise SchangerError(f"there is no format {form!r}: choose of {', '.join(WRITERS)}.")
    if "geoparquet" in also:
        require("pyarrow", "products")
    if stac:
        require("pystac", "products")
    if dates is not None:
        if len(dates) != len(DATES):
            raise SchangerError(f"--dates needs two dates, of before and after, not {len(dates)}.")
        for date in dates:
            parse_date(date)


def dates_of(given: Sequence[str] | None, pair: Pair) -> dict[str, str | None]:
    """When each image was taken; None where it is not known."""
    if given is not None:
        return dict(zip(DATES, given, strict=True))
    return {name: info.date for name, info in pair.info().items()}
