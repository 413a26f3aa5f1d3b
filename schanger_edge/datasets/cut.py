"""Cuts one labelled pair into tiles: images, label and the area that was looked at, read on the pair's grid."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.labels import Label, open_label
from schanger_edge.datasets.options import CutOptions
from schanger_edge.datasets.pair_list import PairRow
from schanger_edge.errors import DatasetError, SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene import Pair, open_pair
from schanger_edge.scene.vectors import Polygons, is_vector
from schanger_edge.tiling.plan import axis_spans, fill_invalid

Reason = Literal["nodata", "outside the area"]


@dataclasses.dataclass(frozen=True)
class CutTile:
    """One tile: uint8 RGB (3, T, T) of both dates, label (T, T), and the share of pixels that are valid.

    Pixels that are not valid have the mean colour of their date, and are labelled no change.
    """

    window: Window
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    label: NDArray[np.bool_]
    valid: float


@dataclasses.dataclass(frozen=True)
class LabelledScene:
    """A pair with its label and, where there is one, the area that was looked at; all on the pair's grid."""

    pair: Pair
    label: Label
    area: Polygons | None
    options: CutOptions

    @property
    def gsd(self) -> float:
        """Metres per pixel of the grid."""
        gsd = self.pair.grid.gsd
        assert gsd is not None
        return gsd

    def windows(self) -> list[Window]:
        """Tiles in rows from the top; the last of a row and of a column shift in, so that no border is lost."""
        grid, side = self.pair.grid, self.options.tile
        columns, rows = axis_spans(grid.width, side, 0), axis_spans(grid.height, side, 0)
        return [Window(col, row, side, side) for row, _, _, _ in rows for col, _, _, _ in columns]

    def cut(self) -> Iterator[CutTile | Reason]:
        """Each tile that fits, and the reason for each that does not."""
        colors = self._mean_colors() if self.options.min_valid < 1 else {}
        with self.pair.environment(self.pair.grid.width):
            for window in self.windows():
                if self.area is not None and not self.area.burn(window).all():
                    yield "outside the area"
                    continue
                pixels, (label, known) = self.pair.read(window), self.label.read(window)
                valid = pixels.valid & known
                share = float(valid.mean())
                if share < self.options.min_valid:
                    yield "nodata"
                    continue
                for date, color in colors.items():
                    fill_invalid(getattr(pixels, date), valid, color)
                yield CutTile(window, pixels.before, pixels.after, label & valid, share)

    def _mean_colors(self) -> dict[str, tuple[int, int, int]]:
        colors = {}
        for date, (mean, _) in self.pair.statistics().items():
            r, g, b = (round(255 * float(value)) for value in mean)
            colors[date] = (r, g, b)
        return colors


@contextlib.contextmanager
def open_labelled(table: Path, row: PairRow, options: CutOptions) -> Iterator[LabelledScene]:
    """Open all that a row of a table names.

    Raises:
        DatasetError: naming the line, for whatever is wrong with the input, also inside the context.
    """
    with contextlib.ExitStack() as stack:
        try:
            pair = stack.enter_context(
                open_pair(row.before, row.after, gsd=options.gsd, bands=options.bands, nodata=options.nodata)
            )
            _check_size(row, pair, options)
            label = stack.enter_context(open_label(row.label, pair.grid, row.layer))
            area = None if row.area is None else _area(row.area, pair)
            yield LabelledScene(pair, label, area, options)
        except (SceneError, DatasetError) as error:
            raise DatasetError(f"{table} line {row.line}: {error}") from error


def _check_size(row: PairRow, pair: Pair, options: CutOptions) -> None:
    grid = pair.grid
    if grid.gsd is None:
        raise SceneError(f"{row.before} has no CRS with a known location: tiles are assigned to splits by location.")
    if min(grid.width, grid.height) < options.tile:
        raise SceneError(
            f"{row.before} has {grid.width} x {grid.height} pixels, fewer than a tile of {options.tile}: use a "
            "smaller --tile or a larger image."
        )


def _area(path: str, pair: Pair) -> Polygons:
    if not is_vector(path):
        raise SceneError(f"{path} is not a vector file: draw the area that was looked at as polygons in a GPKG.")
    area = Polygons(path, pair.grid)
    if not area.meets:
        raise SceneError(
            f"{path} has no polygon within the images: draw the area that was looked at, or leave area empty."
        )
    return area


def source_of(row: PairRow, scene: LabelledScene) -> dict[str, Any]:
    """A pair's entry in dataset.json."""
    grid = scene.pair.grid
    assert grid.crs is not None
    return {
        **dataclasses.asdict(row),
        "crs": grid.crs.to_string(),
        "gsd": scene.gsd,
        "transform": list(grid.transform)[:6],
        "width": grid.width,
        "height": grid.height,
        "images": {date: dataclasses.asdict(info) for date, info in scene.pair.info().items()},
    }
