"""Writing a made-up pair as GeoTIFFs: before, after and truth, window by window."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyproj
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform

from schanger_edge.errors import ProductError, SceneError
from schanger_edge.files import replacing
from schanger_edge.geo.crs import transformer
from schanger_edge.geo.grid import Window
from schanger_edge.synthetic.noise import Bytes
from schanger_edge.synthetic.scene import CHUNK, SyntheticScene

Dtype = Literal["uint8", "uint16"]

# Where a pair lies when its CRS covers half the world or says nothing about its area.
_SOMEWHERE = (3.0, 42.0)
# 11-bit sensors: (dark level, gain per band) of the two dates.
_SENSORS = {"before": (96.0, (6.9, 6.2, 5.6)), "after": (118.0, (6.1, 6.4, 6.0))}


@dataclasses.dataclass(frozen=True)
class SyntheticPair:
    """Paths of a written pair."""

    before: Path
    after: Path
    truth: Path


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What a written pair is like.

    Attributes:
        width: columns of the before image.
        height: its rows.
        seed: decides the scene.
        gsd: metres per pixel.
        crs: of the before image and of the truth (0 = no change, 1 = change, 255 = no data before).
        after_crs: puts the after image on its own grid in this CRS; nodata 0 outside the scene.
        shift: pixels by which the after image is out of place, right and down.
        dtype: "uint8", or "uint16" with values like an 11-bit sensor's; nodata is 0 in both.
        nodata_wedge: leave about 4 % of the before image, at its left edge, without data.
    """

    width: int = 2048
    height: int = 2048
    seed: int = 0
    gsd: float = 0.5
    crs: str = "EPSG:32631"
    after_crs: str | None = None
    shift: tuple[float, float] = (0.0, 0.0)
    dtype: Dtype = "uint8"
    nodata_wedge: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Dtype):
            raise SceneError(f"A scene cannot be written as {self.dtype}: choose uint8 or uint16.")
        if not all(np.isfinite(self.shift)):
            raise SceneError(f"A scene cannot be shifted by {self.shift} pixels: give two finite numbers.")


def write_pair(
    folder: Path,
    rendering: Rendering | None = None,
    *,
    progress: Callable[[float], None] | None = None,
    **keywords: Any,
) -> SyntheticPair:
    """Write before.tif, after.tif and truth.tif of one made-up scene to `folder`.

    Args:
        folder: made where it does not exist; files of these names are replaced.
        rendering: what the pair is like.
        progress: called with the finished share, 0-1.
        keywords: attributes of `Rendering` by name, such as `seed=3`.

    Raises:
        SceneError: a size, CRS, type or shift is wrong.
        ProductError: a file could not be written.
    """
    made = dataclasses.replace(rendering or Rendering(), **keywords)
    scene = SyntheticScene(made.seed, made.width, made.height, made.gsd)
    grid_crs, transform = _place(made.crs, scene)
    target = _known_crs(made.after_crs) if made.after_crs is not None else None
    folder = Path(folder)
    pair = SyntheticPair(folder / "before.tif", folder / "after.tif", folder / "truth.tif")
    image = {"width": made.width, "height": made.height, "crs": grid_crs.to_wkt(), "transform": transform}
    image["dtype"] = made.dtype
    report = progress or (lambda _share: None)
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProductError(f"{folder} cannot be created ({error.strerror}): choose another folder.") from error
        paths = (pair.before, pair.after, pair.truth)
        before, after, truth = (stack.enter_context(replacing(path, ProductError)) for path in paths)
        base = after.with_suffix(".base.tif") if target is not None else after
        stack.callback(lambda: base.unlink(missing_ok=True) if base != after else None)
        with (
            rasterio.open(before, "w", **_options(image, 3)) as before_file,
            rasterio.open(base, "w", **_options(image, 3)) as after_file,
            rasterio.open(truth, "w", **_options({**image, "dtype": "uint8", "nodata": 255}, 1)) as truth_file,
        ):
            last = 0.8 if target is not None else 1.0
            _write_windows(scene, made, (before_file, after_file, truth_file), lambda share: report(share * last))
        if target is not None:
            _write_warped(base, after, target, lambda s: report(0.8 + 0.2 * s))
    return pair


