"""Where an image has data: one rule, the same for plain and for reprojected reading.

A pixel has no data where all chosen bands hold the nodata value (or NaN, or infinity), where the alpha band is 0, or
where the mask band is 0. The user's nodata setting overrides whatever the file declares; NaN and infinity are never
data.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags

from schanger_edge.scene.opening import dtype_of

Nodata = float | str | None
"""`auto` (the file's declaration), None (nothing is nodata) or a value."""


@dataclasses.dataclass(frozen=True)
class ValidityRule:
    """How validity is known.

    Attributes:
        value: nodata value of the chosen bands; None where there is none.
        nan: True for floating point, where NaN and infinity are no data.
        alpha: number of the alpha band; None where there is none, or it does not count.
        mask: True where the file's mask band counts.
    """

    value: float | None
    nan: bool
    alpha: int | None
    mask: bool

    @classmethod
    def of(cls, dataset: Any, bands: Sequence[int], nodata: Nodata) -> ValidityRule:
        """The rule for these bands of an open dataset."""
        dtype = dtype_of(dataset, bands)
        floating = dtype.kind == "f"
        value = dataset.nodatavals[bands[0] - 1] if nodata == "auto" else nodata
        value = None if value is None or not math.isfinite(float(value)) else float(value)
        if value is not None and not floating and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            value = None  # no pixel can hold it, which GDAL's mask says too
        if nodata != "auto":
            return cls(value, floating, None, False)
        colors, flags = dataset.colorinterp, dataset.mask_flag_enums[bands[0] - 1]
        alpha = colors.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colors else None
        alpha = None if alpha in bands else alpha
        return cls(value, floating, alpha, MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags)

    @property
    def by_values(self) -> bool:
        """True if pixel values can mark nodata."""
        return self.value is not None or self.nan

    def of_values(self, data: NDArray[Any]) -> NDArray[np.bool_]:
        """(bands, h, w) raw -> (h, w): False only where every band is nodata."""
        empty = ~np.isfinite(data) if self.nan else np.zeros(data.shape, np.bool_)
        if self.value is not None:
            empty |= self._equal(data, self.value)
        valid: NDArray[np.bool_] = np.logical_not(empty.all(0))
        return valid

    def _equal(self, data: NDArray[Any], value: float) -> NDArray[np.bool_]:
        """True where GDAL's masks would find the value: tags of floating point are often rounded."""
        same: NDArray[np.bool_] = data == value
        if not self.nan or not value:
            return same
        limits = np.finfo(data.dtype)
        if abs(value) > limits.max / 2:  # the type's least or greatest number, with as many digits as were written
            same |= math.copysign(1.0, value) * data > limits.max / 2
            return same
        with np.errstate(invalid="ignore", over="ignore"):
            same |= np.abs(data - data.dtype.type(value)) < 4 * limits.eps * abs(value)
        return same


def differs_by_band(dataset: Any, bands: Sequence[int], nodata: Nodata) -> bool:
    """True where the bands declare different nodata values, which one `ValidityRule` cannot tell."""
    return nodata == "auto" and len({repr(dataset.nodatavals[band - 1]) for band in bands}) > 1
