"""How times are taken, in words and in arithmetic: warm-up until stable, rounds over all cases, medians with spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, TypeVar

ROUNDS = 5
REPETITIONS = 100
"""Timed calls of a case, over all rounds; the fewest that tell a 99th percentile."""
BLOCK_SECONDS = 1.0
"""A block goes on for at least so long, so that clocks, power and fast devices are seen at work."""
PAIR_RUNS = 3
WINDOW, SETTLED, WARM_CALLS, WARM_SECONDS = 3, 0.05, 20, 30.0
PERCENTILES = (50, 95, 99)

METHOD = (
    f"Warm-up: each case (device, model, batch) is called until the medians of its last two windows of {WINDOW} calls "
    f"differ by less than {SETTLED:.0%}, for at most {WARM_CALLS} calls or {WARM_SECONDS:.0f} s; a case that did not "
    "settle is flagged.",
    f"Interleaving: all sessions are open at once, and {ROUNDS} rounds go over all cases, each round in another order, "
    "so that a slow minute of the machine hits all of them. A case's turn is a block: one call that is not counted, "
    f"then an equal share of the repetitions, and at least {BLOCK_SECONDS:g} s.",
    "Latency: milliseconds of one call, from uint8 arrays of both dates in host memory to the probability in host "
    "memory. Percentiles are by nearest rank over all n timed calls; one that n cannot tell (p95 below 20, p99 below "
    "100 calls) is not given. The range behind p50 is that of the medians of the rounds.",
    "Network alone: megapixels of scene per second, that is of the pixels that tiles own (tile minus twice the halo, "
    "squared), with as many batches under way as the engine takes; median of the rounds, with their range.",
    "End to end: schanger-edge run on the pair with all its products and the engine's own batch, opening the model "
    "included; one run that is not counted fills the disk cache, then the models take turns. km2 follow from the GSD "
    "of the pair's grid, for the network alone from --gsd or the model's own.",
    "Peak memory: of a fresh process that loads the model and runs three batches, Python and all libraries included; "
    "on the GPU, by how much its used memory grew meanwhile.",
    "Energy: what the sensors counted during the blocks and during the runs, idle power included, for as much ground.",
    "Accuracy: schanger-edge evaluate, the official protocol: tiles without overlap, change = probability > 0.5, one "
    "confusion matrix over the whole split.",
)
"""What stands in every result."""

_Case = TypeVar("_Case")


def order(cases: Sequence[_Case], number: int) -> list[_Case]:
    """The cases in the order of one round: each begins elsewhere, every other goes backwards."""
    start, step = number * len(cases) // ROUNDS, -1 if number % 2 else 1
    return [cases[(start + step * k) % len(cases)] for k in range(len(cases))]


def settled(times: Sequence[float]) -> bool:
    """Whether the latest calls take as long as those before them."""
    if len(times) < 2 * WINDOW:
        return False
    now, before = statistics.median(times[-WINDOW:]), statistics.median(times[-2 * WINDOW : -WINDOW])
    return abs(now - before) < SETTLED * before


def percentile(times: Sequence[float], percent: int) -> float | None:
    """By nearest rank; None where there are too few values to tell it."""
    if len(times) * (100 - percent) < 100 and percent > 50:
        return None
    return sorted(times)[max(0, math.ceil(len(times) * percent / 100) - 1)]


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Median, range and number of values; None of none."""
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}
