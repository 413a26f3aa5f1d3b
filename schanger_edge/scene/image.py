"""One date: a raster opened lazily and read on any grid as uint8 RGB with validity."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from schanger_edge.errors import SceneError
from schanger_edge.grid import Grid, Window
from schanger_edge.scene.radiometry import Stretch

Nodata = float | str | None
ALIGNED = 0.01  # pixels: grids that differ by less at every corner are the same
WARP_TOLERANCE = 0.02  # pixels of error allowed in the approximated reprojection
SAMPLE_SIDE = 1024  # pixels along the longer side of the decimated read for statistics
LARGE = 64_000_000  # pixels; above it, and without overviews, statistics come from a lattice of windows
LATTICE, LATTICE_SIDE = 12, 64  # windows along each axis, and their side in pixels
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
PLANE = CRS.from_epsg(3857)  # stands for the unknown plane of two images that have a transform and no CRS
GDAL_TYPES = {"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32",
              "int32": "Int32", "float32": "Float32", "float64": "Float64"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """What a summary says of one date: path, size, CRS, data type, bands used, nodata and how it was read."""

    path: str
    driver: str
    width: int
    height: int
    crs: str | None
    gsd: float | None
    dtype: str
    bands: tuple[int, ...]
    nodata: float | None
    resampling: str
    stretch: Stretch | None


class SceneImage:
    """A raster of one date. Not for use by two threads at a time.

    Args:
        path: anything GDAL opens.
        bands: three band numbers (from 1) for red, green, blue; None picks them.
        nodata: `auto` takes the file's declaration, None ignores it, a number replaces it.
    """

    def __init__(self, path: str, bands: Sequence[int] | None = None, nodata: Nodata = "auto") -> None:
        self.path = path
        self._dataset = _open(path)
        try:
            self.grid = _grid(self._dataset, path)
            self.bands = _pick_bands(self._dataset, bands, path)
            self.dtype = np.dtype(self._dataset.dtypes[self.bands[0] - 1])
            _check_type(self._dataset, self.bands, self.dtype, path)
            self.nodata = self._dataset.nodatavals[self.bands[0] - 1] if nodata == "auto" else nodata
            self._mask = _mask_kind(self._dataset, self.nodata, self.dtype)
        except BaseException:
            self._dataset.close()
            raise
        self._vrt: WarpedVRT | None = None
        self._subset: Any = None
        self._warp_bands = self.bands
        self._target, self._shift = self.grid, (0, 0)
        self.stretch: Stretch | None = None

    def place_on(self, grid: Grid) -> None:
        """Read from now on in windows of this grid: bit-exact where pixels coincide, else resampled lazily."""
        self._target = grid
        shift = whole_pixel_shift(self.grid, grid)
        if shift is not None:
            self._shift = shift
            return
        try:
            self._vrt = self._warp(grid)
        except RasterioError as error:
            raise SceneError(f"{self.path} cannot be brought onto the other image's grid: {error}") from error

    @property
    def resampled(self) -> bool:
        """False where pixels are read as they are."""
        return self._vrt is not None

    def take_stretch(self) -> None:
        """Choose the scene's stretch, for every type but uint8."""
        if self.dtype != np.uint8:
            samples = self.samples()
            if not samples.shape[1]:
                raise SceneError(f"{self.path} has no valid pixel: check its nodata value or pass --nodata none.")
            self.stretch = Stretch.from_samples(samples)

    def samples(self) -> NDArray[Any]:
        """Raw values of valid pixels all over the scene, (3, n), n about a million at most."""
        whole = self.grid.window
        if whole.width * whole.height <= LARGE or self._dataset.overviews(self.bands[0]):
            factor = max(1, math.ceil(max(whole.width, whole.height) / SAMPLE_SIDE))
            parts = [self._read_native(whole, (math.ceil(whole.height / factor), math.ceil(whole.width / factor)))]
        else:
            parts = [self._read_native(window, None) for window in _lattice(whole)]
        chosen = [data.reshape(3, -1) if valid is None else data[:, valid] for data, valid in parts]
        return np.concatenate(chosen, 1)

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """A window of the target grid: uint8 RGB (3, h, w) and validity (h, w). Outside the image is not valid."""
        if self._vrt is not None:
            raw, valid = self._read_warped(window)
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
            self.bands, self.nodata if isinstance(self.nodata, float) else None,
            "bilinear" if self.resampled else "none", self.stretch,
        )  # fmt: skip

    @property
    def bytes_per_row(self) -> int:
        """Size of one decoded row of the file, all bands."""
        return int(self._dataset.width * self._dataset.count * self.dtype.itemsize)

    @property
    def block_height(self) -> int:
        """Rows of one block of the file."""
        return int(self._dataset.block_shapes[0][0])

    def close(self) -> None:
        """Close the file."""
        for dataset in (self._vrt, self._subset, self._dataset):
            if dataset is not None:
                dataset.close()

    def _read_shifted(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        col, row = self._shift
        inside = Window(window.col_off + col, window.row_off + row, window.width, window.height)
        part = inside.intersection(self.grid.window)
        if part == inside:
            data, valid = self._read_native(inside, None)
            return data, np.ones(data.shape[1:], np.bool_) if valid is None else valid
        data = np.zeros((3, window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), np.bool_)
        if part is not None:
            rows, cols = part.slices_in(inside)
            data[:, rows, cols], part_valid = self._read_native(part, None)
            valid[rows, cols] = True if part_valid is None else part_valid
        return data, valid

    def _read_native(
        self, window: Window, shape: tuple[int, int] | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Raw (3, h, w) and validity (h, w), None where all is valid; `shape` decimates."""
        view = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        try:
            out_shape = None if shape is None else (3, *shape)
            data = self._dataset.read(self.bands, window=view, out_shape=out_shape)
            if self._mask == "values":
                valid = _says_data(data, self.nodata)
            elif self._mask == "mask":
                valid = self._dataset.read_masks(self.bands[0], window=view, out_shape=shape) > 0
            else:
                valid = None
        except RasterioError as error:
            raise self._damaged(error) from error
        return data, valid

    def _read_warped(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        assert self._vrt is not None
        view = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        try:
            data = self._vrt.read([*self._warp_bands, self._vrt.count], window=view)
        except RasterioError as error:
            raise self._damaged(error) from error
        return data[:3], data[3] > 0

    def _warp(self, grid: Grid) -> WarpedVRT:
        source, self._warp_bands = self._dataset, self.bands
        alpha = ColorInterp.alpha in source.colorinterp
        if not alpha and self._mask != "mask" and source.count > len(set(self.bands)):
            # Only the chosen bands say what is nodata, so the others stay out of the warp.
            chosen = sorted(set(self.bands))
            source = self._subset = _open(_subset_vrt(source, chosen))
            self._warp_bands = tuple(chosen.index(band) + 1 for band in self.bands)
        nodata = self.nodata
        if self._mask != "values":
            nodata = None
        elif nodata is None:
            nodata = math.nan  # floating point without a declaration
        return WarpedVRT(
            source, src_crs=self.grid.crs or PLANE, crs=grid.crs or PLANE,
            src_transform=self.grid.transform, transform=grid.transform, width=grid.width, height=grid.height,
            src_nodata=nodata, nodata=nodata, add_alpha=not alpha, UNIFIED_SRC_NODATA="YES",
            resampling=Resampling.bilinear, tolerance=WARP_TOLERANCE, warp_mem_limit=64,
        )  # fmt: skip

    def _damaged(self, error: Exception) -> SceneError:
        reason = str(error.__cause__ or error).splitlines()[0]
        return SceneError(f"{self.path} cannot be read, it is damaged or incomplete ({reason}): get a fresh copy.")


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


def _open(path: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            return rasterio.open(path)
        except RasterioError as error:
            if "://" not in path and not path.startswith("/vsi") and not os.path.exists(path):
                raise SceneError(f"{path} does not exist: check the path.") from error
            raise SceneError(f"{path} cannot be opened as an image ({error}): give GeoTIFF, PNG, JPEG.") from error


def _grid(dataset: Any, path: str) -> Grid:
    grid = Grid(dataset.crs, dataset.transform, dataset.width, dataset.height)
    if not grid.georeferenced and (dataset.gcps[0] or dataset.rpcs):
        raise SceneError(f"{path} has only ground control points or RPCs: make it a map first with gdalwarp.")
    if grid.transform.is_degenerate:
        raise SceneError(f"{path} has a transform without area: mend its georeference with gdal_edit.")
    return grid


def _pick_bands(dataset: Any, bands: Sequence[int] | None, path: str) -> tuple[int, ...]:
    count = dataset.count
    if bands is not None:
        if len(bands) != 3 or not all(1 <= band <= count for band in bands):
            raise SceneError(f"--bands needs three numbers between 1 and {count} for {path}, such as 1,2,3.")
        return tuple(bands)
    colors = dataset.colorinterp
    if all(color in colors for color in RGB):
        return tuple(colors.index(color) + 1 for color in RGB)
    if count in (1, 2):
        return (1, 1, 1)
    return (1, 2, 3)


def _check_type(dataset: Any, bands: tuple[int, ...], dtype: np.dtype[Any], path: str) -> None:
    if ColorInterp.palette in (dataset.colorinterp[band - 1] for band in bands):
        raise SceneError(f"{path} has a colour palette: expand it with `gdal_translate -expand rgb`.")
    if dtype.name not in GDAL_TYPES or len({dataset.dtypes[band - 1] for band in bands}) > 1:
        raise SceneError(f"{path} has pixels of type {', '.join(dataset.dtypes)}: convert it to one real type.")


def _mask_kind(dataset: Any, nodata: Nodata, dtype: np.dtype[Any]) -> str:
    """How validity is known: `mask` (alpha or mask band), `values` (nodata, NaN) or `all`."""
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        return "mask"
    return "values" if nodata is not None or dtype.kind == "f" else "all"


def _says_data(data: NDArray[Any], nodata: Nodata) -> NDArray[np.bool_]:
    """(3, h, w) -> (h, w): False only where every band says nodata (or NaN)."""
    empty = np.isnan(data) if data.dtype.kind == "f" else None
    if nodata is not None and not math.isnan(float(nodata)):
        same = data == nodata
        empty = same if empty is None else empty | same
    assert empty is not None
    valid: NDArray[np.bool_] = ~(empty[0] & empty[1] & empty[2])
    return valid


def _lattice(whole: Window) -> Iterator[Window]:
    side_x, side_y = min(LATTICE_SIDE, whole.width), min(LATTICE_SIDE, whole.height)
    for row in np.linspace(0, whole.height - side_y, LATTICE).astype(int):
        for col in np.linspace(0, whole.width - side_x, LATTICE).astype(int):
            yield Window(int(col), int(row), side_x, side_y)


def _subset_vrt(dataset: Any, bands: Sequence[int]) -> str:
    """GDAL's VRT (https://gdal.org/drivers/raster/vrt.html) of some bands of a file, as XML."""
    parts = [f'<VRTDataset rasterXSize="{dataset.width}" rasterYSize="{dataset.height}">']
    for band in bands:
        parts.append(
            f'<VRTRasterBand dataType="{GDAL_TYPES[dataset.dtypes[band - 1]]}"><SimpleSource>'
            f'<SourceFilename relativeToVRT="0">{escape(dataset.name)}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        )
    return "".join(parts) + "</VRTDataset>"
