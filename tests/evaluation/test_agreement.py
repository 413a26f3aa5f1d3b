"""Agreement of two models: hand-made maps with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from schanger_edge.evaluation.agreement import Agreement

A = np.array([[0.9, 0.9], [0.1, 0.1]], np.float32)
B = np.array([[0.9, 0.4], [0.1, 0.2]], np.float32)
LABEL = np.array([[True, True], [False, False]])


def test_differences_and_maps() -> None:
    found = Agreement()
    mean = found.add(A, B, LABEL)
    assert mean == pytest.approx(0.15)
    assert found.mean_difference == pytest.approx(0.15)
    assert found.largest == pytest.approx(0.5)
    assert found.agreement == 0.75
    assert found.f1_against_reference == pytest.approx(2 / 3)
    assert found.labelled
    assert found.f1_loss == pytest.approx(100 * (1 - 2 / 3))


def test_tiles_add_up() -> None:
    found = Agreement()
    found.add(A, B, LABEL)
    found.add(A, A, LABEL)
    assert (found.tiles, found.pixels) == (2, 8)
    assert found.mean_difference == pytest.approx(0.075)
    assert found.f1_loss == pytest.approx(100 * (1 - 6 / 7))


def test_without_a_label_the_reference_is_the_measure() -> None:
    found = Agreement()
    found.add(A, B, LABEL)
    found.add(A, A, None)
    assert not found.labelled
    assert found.f1_loss == pytest.approx(100 * (1 - 6 / 7))
    assert found.as_dict()["f1_loss_against"] == "the reference's own map"


def test_labels_without_change_are_no_measure() -> None:
    found = Agreement()
    found.add(A, A, np.zeros((2, 2), bool))
    assert not found.labelled
    assert found.f1_loss == 0


def test_what_labels_hide_the_own_map_shows() -> None:
    """One pixel turns right and one wrong: nothing is lost against labels, half of the map has changed."""
    label = np.array([[True, True], [False, False]])
    mine, theirs = np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([[0.1, 0.9], [0.9, 0.1]])
    found = Agreement()
    found.add(mine.astype(np.float32), theirs.astype(np.float32), label)
    assert found.f1_loss == 0
    assert found.worst_f1_loss == pytest.approx(50)


def test_each_has_its_threshold() -> None:
    found = Agreement()
    found.add(A, B, LABEL, (0.5, 0.3))
    assert found.agreement == 1


def test_no_change_anywhere_agrees() -> None:
    found = Agreement()
    found.add(A * 0, B * 0, None)
    assert found.f1_against_reference == 1
