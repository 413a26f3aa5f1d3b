"""One date as the summary describes it."""

from __future__ import annotations

import dataclasses
from typing import Any

from schanger_edge.scene.radiometry import Scaling, Stretch
from schanger_edge.scene.validity import ValidityRule


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
