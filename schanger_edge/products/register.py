"""Every product, in one place: a new one is a new file and a line here.

Staging, `--also`, the STAC item, the summary and the report follow from these tables.
"""

from __future__ import annotations

from collections.abc import Collection

from schanger_edge.products import SUMMARY, flatgeobuf, geoparquet, polygons, preview, rasters, stac
from schanger_edge.products.product import PolygonFormat, Product
from schanger_edge.products.report import page

FORMATS: dict[str, PolygonFormat] = {
    "geoparquet": geoparquet.FORMAT,
    "flatgeobuf": flatgeobuf.FORMAT,
}
"""Further formats of the polygons, by what `--also` calls them."""

_MAPS: tuple[Product, ...] = (rasters.CHANGE_MAP, rasters.PROBABILITY_MAP, polygons.PRODUCT)
_SUMMARY = Product(SUMMARY, "Summary of the run", "summary", "application/json", "metadata")
_PAGES: tuple[Product, ...] = (page.PRODUCT, preview.PRODUCT, _SUMMARY)

STANDARD = (*_MAPS, *_PAGES)
"""What every run writes."""

PRODUCTS = (*_MAPS, *(form.product for form in FORMATS.values()), *_PAGES, stac.PRODUCT)
"""All that a run may write, so that a folder can be cleared of an earlier run's results; in the order of lists."""

STANDARD_NAMES = tuple(product.name for product in STANDARD)
PRODUCT_NAMES = tuple(product.name for product in PRODUCTS)


def made_by(formats: Collection[str], *, stac_item: bool) -> list[Product]:
    """Products of a run with these further formats, in the order of `PRODUCTS`."""
    made = {*STANDARD_NAMES, *(FORMATS[form].product.name for form in formats)}
    return [product for product in PRODUCTS if product.name in made or (stac_item and product is stac.PRODUCT)]
