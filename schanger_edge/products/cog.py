"""From a finished GeoTIFF to a Cloud-Optimized one: directories first, then overviews, then full resolution."""

from __future__ import annotations

from pathlib import Path

import rasterio.shutil


def to_cog(source: Path, target: Path, *, block: int, level: int, predictor: bool, threads: int = 1) -> None:
    """Copy a GeoTIFF, with the overviews it has, by GDAL's COG driver.

    Pixels, overviews, nodata, scale and description stay; the same source gives the same bytes. Each block is
    decoded and encoded once more, in memory that GDAL's block cache bounds, and for a while both files are on the disk.
    GDAL does not say so where a full disk tears the copy: check it.

    Args:
        source: the GeoTIFF.
        target: the file to write; replaced where it exists.
        block: side of the blocks in pixels.
        level: of deflate, 1-9.
        predictor: differences of neighbours are compressed, not values.
        threads: threads that compress.

    Raises:
        rasterio.errors.RasterioError, OSError: the source cannot be read, or the target not be written.
    """
    target.unlink(missing_ok=True)
    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        blocksize=block,
        compress="DEFLATE",
        level=level,
        predictor="STANDARD" if predictor else "NO",
        overviews="FORCE_USE_EXISTING",
        bigtiff="IF_SAFER",
        num_threads=threads,
    )
