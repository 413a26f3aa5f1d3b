"""From the values of a sensor to uint8: one linear stretch per scene and band, never per tile."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (1.0, 99.0)


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Values `low` and less become 0, `high` and more 255, linear between; one number per channel."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def from_samples(cls, samples: NDArray[Any]) -> Stretch:
        """Percentiles 1 and 99 of valid pixels: (3, n) raw values; NaN and infinity are left out."""
        low, high = [], []
        for channel in samples:
            values = channel[np.isfinite(channel)]
            lower, upper = np.percentile(values.astype(np.float64), PERCENTILES) if values.size else (0.0, 0.0)
            low.append(float(lower))
            high.append(float(upper if upper > lower else lower + max(1.0, abs(lower))))  # one value all over
        return cls(tuple(low), tuple(high))

    def apply(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """(3, h, w) raw values -> uint8 of the same shape; NaN becomes 0."""
        out = np.empty(raw.shape, np.uint8)
        for channel, target, low, high in zip(raw, out, self.low, self.high, strict=True):
            scaled = channel.astype(np.float32)
            scaled -= np.float32(low)
            scaled *= np.float32(255 / (high - low))
            np.nan_to_num(scaled, copy=False)
            np.clip(scaled, 0, 255, out=scaled)
            np.rint(scaled, out=scaled)
            target[...] = scaled
        return out
