"""One date: a raster opened lazily and read on any grid as uint8 RGB with validity."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Grid, Window, toward
from schanger_edge.scene.matching import Matching
from schanger_edge.scene.opening import date_of, gdal_errors, reason
from schanger_edge.scene.radiometry import Scaling, Stretch, StretchChoice
from schanger_edge.scene.remote import is_plain, reading, resolved_name
from schanger_edge.scene.stored_image import StoredImage
from schanger_edge.scene.undeclared import find_collar, find_sentinel
from schanger_edge.scene.validity import ValidityRule
from schanger_edge.scene.values import Frame, spread_values
from schanger_edge.scene.warped import WarpedImage

ALIGNED = 0.01  # pixels: grids that differ by less at every corner are the same


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """One date and how it was read.

    Attributes:
        path: as given, without what gives access to a URL.
        dtype: of the stored values.
        bands: of red, green, blue.
        palette_nodata: indices that are no data; None where there is no palette.
        validity: how it is known where there is data.
        valid_masks: files that say where it is usable.
        scaling: the file's scale and offset of each channel.
        resampling: none or bilinear.
        stretch: to 8 bits; None where values are read as they are.
        match: what histogram matching did to it; None where it was not matched.
        date: acquisition time from the file's tags.
    """

    path: str
    driver: str
    width: int
    height: int
    crs: str | None
    gsd: float | None
    dtype: str
    bands: tuple[int, ...]
    palette_nodata: tuple[int, ...] | None
    validity: ValidityRule
    valid_masks: tuple[str, ...]
    scaling: Scaling
    resampling: str
    stretch: Stretch | None
    match: dict[str, Any] | None
    date: str | None


class SceneImage(StoredImage):
    """A stored image with what makes it a date: its place on a grid, and how its values become uint8.

    Attributes:
        stretch: from stored values to uint8; None leaves them as they are.
        matching: what is done to uint8 values after that.
    """

    stretch: Stretch | None = None
    matching: Matching | None = None
    _target: Grid | None = None
    _warped: WarpedImage | None = None
    _shift = (0, 0)
    _frame: Frame | None = None
    _samples: NDArray[Any] | None = None

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
        (image, valid), rule = self._frame, self.rule
        if rule.by_values:  # a sentinel may have been found since it was read
            valid = rule.of_values(image) if valid is None else valid & rule.of_values(image)
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
            with gdal_errors(self._damaged):
                self._samples, self._frame = spread_values(self)
        return self._samples

    def seen_samples(self) -> NDArray[np.uint8]:
        """The samples as the network sees them: (3, n), stretched and matched."""
        return self._to_bytes(self.samples()[:, None].copy())[:, 0]

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """A window of the target grid: uint8 RGB (3, h, w) and validity (h, w). Outside the image is not valid."""
        with reading(self.path), gdal_errors(self._damaged):
            raw, valid = self._read_shifted(window) if self._warped is None else self._warped.read(window)
        if self._masks:
            valid &= self.usable(self._target or self.grid, window)
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

    def close(self) -> None:
        """Close the files."""
        if self._warped is not None:
            self._warped.close()
        super().close()

    def _read_shifted(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        col, row = self._shift
        inside = Window(window.col_off + col, window.row_off + row, window.width, window.height)
        part = inside.intersection(self.grid.window)
        if part == inside:
            data, valid = self.read_stored(inside)
            return data, np.ones(data.shape[1:], np.bool_) if valid is None else valid
        data = np.zeros((3, window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), np.bool_)
        if part is not None:
            rows, cols = part.slices_in(inside)
            data[:, rows, cols], part_valid = self.read_stored(part)
            valid[rows, cols] = True if part_valid is None else part_valid
        return data, valid


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
