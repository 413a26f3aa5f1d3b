"""What the figures of a benchmark say, and what makes them doubtful, in sentences."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

CLOCK, DRIFT, SPREAD, LOAD = 0.9, 0.1, 0.25, 0.5
"""Doubtful: a clock below this share of its highest, drift or spread above these, a load above this share of cores."""

INT8 = (
    "INT8 is not advised unless it is the fastest here: this network's speed follows its memory traffic, and as "
    "TensorRT-RTX builds it, INT8 moves more bytes than FP16."
)

Blocks = Sequence[Sequence[Row]]
"""Of each case, its rounds."""


def advice(document: Row) -> list[str]:
    """For each device: the most accurate model, the fastest, the smallest, and what a whole run keeps of the speed."""
    sentences = []
    for device in document["options"]["devices"]:
        parts = ("accuracy", "speed", "end_to_end")
        scores, speeds, whole_runs = ([row for row in document[part] if row["device"] == device] for part in parts)
        speeds = [row for row in speeds if row["megapixels_per_second"]]
        found = (_most_accurate(scores), _fastest(speeds), _least(speeds), _overhead(whole_runs, speeds))
        sentences += [f"{device}: {text}" for texts in found for text in texts]
    return sentences + [INT8] * any("int8" in model["precision"] for model in document["models"])


def _most_accurate(rows: Sequence[Row]) -> Iterator[str]:
    for name in dict.fromkeys((row["dataset"], row["split"]) for row in rows):
        here = sorted((row for row in rows if (row["dataset"], row["split"]) == name), key=lambda row: -row["f1"])
        most, least = (f"{100 * row['f1']:.1f}" for row in (here[0], here[-1]))
        if len(here) > 1 and most == least:
            words = f"F1 on {name[0]} {name[1]}: {most} with each model"
        else:
            others = f", least {here[-1]['model']} with {least}" if len(here) > 1 else ""
            words = f"highest F1 on {name[0]} {name[1]}: {here[0]['model']} with {most}{others}"
        yield f"{words} (n {here[0]['tiles']} tiles)."


def _fastest(rows: Sequence[Row]) -> Iterator[str]:
    if rows:
        first = max(rows, key=lambda row: row["megapixels_per_second"]["median"])
        rate = first["megapixels_per_second"]
        even = [_case(row) for row in rows if row is not first and row["megapixels_per_second"]["high"] >= rate["low"]]
        tied = f"; its rounds overlap with those of {', '.join(even)}, so they cannot be ranked" if even else ""
        yield f"fastest network: {_case(first)}, {rate['median']:.3g} megapixels/s (n {rate['n']} rounds){tied}."


def _least(rows: Sequence[Row]) -> Iterator[str]:
    row = min((row for row in rows if row["host_bytes"]), key=lambda row: row["host_bytes"], default=None)
    if row is not None:
        yield f"least host memory: {_case(row)}, {row['host_bytes'] / 1e6:.0f} MB (n 1)."
    known = (row for row in rows if row["joules_per_km2"])
    row = min(known, key=lambda row: row["joules_per_km2"]["median"], default=None)
    if row is not None:
        joules = row["joules_per_km2"]
        yield f"least energy: {_case(row)}, {joules['median']:.3g} J per km2 (n {joules['n']} rounds)."


def _overhead(whole_runs: Sequence[Row], rows: Sequence[Row]) -> Iterator[str]:
    """A whole run against the network alone at the batch that the run took."""
    for run in whole_runs:
        alone = next((row for row in rows if (row["model"], row["batch"]) == (run["model"], run["batch"])), None)
        if alone is not None:
            share = run["megapixels_per_second"]["median"] / alone["megapixels_per_second"]["median"]
            yield (
                f"a whole run with {run['model']}, reading, maps, polygons and report included, reaches {share:.0%} "
                f"of the network's own speed at batch {run['batch']} (n {run['seconds']['n']} runs)."
            )


def _case(row: Row) -> str:
    return f"{row['model']} at batch {row['batch']}"


def doubts(sittings: Sequence[Row], blocks: Blocks, unsettled: Sequence[str], cores: int) -> list[str]:
    """In sentences; empty where nothing was noticed.

    Sittings have the conditions `before` and `after` each; for blocks see `method.block`; `unsettled` are cases whose
    warm-up did not settle; `cores` are those that the process may use.
    """
    every = [block for rounds in blocks for block in rounds]
    found = [*_throttled(sittings, every), *_moved_clocks(every), *_drift(blocks), *_spread(blocks)]
    loads = [sitting["before"]["load"] for sitting in sittings if sitting["before"]["load"] is not None]
    if loads and max(loads) > LOAD * cores:
        found.append(f"Other programs were running at the start: load {max(loads):g} on {cores} cores.")
    if len(sittings) > 1:
        times = "once" if len(sittings) == 2 else f"{len(sittings) - 1} times"
        found.append(f"The benchmark was interrupted {times} and continued, so its rounds are further apart in time.")
    return found + [f"{case} had not settled by the end of its warm-up." for case in unsettled]


def _throttled(sittings: Sequence[Row], every: Sequence[Row]) -> Iterator[str]:
    risen: dict[str, int] = {}
    for sitting in sittings:
        before = sitting["before"]["throttle_counts"]
        for name, count in sitting["after"]["throttle_counts"].items():
            risen[name] = risen.get(name, 0) + max(0, count - before.get(name, 0))
    for name, count in risen.items():
        if count:
            yield f"Throttling: {name} increased by {count} during the benchmark."
    reasons = sorted({reason for block in every for reason in block["gpu_held_down_by"]})
    if reasons:
        hit = sum(bool(block["gpu_held_down_by"]) for block in every)
        yield f"Throttling: the GPU's clock was limited in {hit} of {len(every)} blocks ({', '.join(reasons)})."


def _moved_clocks(every: Sequence[Row]) -> Iterator[str]:
    for key, name in (("cpu_mhz", "CPU"), ("gpu_mhz", "GPU")):
        seen = [block[key] for block in every if block[key] is not None]
        if seen and min(seen) < CLOCK * max(seen):
            yield f"The {name} clock varied between {min(seen):.0f} and {max(seen):.0f} MHz under load."


def _drift(blocks: Blocks) -> Iterator[str]:
    """All cases together, last round against first: which needs no sensor."""
    ratios = [_median(rounds[-1]) / _median(rounds[0]) for rounds in blocks if len(rounds) > 1]
    change = statistics.median(ratios) - 1 if ratios else 0.0
    if abs(change) > DRIFT:
        faster = "faster: other programs were running at first"
        words = "slower: throttling, or other programs running" if change > 0 else faster
        yield f"The last round was {abs(change):.0%} {words}."


def _spread(blocks: Blocks) -> Iterator[str]:
    medians = [[_median(block) for block in rounds] for rounds in blocks if rounds]
    wide = sum(max(found) > (1 + SPREAD) * min(found) for found in medians)
    if wide:
        yield (
            f"In {wide} of {len(blocks)} cases the medians of the rounds differ by more than {SPREAD:.0%}: the "
            "machine was busy or unstable."
        )


def _median(block: Row) -> float:
    return float(statistics.median(block["latency_ms"]))
