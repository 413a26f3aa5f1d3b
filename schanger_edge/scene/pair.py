"""Two dates on one grid: opened together, checked, read window by window."""

from __future__ import annotations

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from schanger_edge.geo.crs import Operation
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.comparing import overlap_share
from schanger_edge.scene.image import ImageInfo, SceneImage
from schanger_edge.scene.matching import Matching
from schanger_edge.scene.options import GridChoice
from schanger_edge.scene.tile import PairTile
from schanger_edge.scene.vectors import Polygons

SQUARE = 1.3  # times that a pixel may be longer than wide on the ground
WHOLE = 0.1  # pixels: estimates of a shift are no better
SMALL = 1 << 19  # pixels; less is not worth a second thread
SAMPLE_COLUMNS = 512  # of the widest window that is read for the histograms
READ_ROWS = 256  # that are read at once
MIN_CACHE, MAX_CACHE = 64 << 20, 512 << 20
WHOLE_CACHE = 128 << 20
"""Bytes: a pair that takes no more is kept as a whole, so that statistics, offset and tiles decode each block once."""


class Pair:
    """Two dates on one grid, read lazily and at the same time. Use it as a context manager, from one thread at a time.

    Attributes:
        grid: the grid of all windows, and of the results.
        overlap: share of the grid that lies inside the other image, 0-1.
        notes: what is worth knowing about the pair, in sentences.
        doubts: what makes it doubtful as a pair, in sentences; see `warnings`.
        operation: from the other image's CRS to the grid's; None where they have one CRS, or none.

    Args:
        before: image of the first date, placed on the grid.
        after: image of the second date, placed on the grid.
        grid: see above.
        overlap: see above.
        owner: whose grid it is; `align` moves the other one.
        clip: the area of interest; None where it is the whole grid.
        threads: that decode and reproject each date.
    """

    def __init__(
        self,
        before: SceneImage,
        after: SceneImage,
        grid: Grid,
        overlap: float,
        *,
        owner: GridChoice = "before",
        clip: Polygons | None = None,
        threads: int = 1,
    ) -> None:
        self._before, self._after, self._clip, self._threads = before, after, clip, threads
        self.grid, self.overlap, self._owner = grid, overlap, owner
        self.notes: list[str] = []
        self.doubts = _shape_warnings(grid)
        self.operation: Operation | None = None
        self._motion = Affine.identity()
        self._second_reader = ThreadPoolExecutor(1, "second reader")  # its thread begins with its first window

    @property
    def warnings(self) -> list[str]:
        """What the files leave in doubt, and what was made of it, in sentences; sampling the pixels may add some."""
        return [*self._before.warnings, *self._after.warnings, *self.doubts]

    @property
    def clip(self) -> str | None:
        """File of the area of interest, without keys."""
        return None if self._clip is None else self._clip.name

    @property
    def files(self) -> tuple[str, ...]:
        """All files that the images and their masks are made of, such as those that a VRT names."""
        return (*self._before.files, *self._after.files)

    @property
    def area(self) -> Window:
        """The smallest window that holds the area of interest; the whole grid where there is none."""
        inside = None if self._clip is None else self._clip.bounds().intersection(self.grid.window)
        return inside or self.grid.window

    def wanted(self, window: Window) -> NDArray[np.bool_] | None:
        """(h, w) True where a pixel's centre lies in the area of interest; None where all do. Reads no image.

        `read` ignores the area: pixels beyond it are context for those at its border.
        """
        return None if self._clip is None else self._clip.burn(window)

    def read(self, window: Window) -> PairTile:
        """Read a window of the grid.

        Raises:
            SceneError: a file is damaged.
        """
        if window.width * window.height < SMALL:
            after, after_valid = self._after.read(window)
            before, before_valid = self._before.read(window)
        else:
            second = self._second_reader.submit(_read_quietly, self._after, window, self._threads)
            try:
                before, before_valid = self._before.read(window)
            finally:
                wait([second])  # no file is closed while it is read
            after, after_valid = second.result()
        before_valid &= after_valid
        return PairTile(before, after, before_valid)

    def has_columns(self, columns: int) -> bool:
        """Whether columns of this width can be read without decoding much of what lies beside them."""
        return all(image.block_shape[1] <= columns // 2 for image in (self._before, self._after))

    def read_date(self, date: GridChoice, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """One date alone: uint8 RGB (3, h, w) and its own validity (h, w); beyond the grid nothing is valid.

        Raises:
            SceneError: the file is damaged.
        """
        image = self._before if date == "before" else self._after
        pixels = np.zeros((3, window.height, window.width), np.uint8)
        valid = np.zeros((window.height, window.width), np.bool_)
        part = window.intersection(self.grid.window)
        if part is not None:
            rows, cols = part.slices_in(window)
            pixels[:, rows, cols], valid[rows, cols] = image.read(part)
        return pixels, valid

    def align(self, motion: Affine) -> Affine:
        """Read from now on with the after image moved, or, where it owns the grid, the before image the other way.

        The motion becomes part of the reprojection, so that pixels are interpolated once. A motion that is
        a shift by whole pixels to within `WHOLE`, all over the grid, is rounded to them where that spares
        interpolation altogether. The files stay as they are.

        Args:
            motion: from (column, row) of a point in the after image to the same point in the before image, both as
                this pair's grid shows them without any alignment; the identity takes an alignment back.

        Returns:
            The motion that was applied.

        Raises:
            SceneError: the image cannot be reprojected so.
        """
        moved = self._after if self._owner == "before" else self._before
        whole = Affine.translation(round(motion.c), round(motion.f))
        for candidate in (whole, motion) if _within(WHOLE, motion, whole, self.grid) else (motion,):
            back = ~candidate if moved is self._after else candidate
            place = dataclasses.replace(self.grid, transform=self.grid.transform @ back)
            moved.place_on(place)
            if not moved.resampled:
                break
        self.overlap, self._motion = overlap_share(place, moved), candidate
        return candidate

    def environment(self, columns: int) -> rasterio.Env:
        """GDAL's settings while windows of so many columns are read from top to bottom: held open around `read`.

        The block cache takes the blocks under one row of windows, so that the next row doesn't decode them again, or
        the whole pair, see `WHOLE_CACHE`.
        """
        need = whole = 0
        for image in (self._before, self._after):
            height, width = image.block_shape
            need += image.bytes_per_pixel * (columns + 2 * width) * (READ_ROWS + 2 * height)
            whole += image.bytes_per_pixel * (image.grid.width + width) * (image.grid.height + height)
        need = max(need, whole if whole <= WHOLE_CACHE else 0)
        return rasterio.Env(GDAL_CACHEMAX=min(max(need, MIN_CACHE), MAX_CACHE), GDAL_NUM_THREADS=self._threads)

    def statistics(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Mean and standard deviation per channel of each date, as uint8 scaled to 0-1, from samples.

        A date without a valid pixel is left out.
        """
        result = {}
        for name, image in (("before", self._before), ("after", self._after)):
            samples = image.seen_samples()
            if samples.shape[1]:
                result[name] = (samples.mean(1) / 255, samples.std(1) / 255)
        return result

    def collar_warnings(self) -> list[str]:
        """What is said of collars of one colour that the files don't declare; from the samples."""
        return [warning for image in (self._before, self._after) for warning in image.collar_warnings()]

    def match(self) -> None:
        """Match the after image's histograms to the before image's, taken where both have data, from now on."""
        with self.environment(SAMPLE_COLUMNS):
            self._after.matching = Matching.sampled(self.grid.window, self.read)

    def info(self) -> dict[str, ImageInfo]:
        """Both dates as the summary describes them."""
        return {"before": self._before.info(), "after": self._after.info()}

    def identity(self) -> dict[str, Any]:
        """All that determines the pixels: grid, area of interest, files with their times, and how they are read."""
        result: dict[str, Any] = {"alignment": list(self._motion)[:6], "grid of": self._owner}
        result["grid"] = {"transform": list(self.grid.transform)[:6]}
        result["grid"] |= {"crs": self.grid.crs.to_wkt() if self.grid.crs else None}
        result["grid"] |= {"width": self.grid.width, "height": self.grid.height}
        result["area of interest"] = None if self._clip is None else self._clip.sha256()
        for name, image in (("before", self._before), ("after", self._after)):
            result[name] = image.identity()
        return result

    def close(self) -> None:
        """Close both files."""
        self._second_reader.shutdown()
        self._before.close()
        self._after.close()

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _within(pixels: float, one: Affine, other: Affine, grid: Grid) -> bool:
    """True where two motions differ by no more than so many pixels anywhere on the grid, which its corners decide."""
    return max(math.dist(one @ corner, other @ corner) for corner in grid.corners) <= pixels


def _read_quietly(image: SceneImage, window: Window, threads: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    with rasterio.Env(GDAL_NUM_THREADS=threads):  # each thread has its own; it keeps GDAL's messages off the terminal
        return image.read(window)


def _shape_warnings(grid: Grid) -> list[str]:
    sides = grid.ground_sides
    if sides is None or max(sides) <= SQUARE * min(sides):
        return []
    return [
        f"the grid's pixels are not square on the ground ({sides[0]:.3g} x {sides[1]:.3g} m), as those of the model's "
        "training images: expect misses and false alarms; reproject the images with gdalwarp, such as to UTM."
    ]
