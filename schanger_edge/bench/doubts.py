"""What makes a benchmark's figures doubtful: throttling, clocks that moved, other programs, drift, interruptions."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

CLOCK, DRIFT, SPREAD, LOAD = 0.9, 0.1, 0.25, 0.5
"""Doubtful: a clock below this share of its highest, drift or spread above these, a load above this share of cores."""

Blocks = Sequence[Sequence[Mapping[str, Any]]]
"""Of each case, its rounds."""


def doubts(sittings: Sequence[Mapping[str, Any]], blocks: Blocks, unsettled: Sequence[str], cores: int) -> list[str]:
    """In sentences; empty where nothing was noticed.

    Args:
        sittings: each with the conditions `before` and `after`.
        blocks: see `speed.block`.
        unsettled: cases whose warm-up did not settle.
        cores: that the process may use.
    """
    every = [block for rounds in blocks for block in rounds]
    return [
        *_throttled(sittings, every), *_moved_clocks(every), *_drift(blocks), *_spread(blocks),
        *_load(sittings, cores), *_interrupted(sittings),
        *(f"{case} had not settled when its warm-up ended." for case in unsettled),
    ]  # fmt: skip


def _throttled(sittings: Sequence[Mapping[str, Any]], every: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    risen: dict[str, int] = {}
    for sitting in sittings:
        before = sitting["before"]["throttle_counts"]
        for name, count in sitting["after"]["throttle_counts"].items():
            risen[name] = risen.get(name, 0) + max(0, count - before.get(name, 0))
    for name, count in risen.items():
        if count:
            yield f"Throttling: {name} rose by {count} during the benchmark."
    reasons = sorted({reason for block in every for reason in block["gpu_held_down_by"]})
    if reasons:
        hit = sum(bool(block["gpu_held_down_by"]) for block in every)
        yield f"Throttling: the GPU's clock was held down in {hit} of {len(every)} blocks ({', '.join(reasons)})."


def _moved_clocks(every: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for key, name in (("cpu_mhz", "CPU"), ("gpu_mhz", "GPU")):
        seen = [block[key] for block in every if block[key] is not None]
        if seen and min(seen) < CLOCK * max(seen):
            yield f"The {name} clock moved between {min(seen):.0f} and {max(seen):.0f} MHz under load."


def _drift(blocks: Blocks) -> Iterator[str]:
    """All cases together, last round against first: what happens without a sensor that tells."""
    ratios = [_median(rounds[-1]) / _median(rounds[0]) for rounds in blocks if len(rounds) > 1]
    if ratios and abs(statistics.median(ratios) - 1) > DRIFT:
        change = statistics.median(ratios) - 1
        words = "slower: throttling, or other programs" if change > 0 else "faster: other programs at first"
        yield f"The last round was {abs(change):.0%} {words}."


def _spread(blocks: Blocks) -> Iterator[str]:
    wide = 0
    for rounds in blocks:
        medians = [_median(block) for block in rounds]
        wide += bool(medians) and max(medians) > (1 + SPREAD) * min(medians)
    if wide:
        yield (
            f"In {wide} of {len(blocks)} cases the medians of the rounds lie more than {SPREAD:.0%} apart: the machine "
            "was not quiet or not steady."
        )


def _load(sittings: Sequence[Mapping[str, Any]], cores: int) -> Iterator[str]:
    loads = [sitting["before"]["load"] for sitting in sittings if sitting["before"]["load"] is not None]
    if loads and max(loads) > LOAD * cores:
        yield f"Other programs were at work at the start: a load of {max(loads):g} on {cores} cores."


def _interrupted(sittings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(sittings) > 1:
        times = "once" if len(sittings) == 2 else f"{len(sittings) - 1} times"
        yield f"The benchmark was interrupted {times} and went on, so its rounds lie further apart."


def _median(block: Mapping[str, Any]) -> float:
    return float(statistics.median(block["latency_ms"]))
