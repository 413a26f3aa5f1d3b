"""What a benchmark says in words, and what it flags: quiet rounds with one thing wrong."""

from __future__ import annotations

from typing import Any

import pytest

from schanger_edge.bench.findings import INT8, advice, doubts


def document(*scores: float) -> dict[str, Any]:
    accuracy = [
        {"device": "cpu", "model": f"m{number}", "dataset": "levir-cd", "split": "val", "f1": f1, "tiles": 32}
        for number, f1 in enumerate(scores)
    ]
    return {"options": {"devices": ["cpu"]}, "models": [], "accuracy": accuracy, "speed": [], "end_to_end": []}


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


@pytest.mark.parametrize(("precision", "said"), [("fp16", False), ("int8", True), ("int8+fp16", True)])
def test_int8_is_not_advised(precision: str, said: bool) -> None:
    assert advice({**document(), "models": [{"precision": "fp32"}, {"precision": precision}]}) == [INT8] * said


def test_the_fastest_and_those_that_are_not_told_apart() -> None:
    rows = [speed("a", 2.0, 1.8, 2.2), speed("b", 1.9, 1.7, 2.0), speed("c", 1.0, 0.9, 1.1)]
    assert advice({**document(), "speed": rows}) == [
        "cpu: fastest network: a at batch 1, 2 megapixels/s (n 5 rounds); its rounds overlap with those of b at batch "
        "1, so they cannot be ranked."
    ]


def sitting(load: float = 0.1, counts: tuple[int, int] = (3, 3)) -> dict[str, Any]:
    before, after = ({"load": load, "throttle_counts": {"CPU heat": count}} for count in counts)
    return {"before": before, "after": after}


def block(milliseconds: float = 10.0, cpu: float | None = 2000, held: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"latency_ms": [milliseconds] * 3, "cpu_mhz": cpu, "gpu_mhz": None, "gpu_held_down_by": list(held)}


QUIET = [[block() for _ in range(5)] for _ in range(4)]


def test_a_quiet_machine_raises_no_doubt() -> None:
    assert doubts([sitting()], QUIET, [], 2) == []
    assert doubts([sitting()], [], [], 2) == []


def test_throttling_that_is_counted() -> None:
    (doubt,) = doubts([sitting(counts=(3, 8))], QUIET, [], 2)
    assert doubt == "Throttling: CPU heat increased by 5 during the benchmark."


def test_a_counter_that_began_again_is_no_throttling() -> None:
    assert doubts([sitting(counts=(9, 0))], QUIET, [], 2) == []


def test_a_gpu_that_is_held_down() -> None:
    blocks = [[block(), block(held=("power cap",))], [block(), block()]]
    (doubt,) = doubts([sitting()], blocks, [], 2)
    assert doubt == "Throttling: the GPU's clock was limited in 1 of 4 blocks (power cap)."


def test_a_clock_that_moves() -> None:
    (doubt,) = doubts([sitting()], [[block(), block(cpu=1500), block(cpu=None)]], [], 2)
    assert doubt == "The CPU clock varied between 1500 and 2000 MHz under load."


def test_a_machine_that_gets_slower_without_a_sensor() -> None:
    blocks = [[block(ms * case) for ms in (10, 10, 11, 11, 12)] for case in (1, 2, 5)]
    (doubt,) = doubts([sitting()], blocks, [], 2)
    assert doubt == "The last round was 20% slower: throttling, or other programs running."
    (doubt,) = doubts([sitting()], [rounds[::-1] for rounds in blocks], [], 2)
    assert doubt == "The last round was 17% faster: other programs were running at first."


def test_one_slow_round_in_the_middle() -> None:
    (doubt,) = doubts([sitting()], [*QUIET[:3], [block(), block(14), block()]], [], 2)
    assert doubt.startswith("In 1 of 4 cases the medians of the rounds differ by more than 25%")


def test_load_interruption_and_warm_up() -> None:
    found = doubts([sitting(), sitting(load=1.5)], QUIET, ["cpu, m, batch 8"], 2)
    assert found == [
        "Other programs were running at the start: load 1.5 on 2 cores.",
        "The benchmark was interrupted once and continued, so its rounds are further apart in time.",
        "cpu, m, batch 8 had not settled by the end of its warm-up.",
    ]
    assert doubts([sitting(load=0.9)], QUIET, [], 2) == []
