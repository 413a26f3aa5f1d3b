"""What is counted of a tool's map, its runs and its last words: pure functions."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def share_differing(change: Mask, reference: Mask, where: Mask | None = None) -> float:
    """Share of the pixels (of `where`) on which two maps (H, W) differ; ValueError where their sizes do."""
    if change.shape != reference.shape:
        raise ValueError(f"maps of {change.shape} and {reference.shape} cannot be compared")
    differ = change != reference
    return float(differ.mean() if where is None else differ[where].mean())


def away_from(invalid: Mask, radius: int) -> Mask:
    """Pixels (H, W) whose window of `radius` pixels on each side has no invalid one in it."""
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cv2.dilate(invalid.astype(np.uint8), window) == 0


def nodata_facts(change: Mask, nodata: Mask, hole: Mask) -> dict[str, float]:
    """What a map says of a hole without data, in shares of it, and how much of the rest reads as nodata."""
    return {
        "hole_nodata": float(nodata[hole].mean()),
        "hole_change": float((change & ~nodata)[hole].mean()),
        "hole_no_change": float((~change & ~nodata)[hole].mean()),
        "rest_nodata": float(nodata[~hole].mean()),
    }


def refusal(stderr: str) -> str:
    """The sentence with which a command ended: the first line of what its traceback leads to, else its last line."""
    lines = [line for line in stderr.splitlines() if line.strip()] or ["no message"]
    frames = [number for number, line in enumerate(lines) if line.startswith("Traceback ")]
    if not frames:
        return lines[-1].strip()
    error = next((line for line in lines[frames[-1] + 1 :] if not line.startswith(" ")), lines[-1])
    return re.sub(r"^(\w+\.)+", "", error)


def summary(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Median and range of each figure over the rounds."""
    found = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        figures = {"median": statistics.median(values), "least": min(values), "most": max(values)}
        found[key] = {name: round(value, 3) for name, value in figures.items()}
    return found
