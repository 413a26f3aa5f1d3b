"""Warnings about scenes unlike the training data."""

from __future__ import annotations

import numpy as np
import pytest

from schanger_edge.model_card import ModelCard, Normalization, Statistics
from schanger_edge.warn import model_warnings

STATISTICS = Statistics(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
CARD = ModelCard(
    name="m", size="small", dataset="d", tile=256, halo=32, threshold=0.5, gsd=0.5,
    normalization=Normalization(STATISTICS, STATISTICS),
)  # fmt: skip


def statistics(mean: float = 0.4, std: float = 0.2) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"before": (np.full(3, 0.4), np.full(3, 0.2)), "after": (np.full(3, mean), np.full(3, std))}


@pytest.mark.parametrize(("gsd", "warned"), [(0.5, 0), (0.25, 0), (1.0, 0), (0.24, 1), (1.01, 1), (5.0, 1), (None, 0)])
def test_gsd_from_half_to_double(gsd: float | None, warned: int) -> None:
    warnings = model_warnings(CARD, gsd, statistics())
    assert len(warnings) == warned
    if warned:
        assert ("--gsd 0.5" in warnings[0]) == (gsd < 2.1)
        assert ("finer images" in warnings[0]) == (gsd > 2.1)


@pytest.mark.parametrize(
    ("mean", "std", "word"),
    [(0.4, 0.2, None), (0.6, 0.15, None), (0.75, 0.2, "colours"), (0.05, 0.2, "colours"), (0.4, 0.05, "contrast")],
)
def test_colours(mean: float, std: float, word: str | None) -> None:
    warnings = model_warnings(CARD, 0.5, statistics(mean, std))
    assert len(warnings) == (word is not None)
    if word:
        assert word in warnings[0]
        assert "after image" in warnings[0]
