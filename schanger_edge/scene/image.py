"""One date: a raster opened lazily and read on any grid as uint8 RGB with validity."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Grid, Window, toward
from schanger_edge.scene.bands import is_spectral, pick_bands
from schanger_edge.scene.cover import Cover, missing_blocks
from schanger_edge.scene.image_info import ImageInfo
from schanger_edge.scene.matching import Matching
from schanger_edge.scene.opening import (
    damaged,
    date_of,
    dtype_of,
    gdal_errors,
    grid_of,
    open_dataset,
    palette_band,
    reason,
)
from schanger_edge.scene.orientation import Orientation
from schanger_edge.scene.overviews import are_stale
from schanger_edge.scene.palette import expand, transparent_entries
from schanger_edge.scene.radiometry import Scaling, Stretch, StretchChoice, stored_black
from schanger_edge.scene.remote import fetching, is_plain, public_name, resolved_name
from schanger_edge.scene.sampling import LATTICE, sample
from schanger_edge.scene.undeclared import find_collar, find_sentinel
from schanger_edge.scene.valid_mask import ValidMask
from schanger_edge.scene.validity import Nodata, ValidityRule, differs_by_band
from schanger_edge.scene.warped import WarpedImage

ALIGNED = 0.01  # pixels: grids that differ by less at every corner are the same
SAMPLE_SIDE = 1024  # pixels along the longer side of the decimated read for statistics
LARGE = 64_000_000  # pixels; above it, and without overviews, statistics come from windows
SAMPLE_CACHE = 64 << 20  # bytes of GDAL's block cache while statistics are taken


class SceneImage:
    """A raster of one date. Not for use by two threads at a time.

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
        stretch: from stored values to uint8; None leaves them as they are.
        matching: what is done to uint8 values after that.
        warnings: what the file leaves in doubt, and what was made of it, in sentences.
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
        self.stretch: Stretch | None = None
        self.matching: Matching | None = None
        self._warped: WarpedImage | None = None
        self._shift = (0, 0)
        self._samples: NDArray[Any] | None = None
        self.warnings: list[str] = []
        self._cover: Cover | None = None
        self._frame: tuple[NDArray[Any], NDArray[np.bool_] | None] | None = None
        self._auto = nodata == "auto"
        self._masks: list[ValidMask] = []
        with rasterio.Env(GDAL_NUM_THREADS=threads):  # GDAL asks when a file is opened
            self._file = self._dataset = open_dataset(path, formats)
        try:
            self._stored_grid = grid_of(self._file, self.name)
            self._turn = Orientation.of(self._file)
            self.grid = self._target = self._shown_grid()
            with gdal_errors(self._damaged):
                self._choose(bands, nodata)
            for name in valid_masks:
                self._masks.append(ValidMask(name, self.grid))
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
        self._cover = Cover(self._file, self.bands, masked=masked, missing=missing)
        self._dataset = self._cover.dataset
        rule = ValidityRule.of(self._dataset, self.bands, "auto")
        self.rule = dataclasses.replace(rule, value=value)

    def place_on(self, grid: Grid) -> None:
        """Read from now on in windows of this grid: bit-exact where pixels coincide, else resampled lazily."""
        self._target = grid
        if self._warped is not None:
            self._warped.close()
            self._warped = None
        shift = whole_pixel_shift(toward(self.grid, grid), grid)
        if shift is not None:
            self._shift = shift
            return
        with gdal_errors(self._not_placed):
            self._warped = WarpedImage(
                self._dataset, self._stored_grid, self.bands, self.rule, grid, threads=self._threads
            )

    def _not_placed(self, error: Exception) -> SceneError:
        return SceneError(f"{self.name} cannot be resampled to the other image's grid: {reason(error)}")

    def _damaged(self, error: Exception) -> SceneError:
        return damaged(self.name, error)

    @property
    def resampled(self) -> bool:
        """False where pixels are read as they are."""
        return self._warped is not None

    def take_stretch(self, choice: StretchChoice = "percentiles") -> None:
        """Choose the scene's stretch, see `StretchChoice`.

        Raises:
            SceneError: percentiles are wanted and no pixel has data.
        """
        if not isinstance(choice, str):
            self.stretch = Stretch.between(choice, self.scaling)
        elif self.dtype != np.uint8:
            self.stretch = Stretch.none(self._black) if choice == "none" else self._percentiles()
        elif self._black is not None:
            self.stretch = Stretch.none(self._black)

    def _percentiles(self) -> Stretch:
        samples = self.samples()
        if not samples.shape[1]:
            mend = "check its valid mask" if self._masks else "check its nodata value or pass --nodata none"
            raise SceneError(f"{self.name} has no valid pixel: {mend}.")
        return Stretch.from_samples(samples, self.scaling.scales, self.rule.value)

    def heed_sentinel(self) -> None:
        """Take a sentinel that the file doesn't declare for no data; to be called before the image is placed."""
        if not self._auto or self.dtype == np.uint8 or self.rule.value is not None:
            return
        found = find_sentinel(self.samples())
        if found is None:
            return
        value, share = found
        self.rule = dataclasses.replace(self.rule, value=value)
        self._samples = self.samples()[:, self.rule.of_values(self.samples()[:, None])[0]]
        self.warnings.append(
            f"{self.name} holds {value:g} in {share:.1%} of its pixels, far from all other values, and doesn't declare "
            "it: taken as no data; --nodata none takes it as it is."
        )

    def collar_warnings(self) -> list[str]:
        """What is said of a collar of one colour that the file doesn't declare."""
        self.samples()
        if not self._auto or self._frame is None:
            return []
        image, valid = self._frame
        if self.rule.by_values:
            valid = self.rule.of_values(image) if valid is None else valid & self.rule.of_values(image)
        found = find_collar(image, valid)
        if found is None:
            return []
        color, share = found
        values = ", ".join(f"{value:g}" for value in color)
        if len(set(color)) == 1:
            mend = f"if it is a collar without image, pass --nodata {color[0]:g}"
        else:
            mend = "if it is a collar without image, declare it with a mask"
        return [f"{share:.0%} of {self.name} have one colour ({values}) from the border inwards: {mend}."]

    def clipped_share(self) -> float:
        """Share of the sampled values that are no numbers from 0 to 255."""
        samples = self.samples()
        return float(((samples < 0) | (samples > 255) | ~np.isfinite(samples)).mean()) if samples.size else 0.0

    def samples(self) -> NDArray[Any]:
        """Stored values of valid pixels all over the scene, (3, n); n is about a million at most, and may be 0."""
        if self._samples is None:
            with rasterio.Env(GDAL_CACHEMAX=SAMPLE_CACHE), fetching(self.path), gdal_errors(self._damaged):
                self._samples = self._take_samples()
        return self._samples

    def seen_samples(self) -> NDArray[np.uint8]:
        """The samples as the network sees them: (3, n), stretched and matched."""
        return self._to_bytes(self.samples()[:, None].copy())[:, 0]

    def _take_samples(self) -> NDArray[Any]:
        whole = self.grid.window
        small = whole.width * whole.height <= LARGE
        factor = max(1, math.ceil(max(whole.width, whole.height) / SAMPLE_SIDE))
        stale = factor > 1 and are_stale(self._file, self._stated_bands, self._is_complete)
        if stale:
            self.warnings.append(
                f"the overviews of {self.name} don't show its pixels: they are not used; build them anew with gdaladdo."
            )
        # masks have no overviews we know of
        elif small or (self._dataset.overviews(self.bands[0]) and not self._masks):
            return self._valid_values(whole, (math.ceil(whole.height / factor), math.ceil(whole.width / factor)))
        parts: list[NDArray[Any]] = []

        lattice: list[tuple[NDArray[Any], NDArray[np.bool_]]] = []

        def take(window: Window) -> int:
            parts.append(self._valid_values(window))
            if len(lattice) < LATTICE**2:
                data, valid = self._read_native(window)  # from GDAL's cache
                lattice.append((data, np.ones(data.shape[1:], np.bool_) if valid is None else valid))
            return int(parts[-1].shape[1])

        sample(whole, take)
        self._frame = _joined(lattice)
        return np.concatenate(parts, 1)

    def _valid_values(self, window: Window, shape: tuple[int, int] | None = None) -> NDArray[Any]:
        data, valid = self._read_native(window, shape)
        if shape is not None:
            self._frame = data, valid
        if self._masks:
            grid = self.grid if shape is None else _reduced(self.grid, shape)
            usable = self._usable(grid, window if shape is None else grid.window)
            valid = usable if valid is None else valid & usable
        values: NDArray[Any] = data.reshape(3, -1) if valid is None else data[:, valid]
        return values

    def _is_complete(self, window: Window) -> bool:
        _, valid = self._read_native(window)
        return valid is None or bool(valid.all())

    def _usable(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        usable = np.ones((window.height, window.width), np.bool_)
        for mask in self._masks:
            usable &= mask.read(grid, window)
        return usable

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """A window of the target grid: uint8 RGB (3, h, w) and validity (h, w). Outside the image is not valid."""
        with fetching(self.path), gdal_errors(self._damaged):
            raw, valid = self._read_shifted(window) if self._warped is None else self._warped.read(window)
        if self._masks:
            valid &= self._usable(self._target, window)
        return self._to_bytes(raw), valid

    def _to_bytes(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Stored values to what the network sees, the same shape; uint8 may be changed in place."""
        image = raw if self.stretch is None else self.stretch.apply(raw)
        return image if self.matching is None else self.matching.apply(image)

    def info(self) -> ImageInfo:
        """For the summary."""
        return ImageInfo(
            path=self.name,
            driver=self._file.driver,
            width=self.grid.width,
            height=self.grid.height,
            crs=self.grid.crs.to_string() if self.grid.crs else None,
            gsd=self.grid.gsd,
            dtype=str(self.dtype),
            bands=self._stated_bands,
            palette_nodata=self._palette_nodata,
            validity=self.rule,
            valid_masks=tuple(mask.name for mask in self._masks),
            scaling=self.scaling,
            resampling="bilinear" if self.resampled else "none",
            stretch=self.stretch,
            match=None if self.matching is None else self.matching.summary(),
            date=date_of(self._file),
        )

    def identity(self) -> dict[str, Any]:
        """All that determines its pixels: its files and how they are read."""
        masks = [resolved_name(mask.path) for mask in self._masks]
        names = {"path": resolved_name(self.path), "valid_masks": masks}
        return {"files": self.stamps(), **dataclasses.asdict(self.info()), **names}

    @property
    def files(self) -> list[str]:
        """Names of all files that it and its masks are made of."""
        return [*self._file.files, *(name for mask in self._masks for name in mask.files)]

    def stamps(self) -> dict[str, Any]:
        """What distinguishes this image from another: size in bytes and modification time (ns) of each local file.

        GDAL reports neither for remote files, so the SHA-256 of the sampled pixels stands for them. Files ending in
        .aux.xml are left out, since viewers leave them behind; what they declare about the image is in `info`.
        """
        stats: dict[str, Any] = {}
        names = self.files
        for name in names:
            if not name.endswith(".aux.xml"):
                with contextlib.suppress(OSError):  # no file of this machine
                    stat = os.stat(name)
                    stats[os.path.realpath(name)] = (stat.st_size, stat.st_mtime_ns)
        if not names or not all(map(is_plain, names)):
            stats["sampled pixels"] = hashlib.sha256(self.samples().tobytes()).hexdigest()
        return stats

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
        for opened in (self._warped, *self._masks, self._cover, self._dataset, self._file):
            if opened is not None:
                opened.close()

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


def _joined(
    lattice: list[tuple[NDArray[Any], NDArray[np.bool_]]],
) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """The lattice's windows side by side, whose border is the scene's; None where it has not its usual size."""
    if len(lattice) != LATTICE**2 or len({data.shape for data, _ in lattice}) > 1:
        return None
    rows = [lattice[first : first + LATTICE] for first in range(0, len(lattice), LATTICE)]
    image = np.concatenate([np.concatenate([data for data, _ in row], 2) for row in rows], 1)
    return image, np.concatenate([np.concatenate([valid for _, valid in row], 1) for row in rows])


def whole_pixel_shift(source: Grid, target: Grid) -> tuple[int, int] | None:
    """(columns, rows) to add to a pixel of `target` to get the same pixel of `source`; None where grids differ."""
    if source.crs != target.crs:
        return None
    # target pixel -> ground -> source pixel: a pure shift by whole pixels, judged at the target's corners
    chain = ~source.transform @ target.transform
    col, row = round(chain.c), round(chain.f)
    for corner in target.corners:
        x, y = chain @ corner
        if abs(x - corner[0] - col) > ALIGNED or abs(y - corner[1] - row) > ALIGNED:
            return None
    return col, row


def _reduced(grid: Grid, shape: tuple[int, int]) -> Grid:
    """The same ground in fewer pixels: (rows, columns)."""
    scale = Affine.scale(grid.width / shape[1], grid.height / shape[0])
    return Grid(grid.crs, grid.transform @ scale, shape[1], shape[0])
