"""One offset from many local ones, or none: pure arithmetic on values, no files.

The rule that keeps chance out is the a-contrario test of Desolneux, Moisan, Morel ("Meaningful alignments", IJCV 40,
2000): windows agree meaningfully where so many of them would hardly ever agree if each had pointed anywhere.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
from affine import Affine
from numpy.typing import NDArray

AGREE = 2.0  # pixels from the common offset within which a window agrees with it
ROUGHLY = 5.0  # the same where relief scatters the windows: then the offset is only about right
FEWEST = 4  # agreeing windows: three of three agree by chance once in some thousand scenes
LEAST_SHARE = 0.5  # of the windows that match: where no majority agrees there are several motions, not one
CHANCE = 1e-3  # expected number of such agreements in a scene without any
NARROWEST, WIDEST = 0.5, 1.5  # pixels, and times the pixels to agree within, at which a window's weight ends
STEPS = 20  # of reweighting; it settles in five to ten
AFFINE_AGREE = 1.0  # pixels from the affine motion within which a window agrees with it
AFFINE_FEWEST, AFFINE_SHARE = 10, 0.6  # windows, and share of those that match
AFFINE_REACH = 0.5  # of each side of the scene over which they must spread
AFFINE_GAIN, AFFINE_RATIO = 0.25, 0.6  # an affine must leave so many pixels less, and at most this share

Offset = tuple[float, float]
"""(columns, rows) in pixels of the common grid by which the after image must be moved to lie on the before image."""


@dataclasses.dataclass(frozen=True)
class LocalOffset:
    """The offset found in one window.

    Attributes:
        col, row: centre of the window on the grid, in the before image.
        offset: see `Offset`.
        distinctness: height of the match over the standard deviation of its surroundings.
    """

    col: float
    row: float
    offset: Offset
    distinctness: float


@dataclasses.dataclass(frozen=True)
class Consensus:
    """The motion on which the windows agree.

    Attributes:
        motion: from (column, row) of a point in the after image to the same point in the before image.
        kind: `shift`, `affine`, or `rough`: a shift about which the windows scatter by several pixels.
        spread: root mean square distance of agreeing windows from the motion, per axis, in pixels.
        agrees: for each window, whether it does.
    """

    motion: Affine
    kind: str
    spread: float
    agrees: tuple[bool, ...]


def agree(windows: Sequence[LocalOffset], size: tuple[int, int], radius: float) -> Consensus | None:
    """The common motion of windows that match, or None where too few agree.

    Args:
        windows: those whose match is distinct.
        size: columns and rows of the scene.
        radius: pixels along each axis within which each was searched; chance is judged by it.
    """
    if len(windows) < FEWEST:
        return None
    affine = _common_affine(windows, size)
    return affine or _common_shift(windows, radius, AGREE) or _common_shift(windows, radius, ROUGHLY)


def by_chance(count: int, agreeing: int, radius: float, within: float = AGREE) -> float:
    """Expected number of windows with which so many others agree, if all `count` pointed anywhere in the search."""
    share = min(1.0, math.pi * within**2 / (2 * radius + 1) ** 2)
    tail = sum(math.comb(count - 1, k) * share**k * (1 - share) ** (count - 1 - k) for k in range(agreeing - 1, count))
    return count * tail


def _common_shift(windows: Sequence[LocalOffset], radius: float, within: float) -> Consensus | None:
    offsets = np.array([window.offset for window in windows])
    distances = np.linalg.norm(offsets[:, None] - offsets, axis=2)
    densest = int(np.maximum(0, 1 - (distances / within) ** 2).sum(1).argmax())
    agreeing = int((distances[densest] <= within).sum())
    enough = max(FEWEST, LEAST_SHARE * len(windows))
    if agreeing < enough or by_chance(len(windows), agreeing, radius, within) > CHANCE:
        return None
    centre = _settle(offsets, offsets[densest], WIDEST * within)
    residuals = np.linalg.norm(offsets - centre, axis=1)
    agrees = residuals <= within
    if agrees.sum() < enough:
        return None
    kind = "shift" if within <= AGREE else "rough"
    spread = math.sqrt((residuals[agrees] ** 2).mean() / 2)
    return Consensus(Affine.translation(*centre.tolist()), kind, spread, tuple(agrees.tolist()))


def _settle(offsets: NDArray[np.float64], start: NDArray[np.float64], widest: float) -> NDArray[np.float64]:
    """Tukey's biweight by reweighting: weights fall smoothly to zero, so that no window flips the result."""
    centre = start
    for _ in range(STEPS):
        residuals = np.linalg.norm(offsets - centre, axis=1)
        near = residuals[residuals <= widest]
        reach = float(np.clip(4.685 * np.median(near) / 1.177, NARROWEST, widest))  # 1.177: median of a Rayleigh
        weights = np.maximum(0, 1 - (residuals / reach) ** 2) ** 2
        if not weights.any():
            break
        centre = weights @ offsets / weights.sum()
    return centre


def _common_affine(windows: Sequence[LocalOffset], size: tuple[int, int]) -> Consensus | None:
    """Only where it explains the windows clearly better than a shift, windows being judged by the others' fit."""
    if len(windows) < AFFINE_FEWEST:
        return None
    before = np.array([(window.col, window.row) for window in windows])
    after = before - np.array([window.offset for window in windows])
    _, inliers = cv2.estimateAffine2D(after, before, ransacReprojThreshold=AFFINE_AGREE)
    chosen = np.zeros(len(windows), bool) if inliers is None else inliers[:, 0] > 0
    if chosen.sum() < max(AFFINE_FEWEST, AFFINE_SHARE * len(windows)):
        return None
    if (np.ptp(before[chosen], axis=0) < AFFINE_REACH * np.array(size)).any():
        return None
    left_out, motion = _fit_affine(after[chosen], before[chosen])
    moved = before[chosen] - after[chosen]
    shift_error = float(np.sqrt(((moved - np.median(moved, axis=0)) ** 2).sum(1).mean()))
    if shift_error - left_out < AFFINE_GAIN or left_out > AFFINE_RATIO * shift_error:
        return None
    residuals = np.array([np.subtract(motion @ tuple(a), b) for a, b in zip(after, before, strict=True)])
    agrees = np.linalg.norm(residuals, axis=1) <= AFFINE_AGREE
    spread = math.sqrt((residuals[agrees] ** 2).mean())
    return Consensus(motion, "affine", spread, tuple(agrees.tolist()))


def _fit_affine(source: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, Affine]:
    """Least squares, and the root mean square distance of each point from the fit of all others."""
    design = np.column_stack([source, np.ones(len(source))])
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    leverage = np.einsum("ij,ji->i", design, np.linalg.pinv(design))
    errors = (target - design @ solution) / np.maximum(1 - leverage, 1e-6)[:, None]
    (a, d), (b, e), (c, f) = solution.tolist()
    return float(np.sqrt((errors**2).sum(1).mean())), Affine(a, b, c, d, e, f)
