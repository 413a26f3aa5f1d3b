"""Warnings about scenes unlike the training data."""

from __future__ import annotations

import numpy as np
import pytest

from schanger_edge.model.card import ModelCard, Normalization, Statistics
from schanger_edge.run.model_fit import model_warnings

STATISTICS = Statistics(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
CARD = ModelCard(
    name="m", size="small", dataset="d", tile=256, halo=32, threshold=0.5, gsd=0.5,
    normalization=Normalization(STATISTICS, STATISTICS),
)  # fmt: skip


SIZE = (256, 300)


def statistics(mean: float = 0.4, std: float = 0.2) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"before": (np.full(3, 0.4), np.full(3, 0.2)), "after": (np.full(3, mean), np.full(3, std))}


@pytest.mark.parametrize(
    ("gsd", "before", "after", "words"),
    [
        (0.5, 0.5, 0.5, []),
        (0.25, 0.25, 1.0, []),
        (1.0, 1.0, 0.25, []),
        (None, None, None, []),
        (0.24, 0.24, 0.24, ["--gsd 0.5"]),
        (1.01, 1.01, 1.01, ["--gsd 0.5"]),
        (5.0, 5.0, 5.0, ["the before image has 5 m", "the after image has 5 m"]),
        (0.5, 5.0, 5.0, ["the before image has 5 m", "the after image has 5 m"]),  # --gsd hides nothing
        (0.5, 0.5, 10.0, ["the after image has 10 m"]),
        (0.5, 1.1, 0.5, ["the before image has 1.1 m"]),
    ],
)
def test_scale_from_half_to_double(
    gsd: float | None, before: float | None, after: float | None, words: list[str]
) -> None:
    warnings = model_warnings(CARD, CARD.tile, SIZE, gsd, {"before": before, "after": after}, statistics())
    assert len(warnings) == len(words)
    for warning, word in zip(warnings, words, strict=True):
        assert word in warning
        assert ("--gsd" in warning) == (word == "--gsd 0.5")


@pytest.mark.parametrize(
    ("mean", "std", "word"),
    [(0.4, 0.2, None), (0.6, 0.15, None), (0.75, 0.2, "colours"), (0.05, 0.2, "colours"), (0.4, 0.05, "contrast")],
)
def test_colours(mean: float, std: float, word: str | None) -> None:
    warnings = model_warnings(CARD, CARD.tile, SIZE, 0.5, {}, statistics(mean, std))
    assert len(warnings) == (word is not None)
    if word:
        assert word in warnings[0]
        assert "after image" in warnings[0]


@pytest.mark.parametrize(("size", "small"), [((256, 256), False), ((255, 256), True), ((900, 100), True)])
def test_a_scene_smaller_than_a_tile(size: tuple[int, int], small: bool) -> None:
    warnings = model_warnings(CARD, CARD.tile, size, 0.5, {}, statistics())
    assert len(warnings) == small
    if small:
        assert f"{size[1]} x {size[0]} pixels, the model sees 256 x 256 at once" in warnings[0]