def _write_windows(
    scene: SyntheticScene, made: Rendering, files: tuple[Any, Any, Any], report: Callable[[float], None]
) -> None:
    before_file, after_file, truth_file = files
    for window in _windows(scene.width, scene.height, report):
        place = window.rasterio
        before = _measured(scene.render("before", window), "before", before_file.dtypes[0])
        after = _measured(scene.render("after", window, offset=made.shift), "after", after_file.dtypes[0])
        truth = scene.truth(window)
        if made.nodata_wedge:
            empty = _wedge(scene, window)
            before[:, empty] = 0
            truth[empty] = 255
        before_file.write(before, window=place)
        after_file.write(after, window=place)
        truth_file.write(truth, 1, window=place)


def _write_warped(source: Path, target: Path, crs: pyproj.CRS, report: Callable[[float], None]) -> None:
    """The image of `source` on a grid of its own in `crs`."""
    with rasterio.open(source) as file:
        wkt = crs.to_wkt()
        transform, width, height = calculate_default_transform(file.crs, wkt, file.width, file.height, *file.bounds)
        grid = {"crs": wkt, "transform": transform, "width": width, "height": height}
        with (
            WarpedVRT(file, resampling=Resampling.cubic, nodata=0, **grid) as warped,
            rasterio.open(target, "w", **_options({**grid, "dtype": file.dtypes[0]}, 3)) as result,
        ):
            for window in _windows(width, height, report):
                result.write(warped.read(window=window.rasterio), window=window.rasterio)


def _windows(width: int, height: int, report: Callable[[float], None]) -> Iterator[Window]:
    """The chunks of a picture; after each `report` is called with the share that is done."""
    windows = list(Window(0, 0, width, height).squares(CHUNK))
    for count, window in enumerate(windows, 1):
        yield window
        report(count / len(windows))


def _measured(image: Bytes, date: str, dtype: str) -> np.typing.NDArray[Any]:
    """The image in the file's type."""
    if dtype == "uint8":
        return image
    dark, gains = _SENSORS[date]
    values = dark + np.asarray(gains, np.float32)[:, None, None] * image
    return np.asarray(np.rint(values), np.uint16)


def _wedge(scene: SyntheticScene, window: Window) -> np.typing.NDArray[np.bool_]:
    """True where the before image has no data: a wedge along the left edge, 8 % wide at its top."""
    cols = np.arange(window.col_off, window.col_end) + 0.5
    rows = np.arange(window.row_off, window.row_end) + 0.5
    limit = 0.08 * scene.width * (1 - rows / scene.height)
    return np.asarray(cols[None, :] < limit[:, None], np.bool_)


def _options(image: dict[str, Any], bands: int) -> dict[str, Any]:
    colour = {"photometric": "RGB"} if bands == 3 else {}
    predictor = 2 if bands == 3 else 1
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": predictor}
    return {"driver": "GTiff", "count": bands, "nodata": 0, "BIGTIFF": "IF_SAFER", **layout, **colour, **image}


def _known_crs(name: str) -> pyproj.CRS:
    try:
        return pyproj.CRS.from_user_input(name)
    except pyproj.exceptions.CRSError as error:
        raise SceneError(f'"{name}" is not a coordinate reference system: use one such as EPSG:32631.') from error


def _place(name: str, scene: SyntheticScene) -> tuple[pyproj.CRS, Affine]:
    """The CRS and the transform of the before image, in the middle of the area where the CRS is used."""
    crs = _known_crs(name)
    if not (crs.is_projected or crs.is_geographic):
        raise SceneError(f'"{name}" is not a map or geographic CRS: give one such as EPSG:32631.')
    area = crs.area_of_use
    lon, lat = _SOMEWHERE
    if area is not None and 0 < area.east - area.west < 90:
        lon, lat = (area.west + area.east) / 2, (area.south + area.north) / 2
    x, y = transformer("EPSG:4326", crs).transform(lon, lat)
    to_lonlat = transformer(crs, "EPSG:4326")
    step = 1e-4 if crs.is_geographic else 10.0
    sides = []
    for dx, dy in ((step, 0.0), (0.0, step)):
        lons, lats = to_lonlat.transform([x, x + dx], [y, y + dy])
        metres = pyproj.Geod(ellps="WGS84").line_length(lons, lats) / step
        sides.append(scene.gsd if abs(metres - 1) < 0.01 else scene.gsd / metres)
    side_x, side_y = sides
    left, top = round(x / side_x) * side_x, round(y / side_y) * side_y
    return crs, Affine(side_x, 0.0, left, 0.0, -side_y, top)
