"""One open raster as viewers show it: which of its values are read, and where it has data."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.bands import is_spectral, pick_bands
from schanger_edge.scene.cover import covered, missing_blocks
from schanger_edge.scene.opening import damaged, dtype_of, gdal_errors, grid_of, open_dataset, palette_band
from schanger_edge.scene.orientation import Orientation
from schanger_edge.scene.overviews import are_stale
from schanger_edge.scene.palette import expand, transparent_entries
from schanger_edge.scene.radiometry import Scaling, stored_black
from schanger_edge.scene.remote import public_name, reading
from schanger_edge.scene.valid_mask import ValidMask
from schanger_edge.scene.validity import Nodata, ValidityRule, differs_by_band


class StoredImage:
    """A raster whose stored values are read. Not for use by two threads at a time.

    Args:
        path: anything GDAL opens.
        bands: three band numbers (from 1) for red, green, blue; None picks them.
        nodata: see `validity.Nodata`.
        threads: that decode blocks of the file at the same time, and resample.
        valid_masks: files that mark where it is usable, see `ValidMask`; all must agree.
        formats: GDAL's drivers that may open it; none: all of them.

    Attributes:
        path: as given.
        name: the same without what gives access to a URL; sentences and summaries call the image so.
        grid: of the pixels as they are shown.
        bands: that are read, of red, green, blue.
        dtype: of their values.
        scaling: the file's scale and offset of each.
        rule: where they have data.
        warnings: what the file leaves in doubt, and what was made of it, in sentences.

    Raises:
        SceneError: the file cannot be a date of a pair; one sentence says why.
    """

    def __init__(
        self,
        path: str,
        bands: Sequence[int] | None = None,
        nodata: Nodata = "auto",
        threads: int = 1,
        valid_masks: Sequence[str] = (),
        formats: Sequence[str] = (),
    ) -> None:
        self.path, self.name, self._threads = path, public_name(path), threads
        self.warnings: list[str] = []
        self._auto = nodata == "auto"
        self._opened = contextlib.ExitStack()
        self._masks: list[ValidMask] = []
        with rasterio.Env(GDAL_NUM_THREADS=threads):  # GDAL asks when a file is opened
            self._file = self._dataset = open_dataset(path, formats)
        self._opened.callback(self._file.close)
        try:
            self._stored_grid = grid_of(self._file, self.name)
            self._turn = Orientation.of(self._file)
            self.grid = self._shown_grid()
            with reading(path), gdal_errors(self._damaged):
                self._choose(bands, nodata)
            for name in valid_masks:
                self._masks.append(ValidMask(name, self.grid))
                self._opened.callback(self._masks[-1].close)
        except BaseException:
            self.close()
            raise

    def _shown_grid(self) -> Grid:
        """The grid of the pixels as they are shown; that of the pixels as stored then lies turned on it."""
        stored = self._stored_grid
        if self._file.crs is not None and stored.crs is None:
            self.warnings.append(
                f"{self.name} has a CRS but no geotransform: it is read as a plain image, without place and metres."
            )
        if self._turn.upright:
            return stored
        place = self._turn.place(stored.height, stored.width)
        self._stored_grid = dataclasses.replace(stored, transform=place)
        self.warnings.append(f"{self.name} is stored turned or mirrored: it is read as viewers show it (EXIF).")
        rows, cols = self._turn.shape(stored.height, stored.width)
        return Grid(None, Affine.identity(), cols, rows)

    def _choose(self, bands: Sequence[int] | None, nodata: Nodata) -> None:
        """Choose which values are read, and by which rule pixels are valid."""
        self.bands, doubt = pick_bands(self._file, bands, self.name)
        self._stated_bands = self.bands
        self.warnings += [] if doubt is None else [doubt]
        self.dtype, self.scaling = dtype_of(self._file, self.bands), Scaling.of(self._file, self.bands)
        self._black = stored_black(self._file)
        if self._black is not None:
            self.warnings.append(f"{self.name} stores white as 0 (MINISWHITE): its values are inverted on reading.")
        palette = palette_band(self._file, self.bands, self.name)
        self._palette_nodata: tuple[int, ...] | None = None
        if palette is None:
            self.rule = ValidityRule.of(self._file, self.bands, nodata)
            alpha = self.rule.alpha
            if alpha is not None and is_spectral(self._file, alpha):
                self.rule = dataclasses.replace(self.rule, alpha=None)
                self.warnings.append(
                    f"{self.name} calls its band {alpha} alpha, but it holds values of many kinds: it is taken for a "
                    "band of the sensor, such as infrared, and hides nothing."
                )
            self._cover_what_is_missing(nodata)
            return
        self._palette_nodata = transparent_entries(self._file, palette, nodata)
        self._dataset = expand(self._file, palette, self._palette_nodata, nodata)
        self._opened.callback(self._dataset.close)
        self.bands = (1, 2, 3)
        self.rule = ValidityRule.of(self._dataset, self.bands, "auto")

    def _cover_what_is_missing(self, nodata: Nodata) -> None:
        """Hide blocks that were never written, and what bands declare each for itself, as GDAL's masks do."""
        missing = missing_blocks(self._file, self.bands)
        if missing is not None and missing.all():
            raise SceneError(f"{self.name} holds no pixels, none of its blocks was ever written: get a fresh copy.")
        if missing is not None and self.rule.value is not None and nodata == "auto":
            missing = None  # GDAL fills them with the declared value
        differs = differs_by_band(self._file, self.bands, nodata)
        if missing is not None:
            self.warnings.append(
                f"{missing.mean():.1%} of the blocks of {self.name} were never written: they are no data; its writer "
                "may have been stopped, get a fresh copy."
            )
        if missing is None and not differs:
            return
        value = None if differs else self.rule.value
        masked = differs or self.rule.mask or self.rule.alpha is not None
        self._dataset = covered(self._file, self.bands, self._opened, masked=masked, missing=missing)
        rule = ValidityRule.of(self._dataset, self.bands, "auto")
        self.rule = dataclasses.replace(rule, value=value)

    def read_stored(
        self, window: Window, shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Raw (3, h, w) and validity (h, w), None where all is valid; `shape` decimates."""
        stored, valid = self._stored_grid, None
        view = self._turn.stored(window, stored.height, stored.width).rasterio
        shape = None if shape is None else self._turn.shape(*shape)
        with gdal_errors(self._damaged):
            data = self._dataset.read(self.bands, window=view, out_shape=None if shape is None else (3, *shape))
            if self.rule.alpha:
                valid = self._dataset.read(self.rule.alpha, window=view, out_shape=shape) > 0
            elif self.rule.mask:
                valid = self._dataset.read_masks(self.bands[0], window=view, out_shape=shape) > 0
        if self.rule.by_values:
            by_values = self.rule.of_values(data)
            valid = by_values if valid is None else valid & by_values
        return self._turn.shown(data), None if valid is None else self._turn.shown(valid)

    def _damaged(self, error: Exception) -> SceneError:
        return damaged(self.name, error)

    def usable(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """(h, w) True where all valid masks say so."""
        usable = np.ones((window.height, window.width), np.bool_)
        for mask in self._masks:
            usable &= mask.read(grid, window)
        return usable

    @property
    def may_hide(self) -> bool:
        """False where all pixels have data for sure."""
        return bool(self.rule.by_values or self.rule.alpha or self.rule.mask or self._masks)

    @property
    def masked(self) -> bool:
        """True where there are valid masks."""
        return bool(self._masks)

    @property
    def has_overviews(self) -> bool:
        """True where decimated reading is fast."""
        return bool(self._dataset.overviews(self.bands[0]))

    def overviews_are_stale(self) -> bool:
        """True where they don't show its pixels, see `overviews.are_stale`."""
        return are_stale(self._file, self._stated_bands, self._is_complete)

    def _is_complete(self, window: Window) -> bool:
        _, valid = self.read_stored(window)
        return valid is None or bool(valid.all())

    @property
    def files(self) -> list[str]:
        """Names of all files that it and its masks are made of."""
        return [*self._file.files, *(name for mask in self._masks for name in mask.files)]

    @property
    def bytes_per_pixel(self) -> int:
        """Size of one decoded pixel of the file, all bands: GDAL's cache may hold them all."""
        return int(self._file.count * self.dtype.itemsize)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of one block of the file, as it is shown."""
        height, width = self._file.block_shapes[0]
        return self._turn.shape(int(height), int(width))

    def close(self) -> None:
        """Close the files."""
        self._opened.close()
