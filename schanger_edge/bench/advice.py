"""What the tables say, in a few sentences: which model and batch to fly with, and what is not told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def advice(document: Row) -> list[str]:
    """For each device: most accurate, fastest, least memory, least energy, and what a whole run keeps of the speed."""
    sentences = []
    for device in document["options"]["devices"]:
        rows = {key: [row for row in document[key] if row["device"] == device]
                for key in ("accuracy", "speed", "end_to_end")}  # fmt: skip
        measured = [row for row in rows["speed"] if row["megapixels_per_second"]]
        found = [
            *_most_accurate(rows["accuracy"]), *_fastest(measured), *_least(measured), *_overhead(rows, measured),
        ]  # fmt: skip
        sentences += [f"{device}: {text}" for text in found]
    return sentences


def _most_accurate(rows: Sequence[Row]) -> list[str]:
    found = []
    for name in dict.fromkeys((row["dataset"], row["split"]) for row in rows):
        here = sorted((row for row in rows if (row["dataset"], row["split"]) == name), key=lambda row: -row["f1"])
        most, least = (f"{100 * row['f1']:.1f}" for row in (here[0], here[-1]))
        if len(here) > 1 and most == least:
            told = f"F1 on {name[0]} {name[1]}: {most} with each model"
        else:
            others = f", least {here[-1]['model']} with {least}" if len(here) > 1 else ""
            told = f"highest F1 on {name[0]} {name[1]}: {here[0]['model']} with {most}{others}"
        found.append(f"{told} (n {here[0]['tiles']} tiles).")
    return found


def _fastest(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    first = max(rows, key=lambda row: row["megapixels_per_second"]["median"])
    rate = first["megapixels_per_second"]
    even = [_case(row) for row in rows if row is not first and row["megapixels_per_second"]["high"] >= rate["low"]]
    tied = f"; its rounds overlap with those of {', '.join(even)}, so these are not told apart" if even else ""
    return [f"fastest network: {_case(first)}, {rate['median']:.3g} megapixels/s (n {rate['n']} rounds){tied}."]


def _least(rows: Sequence[Row]) -> list[str]:
    found = []
    known = [row for row in rows if row["host_bytes"]]
    if known:
        row = min(known, key=lambda row: row["host_bytes"])
        found.append(f"least host memory: {_case(row)}, {row['host_bytes'] / 1e6:.0f} MB (n 1).")
    known = [row for row in rows if row["joules_per_km2"]]
    if known:
        row = min(known, key=lambda row: row["joules_per_km2"]["median"])
        joules = row["joules_per_km2"]
        found.append(f"least energy: {_case(row)}, {joules['median']:.3g} J per km2 (n {joules['n']} rounds).")
    return found


def _overhead(rows: Mapping[str, Sequence[Row]], measured: Sequence[Row]) -> list[str]:
    """A whole run against the network alone at the batch that the run took."""
    found = []
    for row in rows["end_to_end"]:
        alone = next((one for one in measured if (one["model"], one["batch"]) == (row["model"], row["batch"])), None)
        if alone is not None:
            share = row["megapixels_per_second"]["median"] / alone["megapixels_per_second"]["median"]
            found.append(
                f"a whole run with {row['model']}, reading, maps, polygons and report included, goes at {share:.0%} of "
                f"the network's own speed at batch {row['batch']} (n {row['seconds']['n']} runs)."
            )
    return found


def _case(row: Row) -> str:
    return f"{row['model']} at batch {row['batch']}"
