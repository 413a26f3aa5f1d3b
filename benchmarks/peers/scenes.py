"""The images that all tools are given, made from one rendered pair, and the answer of one pass over each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, reproject

from schanger_edge.model.decision import is_change

Pixels = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two GeoTIFFs of one place."""

    before: Path
    after: Path


def rewritten(source: Path, target: Path, pixels: NDArray[np.generic], **profile: object) -> Path:
    """A GeoTIFF like `source` with other pixels (C, H, W)."""
    with rasterio.open(source) as image:
        kept = image.profile
    if kept["count"] != len(pixels):
        kept.pop("photometric", None)
    with rasterio.open(target, "w", **{**kept, "dtype": pixels.dtype, "count": len(pixels), **profile}) as output:
        output.write(pixels)
    return target


def read(path: Path) -> Pixels:
    """All bands (C, H, W)."""
    with rasterio.open(path) as image:
        return image.read()


def sixteen_bits(pair: Pair, folder: Path, factor: int) -> Pair:
    """The same picture in uint16, each value times `factor`."""
    folder.mkdir()
    dates = (pair.before, pair.after)
    return Pair(*(rewritten(p, folder / p.name, read(p).astype(np.uint16) * np.uint16(factor)) for p in dates))


def stacked(pair: Pair, target: Path) -> Path:
    """Both dates as one image of six bands."""
    return rewritten(pair.before, target, np.concatenate([read(pair.before), read(pair.after)]))


def corner_without_data(pair: Pair, folder: Path) -> Pair:
    """The first date without data in the upper left quarter, as its nodata value says."""
    folder.mkdir()
    pixels = read(pair.before)
    pixels[:, : pixels.shape[1] // 2, : pixels.shape[2] // 2] = 0
    return Pair(rewritten(pair.before, folder / "before.tif", pixels, nodata=0), pair.after)


def in_another_crs(pair: Pair, folder: Path, crs: str = "EPSG:3857") -> Pair:
    """The second date on a grid of its own in another CRS, no data (0) around it."""
    folder.mkdir()
    with rasterio.open(pair.after) as image:
        transform, width, height = calculate_default_transform(image.crs, crs, image.width, image.height, *image.bounds)
        pixels = np.zeros((image.count, height, width), np.uint8)
        reproject(
            image.read(), pixels, src_transform=image.transform, src_crs=image.crs, dst_transform=transform,
            dst_crs=crs, dst_nodata=0, resampling=Resampling.bilinear,
        )  # fmt: skip
    place = {"crs": CRS.from_user_input(crs), "transform": transform, "width": width, "height": height, "nodata": 0}
    return Pair(pair.before, rewritten(pair.after, folder / "after.tif", pixels, **place))


def on_one_grid(pair: Pair) -> tuple[Pixels, Pixels, NDArray[np.bool_]]:
    """Both dates (3, H, W) on the grid of the first, by GDAL's warper, and where both have data (H, W)."""
    with rasterio.open(pair.before) as first, rasterio.open(pair.after) as second:
        grid = {"crs": first.crs, "transform": first.transform, "width": first.width, "height": first.height}
        with WarpedVRT(second, **grid, resampling=Resampling.bilinear, tolerance=0.001) as warped:
            return first.read(), warped.read(), (first.dataset_mask() > 0) & (warped.dataset_mask() > 0)


def one_pass(model: Path, *images: Pixels) -> NDArray[np.bool_]:
    """Change (H, W) as the network sees it when it takes the whole scene at once."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    (probability,) = session.run(None, {name: image[None] for name, image in zip(names, images, strict=True)})
    return is_change(probability[0, 0], 0.5)
