"""The two maps: what each says of itself, and how its sections are joined to one Cloud-Optimized GeoTIFF."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

from schanger_edge.files import reading, writing
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products.exchange import torn
from schanger_edge.products.rendering import rendered

SCALE = 254
"""Probability 1.0 in probability.tif; 255 is left for nodata."""
NODATA = 255
BLOCK = 256
"""Side of the files' blocks: half the memory of COG's usual 512 for all who go row of blocks by row of blocks."""
_LEAST_CACHE = 32 << 20
_LEVEL = 1
"""Of deflate: on network output, level 6 costs three times the CPU for 4 % of the bytes (23 and 6 ns per pixel)."""
STORAGE = {"compress": "deflate", "zlevel": _LEVEL, "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}


@dataclasses.dataclass(frozen=True)
class Map:
    """A map of one uint8 band.

    Attributes:
        description: of the band.
        scale: of a stored value; None where values mean themselves.
        predictor: what is compressed: 1 values, 2 differences of neighbours.
        overviews: how they are made.
    """

    description: str
    scale: float | None
    predictor: int
    overviews: Resampling


MAPS = {
    # predictor 2 makes network output 17 % smaller, and faster to write
    "probability": Map("probability of change", 1 / SCALE, 2, Resampling.average),
    # the mode costs 9 ns per pixel more, and also loses small changes
    "change": Map("change", None, 1, Resampling.nearest),
}


def describe_map(parts: Mapping[Window, Path], grid: Grid, name: str, target: Path) -> None:
    """Write a .vrt of the same pixels, which leads to the files.

    Args:
        parts: windows of the grid, and single-band uint8 rasters of their size in blocks of `BLOCK`.
        grid: of the whole.
        name: which of `MAPS` it is.
        target: file to write.
    """
    crs = None
    if grid.crs is not None:
        epsg = grid.crs.to_epsg()
        same = epsg is not None and CRS.from_epsg(epsg) == grid.crs  # a code may only be near it
        crs = f"EPSG:{epsg}" if same else grid.crs.to_wkt(version="WKT2_2019")
    about = {"map": MAPS[name], "nodata": NODATA, "block": BLOCK}
    target.write_text(rendered("map.vrt", parts=parts, grid=grid, crs=crs, **about), encoding="utf-8")


def join_map(parts: Mapping[Window, Path], grid: Grid, name: str, target: Path) -> None:
    """One Cloud-Optimized GeoTIFF of sections and their files; overviews wait in a file of their own.

    For a while the sections and the map are both on the disk; each block is decoded and encoded once more, in memory
    that GDAL's block cache bounds. The same sections give the same bytes.
    """
    whole, predictor = target.with_suffix(".vrt"), MAPS[name].predictor
    beside = whole.with_name(f"{whole.name}.ovr")
    factors = _overview_factors(grid)
    storage = {"COMPRESS_OVERVIEW": "DEFLATE", "ZLEVEL_OVERVIEW": _LEVEL, "PREDICTOR_OVERVIEW": predictor}
    storage |= {"BIGTIFF_OVERVIEW": "IF_SAFER", "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK}
    cog = {"blocksize": BLOCK, "compress": "DEFLATE", "level": _LEVEL, "bigtiff": "IF_SAFER", "num_threads": 1}
    cog |= {"predictor": "STANDARD" if predictor == 2 else "NO", "overviews": "FORCE_USE_EXISTING"}
    with writing(target), small_cache(grid.width, **storage):
        describe_map(parts, grid, name, whole)
        if factors:
            with rasterio.open(whole, "r+") as dataset:
                dataset.build_overviews(factors, MAPS[name].overviews)
            _verify(beside, grid.scaled(2), len(factors) - 1, decode=False)  # copying decodes it
        target.unlink(missing_ok=True)
        rasterio.shutil.copy(whole, target, driver="COG", **cog)
        _verify(target, grid, len(factors))
        for path in (whole, beside):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without rasterio's warning about plain images, which are allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def small_cache(width: int, **options: Any) -> rasterio.Env:
    """GDAL's environment with a cache of a few rows of blocks; without, GDAL takes 5 % of the machine's memory."""
    return rasterio.Env(GDAL_CACHEMAX=max(_LEAST_CACHE, 4 * BLOCK * width), **options)


@contextlib.contextmanager
def opened_map(path: Path, width: int = 1) -> Iterator[Any]:
    """A finished map to read, in windows of so many columns.

    Raises:
        ProductError: it could not be read.
    """
    with reading(path), quiet(), small_cache(width), rasterio.open(path) as dataset:
        yield dataset


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
            raise torn()
        for level in (None, *range(overviews)):
            one = contextlib.nullcontext(dataset) if level is None else rasterio.open(path, overview_level=level)
            with one as pixels:
                _check_blocks(dataset, level, pixels, size)
                rows = pixels.block_shapes[0][0]
                for window in Window(0, 0, pixels.width, pixels.height).rows(rows) if decode else ():
                    pixels.read(1, window=window.rasterio)


def _check_blocks(dataset: Any, level: int | None, shape_of: Any, size: int) -> None:
    block_height, block_width = shape_of.block_shapes[0]
    for row in range(-(-shape_of.height // block_height)):
        for col in range(-(-shape_of.width // block_width)):
            offset, length = (
                int(dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1, ovr=level) or 0)
                for what in ("OFFSET", "SIZE")
            )
            if not 0 < length <= size - offset or offset <= 0:
                raise torn()
