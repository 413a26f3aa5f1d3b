"""Confusion counts and the scores made of them."""

from __future__ import annotations

import numpy as np
import pytest

from schanger_edge.evaluation.scores import Counts


def test_counts_by_hand() -> None:
    change = np.array([[1, 1, 0, 0, 1]], bool)
    label = np.array([[1, 0, 1, 0, 1]], bool)
    counts = Counts.of(change, label)
    assert counts == Counts(2, 1, 1, 1)
    assert counts.f1 == pytest.approx(4 / 6)
    assert counts.precision == pytest.approx(2 / 3)
    assert counts.recall == pytest.approx(2 / 3)
    assert counts.iou == pytest.approx(2 / 4)
    assert counts.accuracy == pytest.approx(3 / 5)


def test_invalid_pixels_do_not_count() -> None:
    change, label = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    valid = np.array([[1, 0], [0, 1]], bool)
    assert Counts.of(change, label, valid) == Counts(0, 2, 0, 0)


def test_counts_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    change, label = rng.random((2, 40, 30)) > 0.7
    parts = Counts()
    for row in range(0, 40, 7):
        parts += Counts.of(change[row : row + 7], label[row : row + 7])
    assert parts == Counts.of(change, label)
    assert parts.total == 1200


def test_nothing_at_all_scores_zero() -> None:
    assert Counts().f1 == 0
    assert Counts().accuracy == 0
