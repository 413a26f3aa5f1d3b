"""A run as a STAC item: what it made, where it lies, between which dates, and from which images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta, timezone
from pathlib import Path, PurePath
from typing import Any

from schanger_edge.errors import ProductError
from schanger_edge.files import write_json
from schanger_edge.geo.footprint import footprint
from schanger_edge.geo.grid import Grid
from schanger_edge.products import STAC_ITEM
from schanger_edge.products.product import Product

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
"""The extension of STAC by which an item tells its grid."""
PRODUCT = Product(STAC_ITEM, "The run as a STAC item", "item", "application/geo+json", "metadata")


def parse_date(text: str, *, end: bool = False) -> datetime:
    """`2021-06-03` or `2021-06-03T10:20:30`, with or without a zone (then UTC); a bare day begins, or ends, with it.

    Raises:
        ProductError: it is no date.
    """
    try:
        date = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        if end and "T" not in text and " " not in text:
            date = datetime.combine(date, time.min) + timedelta(days=1, seconds=-1)
        return date.replace(tzinfo=timezone.utc) if date.tzinfo is None else date.astimezone(timezone.utc)
    except (ValueError, OverflowError):  # such as hours before the year 1
        raise ProductError(f"--dates must be dates such as 2021-06-03 or 2021-06-03T10:20:30, not {text!r}.") from None


def why_no_item(grid: Grid, dates: Mapping[str, str | None]) -> str | None:
    """Why there can be no item, in a sentence; None where there can.

    An item states when its images were taken. The time of the run would be a lie about that, so unknown dates stay so.
    """
    unknown = " and ".join(f"the {name} image" for name, date in dates.items() if date is None)
    if footprint(grid) is None:
        return f"{STAC_ITEM} was not written: the images have no CRS, or one without a location on Earth."
    if unknown:
        return f"{STAC_ITEM} was not written: the date of {unknown} is unknown, use --dates BEFORE,AFTER."
    return None


def write_item(
    path: Path,
    grid: Grid,
    inputs: Mapping[str, str],
    dates: Mapping[str, str | None],
    products: Sequence[Product],
    folder: Path,
    properties: Mapping[str, Any],
) -> None:
    """Write the item of a run; needs the `products` extra.

    Args:
        path: file to write.
        grid: of the products, with a CRS, see `why_no_item`.
        inputs: path of each date's image, by `before` and `after`.
        dates: when each was taken, see `parse_date`.
        products: the files that lie beside the item.
        folder: where the item will lie: inputs on the same disk are linked relative to it.
        properties: what else the item says; names with a prefix of our own.

    Raises:
        ProductError: the file could not be written.
    """
    import pystac

    place = footprint(grid)
    assert place is not None
    start, end = _span(dates)
    stems = [PurePath(inputs[name]).stem for name in ("before", "after")]
    item = pystac.Item(
        "-".join(["change", *stems]),
        place.geometry,
        place.bbox,
        None,
        {**({} if grid.gsd is None else {"gsd": grid.gsd}), **_projection(grid), **properties},
        start_datetime=start,
        end_datetime=end,
        stac_extensions=[PROJECTION],
    )
    item.common_metadata.title = f"Change between {stems[0]} and {stems[1]}"
    item.common_metadata.created = datetime.now(timezone.utc).replace(microsecond=0)
    for product in products:
        extra = {"bands": [dict(product.band)]} if product.band else None
        asset = pystac.Asset(f"./{product.name}", product.title, None, product.media_type, [product.role], extra)
        item.add_asset(product.key, asset)
    for name, source in inputs.items():
        item.add_link(pystac.Link("derived_from", href(source, folder), title=f"image {name}"))
    write_json(path, item.to_dict(include_self_link=False, transform_hrefs=False))


def _span(dates: Mapping[str, str | None]) -> tuple[datetime, datetime]:
    """From the earlier date to the later; the user may have turned time around."""
    known = [text for text in dates.values() if text is not None]
    return min(map(parse_date, known)), parse_date(max(known, key=parse_date), end=True)


def _projection(grid: Grid) -> dict[str, Any]:
    """The grid of the maps, so that a catalogue knows it without opening them."""
    assert grid.crs is not None
    code = grid.crs.to_epsg()
    named = {"proj:code": f"EPSG:{code}"} if code else {"proj:code": None, "proj:wkt2": grid.crs.to_wkt("WKT2_2019")}
    return {**named, "proj:shape": [grid.height, grid.width], "proj:transform": list(grid.transform)[:6]}


def href(source: str, folder: Path) -> str:
    """A link from the folder to an image: relative on the same disk, so that both may move together."""
    if "://" in source or source.startswith("/vsi") or not os.path.exists(source):
        return source
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # another drive
        return Path(source).resolve().as_uri()
