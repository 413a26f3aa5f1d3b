"""The probability and change maps: gathered in sections that are durable one by one, joined at the end to COGs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from schanger_edge.files import reading, writing
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.model.decision import is_change
from schanger_edge.products import CHANGE, PROBABILITY
from schanger_edge.products.cog import to_cog
from schanger_edge.products.journal import Journal
from schanger_edge.products.mosaic import Band, mosaic
from schanger_edge.products.product import Product

SCALE = 254
"""Probability 1.0 in probability.tif; 255 is left for nodata."""
NODATA = 255
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
BLOCK = 256
"""Side of the files' blocks: half the memory of COG's usual 512 for all who go row of blocks by row of blocks."""
_MAPS = {
    "probability": Band("probability of change", NODATA, scale=1 / SCALE),
    "change": Band("change", NODATA),
}
_OVERVIEWS = {
    "probability": Resampling.average,
    "change": Resampling.nearest,  # the mode costs 9 ns per pixel more, and also loses small changes
}
_PREDICTORS = {"probability": 2, "change": 1}
"""Predictor 2 makes network output 17 % smaller, and faster to write."""
_COUNTS = "counts.json"
_LEAST_CACHE = 32 << 20

_LEVEL = 1
"""Of deflate: on network output, level 6 costs three times the CPU for 4 % of the bytes (23 and 6 ns per pixel)."""
STORAGE = {"compress": "deflate", "zlevel": _LEVEL, "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}


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
        self._pixels = {name: np.empty((section.height, section.width), np.uint8) for name in _MAPS}

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
                    pool.submit(_write_section, folder / f"{name}.tif", pixels, _PREDICTORS[name])
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


def describe_map(parts: Mapping[Window, Path], grid: Grid, name: str, target: Path) -> None:
    """A .vrt of the same pixels, which leads to the files."""
    target.write_text(mosaic(parts, grid, _MAPS[name], BLOCK), encoding="utf-8")


def join_map(parts: Mapping[Window, Path], grid: Grid, name: str, target: Path) -> None:
    """One Cloud-Optimized GeoTIFF of sections and their files; overviews wait in a file of their own."""
    whole = target.with_suffix(".vrt")
    beside = whole.with_name(f"{whole.name}.ovr")
    factors = _overview_factors(grid)
    with writing(target), small_cache(grid.width, **_overview_storage(_PREDICTORS[name])):
        describe_map(parts, grid, name, whole)
        if factors:
            with rasterio.open(whole, "r+") as dataset:
                dataset.build_overviews(factors, _OVERVIEWS[name])
            _verify(beside, grid.scaled(2), len(factors) - 1, decode=False)  # copying decodes it
        to_cog(whole, target, block=BLOCK, level=_LEVEL, predictor=_PREDICTORS[name] == 2)
        _verify(target, grid, len(factors))
        for path in (whole, beside):
            path.unlink(missing_ok=True)


def _overview_storage(predictor: int) -> dict[str, Any]:
    """GDAL's settings for overviews in a file of their own."""
    return {
        "COMPRESS_OVERVIEW": "DEFLATE",
        "ZLEVEL_OVERVIEW": _LEVEL,
        "PREDICTOR_OVERVIEW": predictor,
        "BIGTIFF_OVERVIEW": "IF_SAFER",
        "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK,
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without rasterio's warning about plain images, which are allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def small_cache(width: int, **options: Any) -> rasterio.Env:
    """GDAL's environment with a cache of a few rows of blocks; without, GDAL takes 5 % of the machine's memory."""
    return rasterio.Env(GDAL_CACHEMAX=max(_LEAST_CACHE, 4 * BLOCK * width), **options)


def _overview_factors(grid: Grid) -> list[int]:
    """2, 4, ... until the longer side fits in one block."""
    factors, factor = [], 2
    while max(grid.width, grid.height) * 2 > BLOCK * factor:
        factors.append(factor)
        factor *= 2
    return factors


def _verify(path: Path, grid: Grid, overviews: int, *, decode: bool = True) -> None:
    """Check that every block is there and can be decoded: on a full disk GDAL may close a torn file without a word."""
    size = path.stat().st_size
    with rasterio.open(path) as dataset:
        if dataset.shape != (grid.height, grid.width) or len(dataset.overviews(1)) != overviews:
            raise _torn()
        _check_blocks(dataset, None, dataset, size)
        if decode:
            _decode(dataset)
        for level in range(overviews):
            with rasterio.open(path, overview_level=level) as overview:
                _check_blocks(dataset, level, overview, size)
                if decode:
                    _decode(overview)


def _check_blocks(dataset: Any, level: int | None, shape_of: Any, size: int) -> None:
    block_height, block_width = shape_of.block_shapes[0]
    for row in range(-(-shape_of.height // block_height)):
        for col in range(-(-shape_of.width // block_width)):
            offset, length = (
                int(dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1, ovr=level) or 0)
                for what in ("OFFSET", "SIZE")
            )
            if not 0 < length <= size - offset or offset <= 0:
                raise _torn()


def _decode(dataset: Any) -> None:
    for window in Window(0, 0, dataset.width, dataset.height).rows(dataset.block_shapes[0][0]):
        dataset.read(1, window=window.rasterio)


def _torn() -> OSError:
    return OSError("parts of the file are missing")
