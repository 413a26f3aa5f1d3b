"""What counts as change: the one place that compares a probability with a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SchangerError


def is_change(probability: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """True where the probability is greater than the threshold, of the same shape.

    Both as float32: a probability that prints as the threshold is not change, whatever NumPy makes of mixed types.
    """
    change: NDArray[np.bool_] = np.greater(probability, np.float32(threshold))
    return change


def thresholds_passed(probability: NDArray[np.float32], thresholds: Any) -> NDArray[np.intp]:
    """How many of the ascending thresholds call a pixel change, of the same shape: `is_change` for all of them."""
    passed: NDArray[np.intp] = np.searchsorted(np.asarray(thresholds, np.float32), probability.ravel())
    return passed.reshape(probability.shape)


def check_threshold(threshold: float, kind: type[SchangerError] = SchangerError) -> None:
    """Raise an error of this kind unless the threshold is at least 0 and less than 1."""
    if not 0 <= threshold < 1:
        raise kind(f"threshold must be at least 0 and less than 1, not {threshold}.")
