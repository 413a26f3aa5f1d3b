"""Opening two images as a pair: whether they fit, whose grid they take, and what is said of them."""

from __future__ import annotations

from os import PathLike
from typing import Any

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Grid
from schanger_edge.scene.comparing import check_comparable, datum_operation, datum_warnings, overlap_share
from schanger_edge.scene.image import SceneImage
from schanger_edge.scene.opening import DESCRIPTIONS, MOST_SIDE
from schanger_edge.scene.options import PairOptions
from schanger_edge.scene.pair import Pair
from schanger_edge.scene.remote import public_name
from schanger_edge.scene.vectors import Polygons


def open_pair(
    before: str | PathLike[str],
    after: str | PathLike[str],
    options: PairOptions | None = None,
    *,
    threads: int = 1,
    **keywords: Any,
) -> Pair:
    """Open two images of one place and put them on one grid.

    Args:
        before: image of the first date; anything GDAL opens, also URLs and /vsi paths.
        after: image of the second date.
        options: how they are read, see `PairOptions`.
        threads: that decode and reproject each date.
        keywords: any option of `PairOptions` by name, such as `gsd=0.5`.

    Raises:
        SceneError: an image cannot be opened, the two cannot be brought onto one grid, or the area misses them.
    """
    options = (options or PairOptions()).replace(**keywords)
    reading, radiometry, clip = options.reading, options.radiometry, options.area
    images: list[SceneImage] = []
    try:
        for path, masks in ((before, reading.valid_masks_before), (after, reading.valid_masks_after)):
            images.append(
                SceneImage(str(path), reading.bands, reading.nodata, threads, list(masks), options.opening.formats)
            )
        first, second = images
        target, other = (first, second) if reading.grid == "before" else (second, first)
        check_comparable(target, other)
        common = _resampled(target.grid, reading.gsd)
        overlap = overlap_share(common, other)
        area = None if clip.clip is None else _area_of_interest(clip.clip, common, clip.clip_layer)
        for image in images:
            image.heed_sentinel()
            image.place_on(common)
            image.take_stretch(radiometry.stretch)
        pair = Pair(first, second, common, overlap, owner=reading.grid, clip=area, threads=threads)
        pair.operation = datum_operation(common, other.grid)
        pair.doubts += datum_warnings(other.name, pair.operation, common.gsd)
        pair.notes += [note for image in images for note in _stretch_notes(image)]
        pair.notes += [note for image in images for note in _description_notes(image)]
        if radiometry.match:
            pair.match()
        return pair
    except BaseException:
        for image in images:
            image.close()
        raise


def _description_notes(image: SceneImage) -> list[str]:
    driver = image.info().driver
    if driver not in DESCRIPTIONS:
        return []
    return [f"{image.name} is a mere description ({driver}) of pixels that lie in other files, or on other machines."]


def _stretch_notes(image: SceneImage) -> list[str]:
    if image.stretch is None or image.stretch.kind != "none":
        return []
    return [
        f"{image.name} has {image.dtype} values, used as 0 to 255: they are rounded, and {image.clipped_share():.1%} "
        "of them are out of range and clipped."
    ]


def _resampled(grid: Grid, gsd: float | None) -> Grid:
    if gsd is None:
        return grid
    if grid.gsd is None:
        raise SceneError("--gsd needs georeferenced images: these have no CRS.")
    if max(grid.width, grid.height) * grid.gsd / gsd > MOST_SIDE:
        raise SceneError(
            f"--gsd {gsd:g} gives a grid of more than {MOST_SIDE} pixels per side: it must be in metres per pixel."
        )
    return grid.scaled(gsd / grid.gsd)


def _area_of_interest(path: str, grid: Grid, layer: str | None) -> Polygons:
    if grid.crs is None:
        name = public_name(path)
        raise SceneError(f"{name} cannot be placed on images without a CRS: set theirs with gdal_edit -a_srs.")
    area = Polygons(path, grid, layer)
    if not area.count:
        raise SceneError(f"{area.name} has no polygons: draw the area of interest, or omit --clip.")
    if not area.meets:
        raise SceneError(f"{area.name} has no polygon within the images: check its CRS and location.")
    return area
