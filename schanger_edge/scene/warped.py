"""One image reprojected to a grid while it is read: GDAL's WarpedVRT, with our rule of validity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from schanger_edge.geo.crs import transformer
from schanger_edge.geo.grid import Grid, Window, toward
from schanger_edge.scene.opening import band_subset
from schanger_edge.scene.validity import ValidityRule

SHARED = {"WARP_THREAD_CHUNK_SIZE": 16384}
"""Pixels per additional warping thread. GDAL's default of 65,536 is a whole block of a warped image, so it would never
use a second thread."""
WARP_TOLERANCE = 0.02  # pixels of error allowed in the approximated reprojection
QUARTERS = np.array([0.25, 0.5, 0.75])  # of a side: where the scale is taken
MOST_UNLIKE = 1.5  # times that it may vary over a scene and still be one
PLANE = CRS.from_epsg(3857)  # stands for the unknown plane of two images that have a transform and no CRS


class WarpedImage:
    """Reprojection of some bands of an open dataset.

    Args:
        dataset: an open rasterio dataset.
        source: its grid.
        bands: of red, green, blue, or fewer.
        rule: where it has data.
        target: the grid to read on.
        resampling: bilinear, or nearest for what must not be mixed.
        threads: that resample.

    Attributes:
        target: see above.

    Raises:
        rasterio.errors.RasterioError and GDAL's own: the reprojection is not possible.
    """

    def __init__(
        self,
        dataset: Any,
        source: Grid,
        bands: tuple[int, ...],
        rule: ValidityRule,
        target: Grid,
        *,
        resampling: Resampling = Resampling.bilinear,
        threads: int = 1,
    ) -> None:
        self.target, self._rule, source = target, rule, toward(source, target)
        self._opened: list[Any] = []
        chosen = sorted(set(bands))
        place = {"src_crs": source.crs or PLANE, "src_transform": source.transform, **_scale(source, target)}
        place |= {"crs": target.crs or PLANE, "transform": target.transform}
        place |= {"width": target.width, "height": target.height, "resampling": resampling}
        place |= {"tolerance": WARP_TOLERANCE, "warp_mem_limit": 64, "NUM_THREADS": threads}
        place |= {"UNIFIED_SRC_NODATA": "YES"}

        def warp(from_dataset: Any, nodata: float | None) -> WarpedVRT:
            has_alpha = ColorInterp.alpha in from_dataset.colorinterp
            vrt = WarpedVRT(from_dataset, src_nodata=nodata, nodata=nodata, add_alpha=not has_alpha, **place)
            self._opened.append(vrt)
            return vrt

        hiding = str(rule.alpha) if rule.alpha else f"mask,{bands[0]}" if rule.mask else None
        if hiding and rule.value is None:
            self._vrt, self._bands = warp(dataset, None), bands
            return
        # Only the chosen bands decide. GDAL honours either alpha or nodata, so pixels hidden by alpha become nodata.
        subset = band_subset(dataset, chosen, hiding, rule.value)
        self._opened.append(subset)
        self._vrt = warp(subset, rule.value if rule.value is not None else math.nan if rule.nan else None)
        self._bands = tuple(chosen.index(band) + 1 for band in bands)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Raw values (bands, h, w) and validity (h, w) of a window of the target grid."""
        bands = [*self._bands, self._vrt.colorinterp.index(ColorInterp.alpha) + 1]
        with rasterio.Env(**SHARED):
            data = self._vrt.read(bands, window=window.rasterio)
        values, valid = data[:-1], data[-1] > 0
        if self._rule.nan:  # GDAL knows one nodata value; NaN and infinity beside it pass through
            valid &= self._rule.of_values(values)
        return values, valid

    def close(self) -> None:
        """Close what was opened."""
        while self._opened:
            self._opened.pop().close()


def _scale(source: Grid, target: Grid) -> dict[str, float]:
    """Target pixels per source pixel along the source's columns and rows; empty if the scale varies over the scene.

    GDAL would estimate it anew for each block from bounding boxes. Where the grids are rotated against each other these
    are too large, which blurs the image, differently in each window, and costs twice the time.
    """
    from pyproj.exceptions import ProjError

    cols, rows = np.meshgrid(target.width * QUARTERS, target.height * QUARTERS)
    points = [target.xy(cols + dx, rows + dy) for dx, dy in ((0, 0), (1, 0), (0, 1))]
    xs, ys = (np.array(part) for part in zip(*points, strict=True))
    if source.crs != target.crs:
        try:
            to_source = transformer(target.crs, source.crs)
        except ProjError:
            return {}
        xs, ys = to_source.transform(xs, ys)  # infinity where a point cannot be projected
    with np.errstate(invalid="ignore"):
        dx, dy = xs[1:] - xs[0], ys[1:] - ys[0]
        if source.crs is not None and source.crs.is_geographic:
            dx = (dx + 180) % 360 - 180  # across the antimeridian
        inverse = ~source.transform
        steps = [np.hypot(*(a * dx + b * dy)) for a, b in ((inverse.a, inverse.b), (inverse.d, inverse.e))]
    if not all(np.isfinite(step).all() and 0 < step.max() <= MOST_UNLIKE * step.min() for step in steps):
        return {}
    return {"XSCALE": 1 / float(np.median(steps[0])), "YSCALE": 1 / float(np.median(steps[1]))}
