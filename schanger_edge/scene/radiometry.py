"""From the values of a sensor to uint8: one linear stretch per scene and band, never per tile."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from schanger_edge.errors import SceneError

PERCENTILES = (1.0, 99.0)
SMALL_TYPES = ("int8", "uint8", "int16", "uint16", "float32")  # float32 holds their values exactly

StretchChoice = Literal["percentiles", "none"] | Sequence[float]
"""`percentiles` of each date (uint8 stays as it is), `none` (values are 0 to 255), or (MIN, MAX) for both dates."""


def stored_black(dataset: Any) -> float | None:
    """The stored value of black, where an open dataset stores white as 0 (TIFF's MINISWHITE); else None.

    A palette says what its indices mean itself.
    """
    if dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") != "YES" or dataset.dtypes[0] not in ("uint8", "uint16"):
        return None
    if ColorInterp.palette in dataset.colorinterp:
        return None
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "")
    return float((1 << (int(bits) if bits.isdigit() else 8 * np.dtype(dataset.dtypes[0]).itemsize)) - 1)


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Physical value = stored value x scale + offset, as the file declares for each channel; 1 and 0 by default."""

    scales: tuple[float, ...]
    offsets: tuple[float, ...]

    @classmethod
    def of(cls, dataset: Any, bands: Sequence[int]) -> Scaling:
        """The tags of these bands of an open dataset; impossible values count as not declared.

        Where white is stored as 0, the physical value is what is missing to the greatest one.
        """
        scales, offsets = ([float(values[band - 1]) for band in bands] for values in (dataset.scales, dataset.offsets))
        if not all(map(math.isfinite, (*scales, *offsets))) or 0 in scales:
            scales, offsets = [1.0] * len(scales), [0.0] * len(scales)
        white = stored_black(dataset)
        if white is not None and set(scales) == {1.0} and set(offsets) == {0.0}:
            scales, offsets = [-1.0] * len(scales), [white] * len(scales)
        return cls(tuple(scales), tuple(offsets))


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Stored values from `low` (becomes 0) to `high` (255), linear between and clipped beyond; one per channel.

    Where a file's scale is negative, `low` is the greater number.
    """

    kind: Literal["percentiles", "none", "limits", "inverted"]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def from_samples(
        cls, samples: NDArray[Any], scales: Sequence[float] = (1.0, 1.0, 1.0), nodata: float | None = None
    ) -> Stretch:
        """Percentiles 1 and 99 of valid pixels: (3, n) stored values; nodata, NaN and infinity are left out."""
        low, high = [], []
        for channel, scale in zip(samples, scales, strict=True):
            values = channel[np.isfinite(channel) & (channel != nodata)]
            lower, upper = np.percentile(values.astype(np.float64), PERCENTILES) if values.size else (0.0, 0.0)
            upper = upper if upper > lower else lower + max(1.0, abs(lower))  # one value all over
            darkest, brightest = (lower, upper) if scale > 0 else (upper, lower)
            low.append(float(darkest))
            high.append(float(brightest))
        return cls("percentiles", tuple(low), tuple(high))

    @classmethod
    def between(cls, limits: Sequence[float], scaling: Scaling) -> Stretch:
        """From two physical values."""
        channels = list(zip(scaling.scales, scaling.offsets, strict=True))
        low, high = (tuple((limit - offset) / scale for scale, offset in channels) for limit in limits)
        return cls("limits", low, high)

    @classmethod
    def none(cls, black: float | None = None) -> Stretch:
        """Values are rounded and clipped to 0-255; `black` is the stored one of black, where white is 0."""
        if black is not None:
            return cls("inverted", (black,) * 3, (black - 255,) * 3)
        return cls("none", (0.0,) * 3, (255.0,) * 3)

    def apply(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """(3, h, w) stored values -> uint8 of the same shape; NaN becomes 0."""
        if raw.dtype != np.uint16:
            return self._computed(raw)
        out = np.empty(raw.shape, np.uint8)
        for channel, target, table in zip(raw, out, self._table, strict=True):
            np.take(table, channel, out=target, mode="clip")  # without "clip" numpy copies first
        return out

    @functools.cached_property
    def _table(self) -> NDArray[np.uint8]:
        """(3, 65536): looking up takes a third of the time of computing, and uint16 is what satellites send."""
        return self._computed(np.broadcast_to(np.arange(1 << 16, dtype=np.uint16), (3, 1 << 16)))

    def _computed(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        out = np.empty(raw.shape, np.uint8)
        working = np.float32 if raw.dtype.name in SMALL_TYPES else np.float64
        for channel, target, low, high in zip(raw, out, self.low, self.high, strict=True):
            scaled = channel.astype(working)
            with np.errstate(over="ignore", invalid="ignore"):  # of values without data
                scaled -= working(low)
                scaled *= working(255 / (high - low))
            np.nan_to_num(scaled, copy=False)
            np.clip(scaled, 0, 255, out=scaled)
            np.rint(scaled, out=scaled)
            target[...] = scaled
        return out


def check_stretch(choice: StretchChoice) -> None:
    """Raise a SceneError where it is no choice."""
    if isinstance(choice, str):
        if choice not in ("percentiles", "none"):
            raise SceneError(f"stretch must be percentiles, none or two numbers MIN,MAX, not {choice!r}.")
    elif len(choice) != 2 or not all(map(math.isfinite, choice)) or not choice[0] < choice[1]:
        text = ",".join(f"{limit:g}" for limit in choice)
        raise SceneError(f"stretch must be two numbers MIN,MAX with MIN below MAX, not {text}.")
