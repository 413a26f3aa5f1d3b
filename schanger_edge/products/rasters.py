"""The probability and change maps: gathered in sections that are durable one by one, and joined at the end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from schanger_edge.files import reading
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.model.decision import is_change
from schanger_edge.products import CHANGE, PROBABILITY
from schanger_edge.products.journal import Journal
from schanger_edge.products.maps import MAPS, NODATA, SCALE, STORAGE, join_map, quiet
from schanger_edge.products.product import Product

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_STORED = {"data_type": "uint8", "nodata": NODATA}
PROBABILITY_MAP = Product(
    PROBABILITY,
    "Probability of change",
    "probability",
    _COG,
    band={"name": "probability", **_STORED, "description": f"probability * {SCALE}"},
)
CHANGE_MAP = Product(CHANGE, "Change: 1, none: 0", "change", _COG, band={"name": "change", **_STORED})
_COUNTS = "counts.json"


@dataclasses.dataclass(frozen=True)
class RasterCounts:
    """Of a scene or a part of it: pixels with data in both dates, of these changed, in all; tiles run and skipped."""

    valid: int = 0
    changed: int = 0
    total: int = 0
    tiles_run: int = 0
    tiles_skipped: int = 0

    def __add__(self, other: RasterCounts) -> RasterCounts:
        return RasterCounts(
            *(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True))
        )


class RasterSink:
    """Takes tiles of probability, section by section from the top, and makes both maps of them.

    probability.tif is uint8, `round(p * 254)`; change.tif is uint8, 1 where the float32 probability is greater than
    the threshold (as float32). Both are 255 where the pixel is not valid. The sink holds one section, in bytes.

    Args:
        grid: where the pixels lie; sets size, CRS and transform of the files.
        threshold: a pixel is change where its probability is greater.
        journal: where sections are kept; those that an earlier run has finished need not come again.
        on_section: called with the folder of a section and its window before it counts as finished.

    Raises:
        ProductError: a file could not be written; from any method.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        threshold: float,
        journal: Journal,
        on_section: Callable[[Path, Window], None] | None = None,
    ) -> None:
        self._grid, self._threshold = grid, threshold
        self._journal, self._on_section = journal, on_section
        self._section: Window | None = None
        self._asked: list[Path] = []
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self._counts = RasterCounts()

    def begin(self, section: Window) -> None:
        """What follows lies in this window."""
        if self._section is not None or section.intersection(self._grid.window) != section:
            raise RuntimeError(f"{section} began in {self._section} of {self._grid.window}.")
        self._section, self._counts = section, RasterCounts()
        self._pixels = {name: np.empty((section.height, section.width), np.uint8) for name in MAPS}

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        """Take pixels of the section that were not taken before.

        Args:
            window: where they lie.
            probability: (h, w) float32 in 0-1; any value, even NaN, where not valid; None where nothing is valid.
            valid: (h, w) bool.
        """
        if self._section is None or window.intersection(self._section) != window:
            raise RuntimeError(f"{window} came in section {self._section}.")
        if valid.shape != (window.height, window.width) or valid.dtype != np.bool_:
            raise ValueError(f"validity of {window} is {valid.dtype} {valid.shape}.")
        if probability is None:
            self._counts += RasterCounts(total=valid.size, tiles_skipped=1)
            for pixels in self._pixels.values():
                pixels[window.slices_in(self._section)] = NODATA
            return
        if probability.shape != valid.shape or probability.dtype != np.float32:
            raise ValueError(f"probability of {window} is {probability.dtype} {probability.shape}.")
        nodata = valid.view(np.uint8) - np.uint8(1)  # 255 where not valid, else 0
        change = is_change(probability, self._threshold)
        change &= valid
        valid_count, changed = int(np.count_nonzero(valid)), int(np.count_nonzero(change))
        self._counts += RasterCounts(valid_count, changed, valid.size, tiles_run=1)
        scaled = cv2.convertScaleAbs(probability, alpha=SCALE)
        at = window.slices_in(self._section)
        np.bitwise_or(scaled, nodata, out=self._pixels["probability"][at])
        np.bitwise_or(change.view(np.uint8), nodata, out=self._pixels["change"][at])

    def edge(self, section: Window, name: str) -> NDArray[np.float32] | None:
        """An edge that a finished section left, see `end`; None where none of its tiles was run.

        It is dropped when the section that begins next has become durable: nothing else needs it.
        """
        folder = self._journal.path(section)
        if not _read_counts(folder).tiles_run:
            return None
        path = folder / f"{name}.npy"
        self._asked.append(path)
        with reading(path):
            return np.asarray(np.load(path), np.float32)

    def end(self, edges: Mapping[str, NDArray[np.float32]]) -> None:
        """All pixels of the section have been taken: it becomes durable, with the edges that its neighbours ask for."""
        section = self._section
        if section is None or self._counts.total != section.width * section.height:
            raise RuntimeError(f"{self._counts.total} pixels came for {section}.")
        with self._journal.adding(section) as folder:
            with quiet(), ThreadPoolExecutor(len(self._pixels)) as pool:
                writes = [
                    pool.submit(_write_section, folder / f"{name}.tif", pixels, MAPS[name].predictor)
                    for name, pixels in self._pixels.items()
                ]
            for written in writes:
                written.result()
            for name, edge in edges.items():
                np.save(folder / f"{name}.npy", edge)
            (folder / _COUNTS).write_text(json.dumps(dataclasses.asdict(self._counts)))
            if self._on_section:
                self._on_section(folder, section)
        self._section = None
        while self._asked:
            self._asked.pop().unlink()

    def finish(self, probability: Path, change: Path | None = None) -> RasterCounts:
        """Join all sections to the two maps, with overviews, and check that the files are whole.

        Without `change` that map is left to `write_polygons`, which takes out of it what is too small. One map after
        the other: both at once save a seventh of the time, and hold twice the rows of a wide scene.
        """
        counts = RasterCounts()
        for folder in self._journal.sections().values():
            counts += _read_counts(folder)
        if counts.total != self._grid.width * self._grid.height:
            raise RuntimeError(f"{counts.total} of {self._grid.width * self._grid.height} pixels came before the end.")
        for name, target in (("probability", probability), ("change", change)):
            if target is not None:
                with quiet():
                    join_map(self.parts(name), self._grid, name, target)
        return counts

    def parts(self, name: str) -> dict[Window, Path]:
        """The files that hold a map, `probability` or `change`, and where in the grid each lies."""
        return {window: folder / f"{name}.tif" for window, folder in self._journal.sections().items()}


def _read_counts(folder: Path) -> RasterCounts:
    return RasterCounts(**json.loads((folder / _COUNTS).read_text()))


def _write_section(path: Path, rows: NDArray[np.uint8], predictor: int) -> None:
    """Through memory: on a full disk GDAL may close a torn file without a word, Python does not."""
    height, width = rows.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": width, "height": height}
    with rasterio.Env(), MemoryFile() as memory:
        with memory.open(**profile, **STORAGE, predictor=predictor) as dataset:
            dataset.write(rows, 1)
        path.write_bytes(memory.getbuffer())
