"""The probability and change maps as Cloud-Optimized GeoTIFF, written from the top in bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from schanger_edge.grid import Grid, Window
from schanger_edge.products.cog import to_cog
from schanger_edge.products.staging import writing

SCALE = 254
"""Probability 1.0 in probability.tif; 255 is left for nodata."""
NODATA = 255
BLOCK = 256
"""Side of the files' blocks: half the memory of COG's usual 512 for all who go row of blocks by row of blocks."""
_COLORS = {0: (235, 235, 235, 40), 1: (230, 0, 30, 255), NODATA: (0, 0, 0, 0)}

_LEAST_CACHE = 32 << 20

_LEVEL = 1
"""Of deflate: on network output, level 6 costs three times the CPU for 4 % of the bytes (23 and 6 ns per pixel)."""
_STORAGE = {"compress": "deflate", "zlevel": _LEVEL, "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}


@dataclasses.dataclass(frozen=True)
class RasterCounts:
    """Pixels of a finished scene: with data in both dates, of these changed, and in all."""

    valid: int
    changed: int
    total: int


class RasterSink:
    """Takes tiles of probability, row of tiles by row of tiles from the top, and writes one or both maps.

    probability.tif is uint8, `round(p * 254)`; change.tif is uint8, 1 where the float32 probability is greater than
    the threshold (as float32). Both are 255 where the pixel is not valid. Rows of blocks go to a hidden file beside
    each map, which `finish` turns into the map; the sink holds the rows that are not yet whole blocks, in bytes.

    Args:
        grid: where the pixels lie; sets size, CRS and transform of the files.
        threshold: a pixel is change where its probability is greater.
        probability: file to write, or None.
        change: file to write, or None.
        threads: threads that compress; 1 costs the least CPU time.

    Raises:
        ProductError: a file could not be written; from any method.
    """

    def __init__(
        self, grid: Grid, *, threshold: float, probability: Path | None, change: Path | None, threads: int = 1
    ) -> None:
        self._grid = grid
        self._threshold = np.float32(threshold)
        self._probability = None if probability is None else _Map(probability, grid, threads)
        self._change = None if change is None else _Map(change, grid, threads)
        self._maps = [output for output in (self._probability, self._change) if output]
        self._row, self._taken, self._valid, self._changed = 0, 0, 0, 0

    def __enter__(self) -> RasterSink:
        try:
            if self._probability:
                # Predictor 2 makes network output 17 % smaller, and faster to write.
                self._probability.open(predictor=2)
                self._probability.describe("probability of change", scale=1 / SCALE)
            if self._change:
                self._change.open(photometric="palette")
                self._change.describe("change", colors=_COLORS)
        except BaseException:
            self._abandon()
            raise
        return self

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        """Take pixels that were not taken before, of rows that are not done.

        Args:
            window: where they lie.
            probability: (h, w) float32 in 0-1; any value, even NaN, where not valid; None where nothing is valid.
            valid: (h, w) bool.
        """
        if window.row_off < self._row or window.intersection(self._grid.window) != window:
            raise RuntimeError(f"{window} came where row {self._row} of {self._grid.height} was due.")
        if valid.shape != (window.height, window.width) or valid.dtype != np.bool_:
            raise ValueError(f"validity of {window} is {valid.dtype} {valid.shape}.")
        self._taken += valid.size
        if probability is None:
            for output in self._maps:
                output.view(window)[...] = NODATA
            return
        if probability.shape != valid.shape or probability.dtype != np.float32:
            raise ValueError(f"probability of {window} is {probability.dtype} {probability.shape}.")
        nodata = valid.view(np.uint8) - np.uint8(1)  # 255 where not valid, else 0
        is_change = np.greater(probability, self._threshold)
        is_change &= valid
        self._valid += int(np.count_nonzero(valid))
        self._changed += int(np.count_nonzero(is_change))
        if self._probability:
            scaled = cv2.convertScaleAbs(probability, alpha=SCALE)
            np.bitwise_or(scaled, nodata, out=self._probability.view(window))
        if self._change:
            np.bitwise_or(is_change.view(np.uint8), nodata, out=self._change.view(window))

    def rows_done(self, row_end: int) -> None:
        """All pixels above scene row `row_end` have been taken: whole rows of blocks go to the files."""
        if self._taken != (row_end - self._row) * self._grid.width:
            raise RuntimeError(f"{self._taken} pixels came for rows {self._row} to {row_end}.")
        self._row, self._taken = row_end, 0
        for output in self._maps:
            output.flush(row_end)

    def finish(self) -> RasterCounts:
        """Build overviews, make the files Cloud-Optimized GeoTIFFs and check that they are whole."""
        if self._row != self._grid.height:
            raise RuntimeError(f"{self._row} of {self._grid.height} rows came before the end.")
        if self._probability:
            self._probability.finish(Resampling.average)
        if self._change:
            # Nearest: the mode costs 9 ns per pixel more, and also loses small changes.
            self._change.finish(Resampling.nearest)
        return RasterCounts(self._valid, self._changed, self._grid.width * self._grid.height)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._abandon()

    def _abandon(self) -> None:
        for output in self._maps:
            output.abandon()


class _Map:
    """One single-band uint8 GeoTIFF, written in whole rows of blocks to a file of its own, at last to its name."""

    def __init__(self, path: Path, grid: Grid, threads: int) -> None:
        self.path = path
        self._rows_path = path.with_name(f".{path.name}.rows.tif")
        self._grid = grid
        self._threads = threads
        self._dataset: Any = None
        self._top = 0  # scene row of the first row held; a multiple of BLOCK
        self._rows = np.empty((0, grid.width), np.uint8)

    def open(self, **options: Any) -> None:
        grid = self._grid
        place = {"crs": grid.crs, "transform": grid.transform} if grid.georeferenced else {}
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": grid.width, "height": grid.height}
        profile |= {"nodata": NODATA, "bigtiff": "IF_SAFER", "num_threads": self._threads}
        with writing(self.path), quiet():
            self._rows_path.unlink(missing_ok=True)  # GDAL would first read it, and fail where it is torn
            self._dataset = rasterio.open(self._rows_path, "w", **profile, **_STORAGE, **place, **options)
        self._predictor = options.get("predictor") == 2

    def describe(
        self, text: str, *, scale: float | None = None, colors: dict[int, tuple[int, int, int, int]] | None = None
    ) -> None:
        """Metadata comes before the pixels, so that the directory is not written twice."""
        with writing(self.path):
            self._dataset.set_band_description(1, text)
            if scale is not None:
                self._dataset.scales, self._dataset.offsets = (scale,), (0.0,)
            if colors is not None:
                self._dataset.write_colormap(1, colors)

    def view(self, window: Window) -> NDArray[np.uint8]:
        """Where to put a window's pixels until they are written."""
        need = window.row_end - self._top
        if need > len(self._rows):
            rows = np.empty((need, self._grid.width), np.uint8)
            rows[: len(self._rows)] = self._rows
            self._rows = rows
        first = window.row_off - self._top
        return self._rows[first : first + window.height, window.col_off : window.col_end]

    def flush(self, row_end: int) -> None:
        """Write the whole rows of blocks above scene row `row_end`; at the scene's end, the rest too."""
        end = row_end if row_end == self._grid.height else row_end // BLOCK * BLOCK
        # The environment keeps GDAL's own messages off the terminal, also in a thread that has none.
        with writing(self.path), rasterio.Env():
            for row in range(self._top, end, BLOCK):
                height, first = min(BLOCK, end - row), row - self._top
                window = RasterWindow(0, row, self._grid.width, height)
                self._dataset.write(self._rows[first : first + height], 1, window=window)
        written, held = end - self._top, row_end - self._top
        self._rows[: held - written] = self._rows[written:held]
        self._top = end

    def finish(self, resampling: Resampling) -> None:
        with writing(self.path), quiet():
            self._dataset.close()
            factors = _overview_factors(self._grid)
            options = {"GDAL_NUM_THREADS": self._threads, "ZLEVEL_OVERVIEW": _LEVEL}
            with small_cache(self._grid.width, **options):
                if factors:
                    with rasterio.open(self._rows_path, "r+") as dataset:
                        dataset.build_overviews(factors, resampling)
                _verify(self._rows_path, self._grid, len(factors), decode=False)  # copying decodes it
                how = {"block": BLOCK, "level": _LEVEL, "threads": self._threads}
                to_cog(self._rows_path, self.path, predictor=self._predictor, **how)
                _verify(self.path, self._grid, len(factors))
            self._rows_path.unlink()

    def abandon(self) -> None:
        if self._dataset is not None:
            with contextlib.suppress(Exception):  # the error that brought us here is the one to tell
                self._dataset.close()
            with contextlib.suppress(OSError):
                self._rows_path.unlink(missing_ok=True)


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
    height = dataset.block_shapes[0][0]
    for row in range(0, dataset.height, height):
        dataset.read(1, window=RasterWindow(0, row, dataset.width, min(height, dataset.height - row)))


def _torn() -> OSError:
    return OSError("parts of the file are missing")
