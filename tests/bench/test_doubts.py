"""What is flagged: each case is made up of quiet rounds with one thing wrong."""

from __future__ import annotations

from typing import Any

from schanger_edge.bench.doubts import doubts


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
    (told,) = doubts([sitting(counts=(3, 8))], QUIET, [], 2)
    assert told == "Throttling: CPU heat rose by 5 during the benchmark."


def test_a_counter_that_began_again_is_no_throttling() -> None:
    assert doubts([sitting(counts=(9, 0))], QUIET, [], 2) == []


def test_a_gpu_that_is_held_down() -> None:
    blocks = [[block(), block(held=("power cap",))], [block(), block()]]
    (told,) = doubts([sitting()], blocks, [], 2)
    assert told == "Throttling: the GPU's clock was held down in 1 of 4 blocks (power cap)."


def test_a_clock_that_moves() -> None:
    (told,) = doubts([sitting()], [[block(), block(cpu=1500), block(cpu=None)]], [], 2)
    assert told == "The CPU clock moved between 1500 and 2000 MHz under load."


def test_a_machine_that_gets_slower_without_a_sensor() -> None:
    blocks = [[block(ms * case) for ms in (10, 10, 11, 11, 12)] for case in (1, 2, 5)]
    (told,) = doubts([sitting()], blocks, [], 2)
    assert told == "The last round was 20% slower: throttling, or other programs."
    (told,) = doubts([sitting()], [rounds[::-1] for rounds in blocks], [], 2)
    assert told == "The last round was 17% faster: other programs at first."


def test_one_slow_round_in_the_middle() -> None:
    (told,) = doubts([sitting()], [*QUIET[:3], [block(), block(14), block()]], [], 2)
    assert told.startswith("In 1 of 4 cases the medians of the rounds lie more than 25% apart")


def test_load_interruption_and_warm_up() -> None:
    told = doubts([sitting(), sitting(load=1.5)], QUIET, ["cpu, m, batch 8"], 2)
    assert told == [
        "Other programs were at work at the start: a load of 1.5 on 2 cores.",
        "The benchmark was interrupted once and went on, so its rounds lie further apart.",
        "cpu, m, batch 8 had not settled when its warm-up ended.",
    ]
    assert doubts([sitting(load=0.9)], QUIET, [], 2) == []
