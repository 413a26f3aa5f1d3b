"""What counts as change."""

from __future__ import annotations

import numpy as np
import pytest

from schanger_edge.errors import ModelError, SchangerError
from schanger_edge.model.decision import check_threshold, is_change, thresholds_passed


@pytest.mark.parametrize("kind", [float, np.float32, np.float64])
def test_a_probability_that_equals_the_threshold_is_no_change(kind: type) -> None:
    """0.3 and 0.7 as float32 are greater, and less, than as float64."""
    for threshold in (0.3, 0.7):
        exact = np.float32(threshold)
        less, more = (np.nextafter(exact, np.float32(limit)) for limit in (0, 1))
        probability = np.array([[less, exact, more, np.nan]], np.float32)
        assert is_change(probability, kind(threshold)).tolist() == [[False, False, True, False]]


def test_many_thresholds_decide_as_each_does_alone() -> None:
    thresholds = np.unique(np.array([k / 100 for k in range(101)], np.float32))
    rng = np.random.default_rng(0)
    probability = np.concatenate([rng.random(500, np.float32), thresholds]).reshape(1, -1)
    passed = thresholds_passed(probability, thresholds)
    assert passed.shape == probability.shape
    assert (passed == sum(is_change(probability, float(threshold)).astype(int) for threshold in thresholds)).all()


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 2.0, float("nan"), float("inf")])
def test_range(threshold: float) -> None:
    for kind in (SchangerError, ModelError):
        with pytest.raises(kind, match=r"^threshold must be at least 0 and less than 1, not "):
            check_threshold(threshold, kind)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.999])
def test_allowed(threshold: float) -> None:
    check_threshold(threshold)
