"""What a benchmark says in words."""

from __future__ import annotations

from typing import Any

import pytest

from schanger_edge.bench.advice import advice


def document(*scores: float) -> dict[str, Any]:
    accuracy = [
        {"device": "cpu", "model": f"m{number}", "dataset": "levir-cd", "split": "val", "f1": f1, "tiles": 32}
        for number, f1 in enumerate(scores)
    ]
    return {"options": {"devices": ["cpu"]}, "accuracy": accuracy, "speed": [], "end_to_end": []}


def speed(model: str, median: float, low: float, high: float) -> dict[str, Any]:
    rate = {"median": median, "low": low, "high": high, "n": 5}
    return {
        "device": "cpu", "model": model, "batch": 1, "megapixels_per_second": rate, "host_bytes": None,
        "joules_per_km2": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.802, 0.8051), "cpu: highest F1 on levir-cd val: m1 with 80.5, least m0 with 80.2 (n 32 tiles)."),
        ((0.8069, 0.8070), "cpu: F1 on levir-cd val: 80.7 with each model (n 32 tiles)."),
        ((0.8069,), "cpu: highest F1 on levir-cd val: m0 with 80.7 (n 32 tiles)."),
    ],
)
def test_a_difference_that_is_not_shown_is_none(scores: tuple[float, ...], said: str) -> None:
    assert advice(document(*scores)) == [said]


def test_the_fastest_and_those_that_are_not_told_apart() -> None:
    rows = [speed("a", 2.0, 1.8, 2.2), speed("b", 1.9, 1.7, 2.0), speed("c", 1.0, 0.9, 1.1)]
    assert advice({**document(), "speed": rows}) == [
        "cpu: fastest network: a at batch 1, 2 megapixels/s (n 5 rounds); its rounds overlap with those of b at batch "
        "1, so these are not told apart."
    ]
