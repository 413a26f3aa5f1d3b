"""What is read of a pair."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class PairTile:
    """One window of a pair: uint8 RGB (3, h, w) of both dates, and where both have data (h, w)."""

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    valid: NDArray[np.bool_]
