"""Every product, in one place: a new one is a new file and a line here.

Staging, `--also`, the STAC item, the summary and the report follow from these tables.
"""

from __future__ import annotations

from collections.abc import Collection

from schanger_edge.geo.footprint import footprint
from schanger_edge.geo.grid import Grid
from schanger_edge.products import (
    SUMMARY,
    geoparquet,
    pdf,
    points,
    polygons,
    preview,
    project,
    rasters,
    stac,
    style,
    vector_files,
)
from schanger_edge.products.product import PolygonFormat, Product
from schanger_edge.products.report import page
from schanger_edge.products.reviewed import after_review

FORMATS: dict[str, PolygonFormat] = {
    "geoparquet": geoparquet.FORMAT,
    "flatgeobuf": vector_files.FLATGEOBUF,
    "geojson": vector_files.GEOJSON,
    "kml": vector_files.KML,
    "shapefile": vector_files.SHAPEFILE,
    "csv": points.CSV,
    "gpx": points.GPX,
}
"""Further formats of the polygons, by what `--also` calls them."""

_MAPS: tuple[Product, ...] = (rasters.CHANGE_MAP, rasters.PROBABILITY_MAP, polygons.PRODUCT)
_SUMMARY = Product(SUMMARY, "Summary of the run", "summary", "application/json", "metadata")
_PAGES: tuple[Product, ...] = (page.PRODUCT, preview.PRODUCT, _SUMMARY)
_FOR_QGIS = (project.PRODUCT, style.CHANGE_STYLE, style.PROBABILITY_STYLE)

STANDARD = (*_MAPS, *_PAGES, *_FOR_QGIS)
"""What every run writes."""

PRODUCTS = (*_MAPS, *(form.product for form in FORMATS.values()), *_PAGES, *_FOR_QGIS, stac.PRODUCT)
"""All that a run may write, so that a folder can be cleared of an earlier run's results; in the order of lists."""

REVIEWED = {
    "": after_review(polygons.PRODUCT),
    **{name: after_review(form.product) for name, form in FORMATS.items()},
    "pdf": pdf.PRODUCT,
}
"""What a review writes beside them: the GeoPackage, further formats by their name, and the report for printing."""

REVIEWED_NAMES = tuple(product.name for product in REVIEWED.values())
STANDARD_NAMES = tuple(product.name for product in STANDARD)
PRODUCT_NAMES = tuple(product.name for product in PRODUCTS)


def made_by(formats: Collection[str], *, stac_item: bool) -> list[Product]:
    """Products of a run with these further formats, in the order of `PRODUCTS`."""
    made = {*STANDARD_NAMES, *(FORMATS[form].product.name for form in formats)}
    return [product for product in PRODUCTS if product.name in made or (stac_item and product is stac.PRODUCT)]


def formats_of(grid: Grid, formats: Collection[str]) -> tuple[list[str], list[str]]:
    """Of the formats asked for those that a scene's polygons can take; a sentence about each of the others."""
    unplaced = [form for form in formats if FORMATS[form].on_earth] if footprint(grid) is None else []
    sentences = [
        f"{FORMATS[form].product.name} was not written: the images have no CRS, or one without a location on Earth."
        for form in unplaced
    ]
    return [form for form in formats if form not in unplaced], sentences
