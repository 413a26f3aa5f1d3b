"""The report of a run: one HTML file with pictures, outlines and a list, which needs no network."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.files import writing
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products import REPORT
from schanger_edge.products.product import Product
from schanger_edge.products.report.facts import area_text, cover_facts, fact_groups, figures, shortened
from schanger_edge.products.report.pictures import (
    color_ramp,
    colored,
    data_urls,
    photo,
    probability_details,
    probability_overview,
)
from schanger_edge.products.report.places import Place, north_of, read_places
from schanger_edge.products.thumbnail import SIDE, Thumbnail

PRODUCT = Product(REPORT, "Both dates and the changes, for viewing in a browser", "report", "text/html", "overview")
LIMIT = 10_000_000
"""Bytes of the file; the parts below add up to less, with about 1 MB for text and outlines."""
_OVERVIEW = {"before": 2_000_000, "after": 2_000_000, "probability": 650_000}
_DETAILS = {"before": 1_750_000, "after": 1_750_000, "probability": 650_000}
"""Of all details together; what the overview spares is theirs, too."""
DETAILS = 80
"""Windows shown in more detail than the overview has."""
DETAIL_SIDE = 384
_WIDEST, _NARROWEST = 1024, 320  # scene pixels along a detail's side
_CONTEXT = 1.8  # side of a detail for each pixel of the change in it
_WARNINGS = 20

Image = NDArray[np.uint8]


class Report:
    """Gathers what the page shows, then writes it.

    Its photos are the thumbnail's, and those of `windows`: read these and hand them to `add`, in this order. Memory
    holds encoded pictures, whatever the size of the scene.

    Args:
        grid: of the scene.
        thumbnail: the whole pair.
        polygons: changes.gpkg of the run.
        probability: probability.tif of the run.

    Attributes:
        windows: scene windows of the places that the overview shows too coarsely, from the top; empty for a small
            scene.

    Raises:
        ProductError: a product could not be read.
    """

    def __init__(self, grid: Grid, thumbnail: Thumbnail, polygons: Path, probability: Path) -> None:
        self._grid = grid
        self._places = read_places(polygons, grid)
        self.windows = detail_windows(self._places, grid, thumbnail.step)
        self._details: list[dict[str, Any]] = []
        self._probability = probability_details(probability, grid, self.windows, DETAIL_SIDE)
        self._step, self._compared = thumbnail.step, _compared(thumbnail, grid)
        shape = thumbnail.width, thumbnail.height
        pictures = {
            "before": photo(thumbnail.before, thumbnail.valid, SIDE),
            "after": photo(thumbnail.after, thumbnail.valid, SIDE),
            "probability": probability_overview(probability, *shape),
        }
        urls = data_urls(pictures, _OVERVIEW, fine=True)
        self._room = {name: _DETAILS[name] + _OVERVIEW[name] - len(urls[name]) for name in pictures}
        # The last pixels of the thumbnail may reach beyond the scene.
        whole = [side * thumbnail.step for side in shape]
        sizes = {"before": whole, "after": whole, "probability": [grid.width, grid.height]}
        self._overview = {name: {"size": sizes[name], "url": urls[name]} for name in pictures}

    @property
    def columns(self) -> int:
        """Columns of the widest window."""
        return max((window.width for window in self.windows), default=1)

    def add(self, window: Window, before: Image, after: Image, valid: NDArray[np.bool_]) -> None:
        """Take the pixels of one of `windows`: uint8 RGB (3, h, w) of both dates, and (h, w)."""
        pictures = {
            "before": photo(before, valid, DETAIL_SIDE),
            "after": photo(after, valid, DETAIL_SIDE),
            "probability": colored(self._probability[len(self._details)]),
        }
        left = len(self.windows) - len(self._details)
        most = {name: room // left for name, room in self._room.items()}  # what one picture spares the next may use
        urls = data_urls(pictures, most, fine=False)
        self._room = {name: room - len(urls[name]) for name, room in self._room.items()}
        self._details.append({"box": _box(window), "pictures": urls})

    def write(self, path: Path, summary: Mapping[str, Any]) -> None:
        """Write the page.

        Args:
            path: the .html file.
            summary: the content of summary.json.

        Raises:
            ProductError: the file could not be written.
        """
        warnings = [shortened(text) for text in summary["warnings"]]
        page = _template().render(
            names=[shortened(Path(summary["inputs"][date]["path"]).name) for date in ("before", "after")],
            figures=figures(summary),
            groups=fact_groups(summary),
            warnings=warnings[:_WARNINGS],
            more_warnings=max(0, len(warnings) - _WARNINGS),
            total=summary["polygons"],
            shown=len(self._places),
            placed=any(place.position for place in self._places),
            cover=cover_facts(summary, self._grid.lonlat(self._grid.width / 2, self._grid.height / 2)),
            threshold=summary["options"]["threshold"],
            ramp=color_ramp(9),
            version=summary["schanger_edge"],
            data=self._data(summary),
        )
        with writing(path):
            path.write_bytes(page.encode("utf-8", "replace"))  # names of files may hold bytes that are no text

    def _data(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """What the script works on."""
        return {
            "width": self._grid.width,
            "height": self._grid.height,
            "step": self._step,
            "metres": summary["grid"]["gsd"],
            "run": summary["changes_sha256"],
            "threshold": summary["options"]["threshold"],
            "compared": _box(self._compared),
            "measured": "pixels" if self._grid.crs is None else "area_m2",
            "north": north_of(self._grid),
            "overview": self._overview,
            "details": self._details,
            "places": [_place(place) for place in self._places],
        }


def detail_windows(places: list[Place], grid: Grid, step: int) -> list[Window]:
    """Where to look closer than the overview does, from the top: at the largest and at the surest changes in turn.

    Args:
        places: largest first.
        grid: of the scene; windows lie inside it.
        step: scene pixels per pixel of the overview.
    """
    if step == 1:
        return []
    widest = min(_WIDEST, DETAIL_SIDE * step * 2 // 3)  # wider ones would show no more than the overview
    chosen: list[Window] = []
    for place in _in_turn(places):
        if len(chosen) == DETAILS:
            break
        side = min(max(round(_CONTEXT * max(place.box.width, place.box.height)), _NARROWEST), widest)
        core = _around(place, min(side, max(place.box.width, place.box.height)), grid)
        if not any(window.intersection(core) == core for window in chosen):
            chosen.append(_around(place, side, grid))
    return sorted(chosen, key=lambda window: (window.row_off, window.col_off))


def _in_turn(places: list[Place]) -> Iterator[Place]:
    """By area and by probability alternately; a place may come twice."""
    surest = sorted(places, key=lambda place: (-place.mean, place.id))
    return chain.from_iterable(zip(places, surest, strict=True))


def _around(place: Place, side: int, grid: Grid) -> Window:
    """A square about the middle of a place, shifted and cut to the scene; about a point of it if it is larger."""
    box, width, height = place.box, min(side, grid.width), min(side, grid.height)
    large = max(box.width, box.height) > side
    col, row = place.inside if large else (box.col_off + box.width / 2, box.row_off + box.height / 2)
    col_off = min(max(round(col - width / 2), 0), grid.width - width)
    row_off = min(max(round(row - height / 2), 0), grid.height - height)
    return Window(col_off, row_off, width, height)


def _compared(thumbnail: Thumbnail, grid: Grid) -> Window:
    """What holds all pixels with data in both dates; the whole scene where there is none."""
    sides = []
    for axis, size in ((0, grid.width), (1, grid.height)):
        there = np.flatnonzero(thumbnail.valid.any(axis))
        start, end = (int(there[0]), int(there[-1]) + 1) if there.size else (0, size)
        sides.append((start * thumbnail.step, min(end * thumbnail.step, size)))
    (left, right), (top, bottom) = sides
    return Window(left, top, right - left, bottom - top)


def _box(window: Window) -> list[int]:
    return [window.col_off, window.row_off, window.col_end, window.row_end]


def _place(place: Place) -> dict[str, Any]:
    """Rings as one list of numbers each: the first point, then the steps from point to point."""
    rings = [np.diff(ring, axis=0, prepend=0).ravel().tolist() for ring in place.rings]
    return {
        "id": place.id,
        "area": area_text(place.area, place.pixels),
        "size": place.pixels if place.area is None else round(place.area, 1),
        "mean": round(place.mean, 3),
        "peak": round(place.peak, 3),
        "box": _box(place.box),
        "inside": [int(value) for value in place.inside],  # the pixel
        "at": [round(float(value), 2) for value in place.inside],  # the point that `position` and `steps` tell of
        "position": None if place.position is None else [round(degrees, 7) for degrees in place.position],
        "steps": None if place.steps is None else [float(f"{degrees:.5g}") for degrees in place.steps],
        "rings": rings,
    }


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("schanger_edge.products.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.globals["text"] = lambda name: Markup(loader.get_source(environment, name)[0])  # parses no script
    return environment.get_template("report.html.j2")
