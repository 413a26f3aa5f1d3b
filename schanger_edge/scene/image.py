"""One date: a raster opened lazily and read on any grid as uint8 RGB with validity."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from schanger_edge.errors import SceneError
from schanger_edge.grid import Grid, Window
from schanger_edge.scene.opening import GDAL_ERRORS, damaged, date_of, dtype_of, grid_of, open_dataset, pick_bands
from schanger_edge.scene.radiometry import Stretch
from schanger_edge.scene.validity import Nodata, ValidityRule
from schanger_edge.scene.warped import WarpedImage

ALIGNED = 0.01  # pixels: grids that differ by less at every corner are the same
SAMPLE_SIDE = 1024  # pixels along the longer side of the decimated read for statistics
LARGE = 64_000_000  # pixels; above it, and without overviews, statistics come from a lattice of windows
LATTICE, LATTICE_SIDE = 12, 64  # windows along each axis, and their side in pixels
SEARCH_SIDE, ENOUGH = 512, 20_000  # where the lattice meets no data, windows are searched for so many valid pixels
SAMPLE_CACHE = 64 << 20  # bytes of GDAL's block cache while statistics are taken


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """What a summary says of one date: path, size, CRS, type, bands used, nodata, how it was read, when taken."""

    path: str
    driver: str
    width: int
    height: int
    crs: str | None
    gsd: float | None
    dtype: str
    bands: tuple[int, ...]
    validity: ValidityRule
    resampling: str
    stretch: Stretch | None
    date: str | None


class SceneImage:
    """A raster of one date. Not for use by two threads at a time.

    Args:
        path: anything GDAL opens.
        bands: three band numbers (from 1) for red, green, blue; None picks them.
        nodata: see `validity.Nodata`.
        threads: that decode blocks of the file at the same time, and resample.
    """

    def __init__(
        self, path: str, bands: Sequence[int] | None = None, nodata: Nodata = "auto", threads: int = 1
    ) -> None:
        self.path, self._threads = path, threads
        with rasterio.Env(GDAL_NUM_THREADS=threads):  # GDAL asks when a file is opened
            self._dataset = open_dataset(path)
        try:
            self.grid = grid_of(self._dataset, path)
            self.bands = pick_bands(self._dataset, bands, path)
            self.dtype = dtype_of(self._dataset, self.bands)
            self.rule = ValidityRule.of(self._dataset, self.bands, nodata)
        except BaseException:
            self._dataset.close()
            raise
        self._warped: WarpedImage | None = None
        self._shift = (0, 0)
        self._samples: NDArray[Any] | None = None
        self.stretch: Stretch | None = None

    def place_on(self, grid: Grid) -> None:
        """Read from now on in windows of this grid: bit-exact where pixels coincide, else resampled lazily."""
        if self._warped is not None:
            self._warped.close()
            self._warped = None
        shift = whole_pixel_shift(self.grid, grid)
        if shift is not None:
            self._shift = shift
            return
        try:
            self._warped = WarpedImage(self._dataset, self.grid, self.bands, self.rule, grid, self._threads)
        except GDAL_ERRORS as error:
            raise SceneError(f"{self.path} cannot be brought onto the other image's grid: {error}") from error

    @property
    def resampled(self) -> bool:
        """False where pixels are read as they are."""
        return self._warped is not None

    def take_stretch(self) -> None:
        """Choose the scene's stretch, for every type but uint8."""
        if self.dtype != np.uint8:
            samples = self.samples()
            if not samples.shape[1]:
                raise SceneError(f"{self.path} has no valid pixel: check its nodata value or pass --nodata none.")
            self.stretch = Stretch.from_samples(samples)

    def samples(self) -> NDArray[Any]:
        """Raw values of valid pixels all over the scene, (3, n), n about a million at most; 0 where there are none."""
        if self._samples is None:
            with rasterio.Env(GDAL_CACHEMAX=SAMPLE_CACHE):
                self._samples = self._take_samples()
        return self._samples

    def _take_samples(self) -> NDArray[Any]:
        whole = self.grid.window
        if whole.width * whole.height <= LARGE or self._dataset.overviews(self.bands[0]):
            factor = max(1, math.ceil(max(whole.width, whole.height) / SAMPLE_SIDE))
            return self._valid_values(whole, (math.ceil(whole.height / factor), math.ceil(whole.width / factor)))
        parts = [self._valid_values(window) for window in _lattice(whole)]
        found = sum(part.shape[1] for part in parts)
        if not found:
            for window in _cover(whole):
                parts.append(self._valid_values(window))
                found += parts[-1].shape[1]
                if found >= ENOUGH:
                    break
        return np.concatenate(parts, 1)

    def _valid_values(self, window: Window, shape: tuple[int, int] | None = None) -> NDArray[Any]:
        data, valid = self._read_native(window, shape)
        values: NDArray[Any] = data.reshape(3, -1) if valid is None else data[:, valid]
        return values

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """A window of the target grid: uint8 RGB (3, h, w) and validity (h, w). Outside the image is not valid."""
        if self._warped is not None:
            try:
                raw, valid = self._warped.read(window)
            except GDAL_ERRORS as error:
                raise damaged(self.path, error) from error
        else:
            raw, valid = self._read_shifted(window)
        if self.stretch is not None:
            return self.stretch.apply(raw), valid
        return raw, valid

    def info(self) -> ImageInfo:
        """For the summary."""
        crs = self.grid.crs.to_string() if self.grid.crs else None
        return ImageInfo(
            self.path, self._dataset.driver, self.grid.width, self.grid.height, crs, self.grid.gsd, str(self.dtype),
            self.bands, self.rule, "bilinear" if self.resampled else "none", self.stretch,
            date_of(self._dataset),
        )  # fmt: skip

    def files(self) -> dict[str, tuple[int, int]]:
        """Size in bytes and time of change (ns) of the local files this image is read from.

        Left out are .aux.xml, which viewers leave behind; what such a file says of the image is in `info`.
        """
        stats = {}
        for name in self._dataset.files:
            if not name.endswith(".aux.xml"):
                with contextlib.suppress(OSError):  # no file of this machine
                    stat = os.stat(name)
                    stats[os.path.abspath(name)] = (stat.st_size, stat.st_mtime_ns)
        return stats

    @property
    def bytes_per_pixel(self) -> int:
        """Size of one decoded pixel of the file, all bands: GDAL's cache may hold them all."""
        return int(self._dataset.count * self.dtype.itemsize)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of one block of the file."""
        height, width = self._dataset.block_shapes[0]
        return int(height), int(width)

    def close(self) -> None:
        """Close the file."""
        if self._warped is not None:
            self._warped.close()
        self._dataset.close()

    def _read_shifted(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        col, row = self._shift
        inside = Window(window.col_off + col, window.row_off + row, window.width, window.height)
        part = inside.intersection(self.grid.window)
        if part == inside:
            data, valid = self._read_native(inside)
            return data, np.ones(data.shape[1:], np.bool_) if valid is None else valid
        data = np.zeros((3, window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), np.bool_)
        if part is not None:
            rows, cols = part.slices_in(inside)
            data[:, rows, cols], part_valid = self._read_native(part)
            valid[rows, cols] = True if part_valid is None else part_valid
        return data, valid

    def _read_native(
        self, window: Window, shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Raw (3, h, w) and validity (h, w), None where all is valid; `shape` decimates."""
        view = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        valid = None
        try:
            data = self._dataset.read(self.bands, window=view, out_shape=None if shape is None else (3, *shape))
            if self.rule.alpha:
                valid = self._dataset.read(self.rule.alpha, window=view, out_shape=shape) > 0
            elif self.rule.mask:
                valid = self._dataset.read_masks(self.bands[0], window=view, out_shape=shape) > 0
        except GDAL_ERRORS as error:
            raise damaged(self.path, error) from error
        if self.rule.by_values:
            by_values = self.rule.of_values(data)
            valid = by_values if valid is None else valid & by_values
        return data, valid


