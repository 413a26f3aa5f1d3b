"""A point inside each change: a table for spreadsheets, waypoints for handheld receivers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from schanger_edge._version import __version__
from schanger_edge.files import writing
from schanger_edge.geo.crs import lonlat
from schanger_edge.geo.grid import Grid
from schanger_edge.products.exchange import errors, field_names, rows
from schanger_edge.products.product import PolygonFormat, Product

_PLACE = ("longitude", "latitude", "x", "y")


def write_csv(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write a table: the polygons' fields, a point inside each in WGS 84, and in the scene's CRS as `x` and `y`.

    Cells stay empty where they are not known. For the rest see `vector_files.write_flatgeobuf`.
    """
    with writing(target, *errors()), target.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*field_names(package, layer), *_PLACE])
        for change in _points(package, layer, grid):
            table.writerow("" if isinstance(value, float) and np.isnan(value) else value for value in change)


def write_gpx(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write waypoints, named by their id, the largest first; for the rest see `vector_files.write_flatgeobuf`.

    Source: https://www.topografix.com/GPX/1/1/
    """
    with writing(target, *errors()), target.open("w", encoding="utf-8", newline="\n") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(f'<gpx version="1.1" creator="schanger-edge {escape(__version__)}" ')
        file.write('xmlns="http://www.topografix.com/GPX/1/1">\n')
        names = [*field_names(package, layer), *_PLACE]
        for values in _points(package, layer, grid):
            one = dict(zip(names, values, strict=True))
            about = f"{one['area_m2']:.1f} m2, probability {one['probability_mean']:.2f}"
            about = ", ".join(filter(None, (about, one.get("decision"), one.get("note"))))
            file.write(f'<wpt lat="{one["latitude"]}" lon="{one["longitude"]}"><name>{one["id"]}</name>')
            file.write(f"<desc>{escape(about)}</desc></wpt>\n")
        file.write("</gpx>\n")


def _points(package: Path, layer: str, grid: Grid) -> Iterator[tuple[Any, ...]]:
    """For each change the values of the layer's fields and of `_PLACE`; NaN where one is not known."""
    import shapely

    for wkb, columns in rows(package, layer):
        x, y = shapely.get_coordinates(shapely.point_on_surface(shapely.from_wkb(wkb))).T
        place = lonlat(grid.crs, x, y) or (np.full_like(x, np.nan),) * 2
        degrees = [np.round(values, 7) for values in place]  # a centimetre
        yield from zip(*(column.tolist() for column in (*columns.values(), *degrees, x, y)), strict=True)


CSV = PolygonFormat(
    Product("changes.csv", "Changed areas as a table, with a point inside each", "points_csv", "text/csv"), write_csv
)
GPX = PolygonFormat(
    Product("changes.gpx", "A waypoint inside each changed area", "points_gpx", "application/gpx+xml"),
    write_gpx,
    on_earth=True,
)