def whole_pixel_shift(source: Grid, target: Grid) -> tuple[int, int] | None:
    """(columns, rows) to add to a pixel of `target` to get the same pixel of `source`; None where grids differ."""
    if source.crs != target.crs:
        return None
    # target pixel -> ground -> source pixel: a pure shift by whole pixels, judged at the target's corners
    chain = ~source.transform @ target.transform
    col, row = round(chain.c), round(chain.f)
    for corner in ((0, 0), (target.width, 0), (0, target.height), (target.width, target.height)):
        x, y = chain @ corner
        if abs(x - corner[0] - col) > ALIGNED or abs(y - corner[1] - row) > ALIGNED:
            return None
    return col, row


def _lattice(whole: Window) -> Iterator[Window]:
    side_x, side_y = min(LATTICE_SIDE, whole.width), min(LATTICE_SIDE, whole.height)
    for row in np.linspace(0, whole.height - side_y, LATTICE).astype(int):
        for col in np.linspace(0, whole.width - side_x, LATTICE).astype(int):
            yield Window(int(col), int(row), side_x, side_y)


def _cover(whole: Window) -> Iterator[Window]:
    for row in range(0, whole.height, SEARCH_SIDE):
        for col in range(0, whole.width, SEARCH_SIDE):
            yield Window(col, row, min(SEARCH_SIDE, whole.width - col), min(SEARCH_SIDE, whole.height - row))
