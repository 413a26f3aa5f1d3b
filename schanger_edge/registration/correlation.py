"""By how much one window is displaced against another: correlation of the directions of edges.

Brightness, gain and season change what edges are worth, less where they run: the gradient is divided by its length
(orientation correlation: Fitch, Kadyrov, Christmas, Kittler, BMVC 2002). Beside the direction counts its double angle,
which doesn't care which side of an edge is the brighter one: shadows and seasons turn that round.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING = 0.7  # pixels, standard deviation: tames noise and resampling; from 1.0 shadows pull by 0.15 (measured)
GUARD = 5  # pixels around those without data that smoothing and gradient reach
QUIETEST = 0.5  # values per pixel: gradients of less are noise in an image of bytes
DOUBLE_WEIGHT = 2.0  # of the double angle: its correlation is about half as high (measured on real pairs)
SHARP = 99  # percentile of the gradients that must rise above the noise
LEAST_VALID = 0.5  # share of a window that must have data
FINE, FINE_REACH = 10, 1.0  # steps per pixel of the search below the pixel, and pixels around the highest it covers
ALONE = 65_536  # complex multiply-adds up to which OpenBLAS computes a product in the calling thread

Spectrum = NDArray[np.complex128]


def cross_spectrum(
    before: NDArray[np.uint8], before_valid: NDArray[np.bool_], after: NDArray[np.uint8], after_valid: NDArray[np.bool_]
) -> Spectrum | None:
    """Cross spectrum (h, w) of the edges of two windows; its inverse transform is their correlation.

    Args:
        before, after: uint8 RGB (3, h, w).
        before_valid, after_valid: (h, w), where they have data.

    Returns:
        None where too little has data or there are no edges.
    """
    if min(before_valid.mean(), after_valid.mean()) < LEAST_VALID:
        return None
    first, second = _edges(before, before_valid), _edges(after, after_valid)
    total = np.zeros(before_valid.shape, np.complex128)
    for power, weight in ((1, 1.0), (2, DOUBLE_WEIGHT)):
        a, b = (_centred(edges, power) for edges in (first, second))
        energy = _norm(a) * _norm(b)
        if energy == 0:
            return None
        total += weight / energy * np.fft.fft2(a) * np.conj(np.fft.fft2(b))
    return total


def peak(spectrum: Spectrum, radius: int) -> tuple[tuple[float, float], float]:
    """Where the correlation is highest: ((columns, rows), distinctness).

    The after window moved by (columns, rows) lies on the before window. Distinctness is the height over the standard
    deviation within the search, and 0 where the highest lies at the edge of the search.

    Args:
        spectrum: see `cross_spectrum`; sums of spectra are searched likewise.
        radius: pixels searched to every side.
    """
    around = np.arange(-radius, radius + 1)
    near = np.fft.ifft2(spectrum).real[np.ix_(around, around)]  # negative indices: displacements to the left and up
    row, col = np.unravel_index(int(near.argmax()), near.shape)
    deviation = float(near.std())
    inside = 0 < row < 2 * radius and 0 < col < 2 * radius
    distinctness = float(near[row, col]) / deviation if inside and deviation > 0 else 0.0
    return _refine(spectrum, int(around[col]), int(around[row])), distinctness


def _edges(image: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.complex128]:
    """Gradients as complex numbers of length 0 to 1, tapered; 0 near pixels without data, and all over where flat."""
    gray = cv2.GaussianBlur(image.astype(np.float32).mean(0), (0, 0), SMOOTHING)
    right, down = (cv2.Scharr(gray, cv2.CV_32F, dx, 1 - dx) / 32 for dx in (1, 0))
    length = np.hypot(right, down)
    sure = cv2.erode(valid.astype(np.uint8), np.ones((2 * GUARD + 1,) * 2, np.uint8)) > 0
    typical, sharp = np.percentile(length[sure], (50, SHARP)) if sure.any() else (0.0, 0.0)
    if sharp < QUIETEST:
        return np.zeros(valid.shape, np.complex128)
    weights = _taper(valid.shape) * sure / (length + max(typical, QUIETEST))
    edges: NDArray[np.complex128] = (right + 1j * down) * weights
    return edges


def _centred(edges: NDArray[np.complex128], power: int) -> NDArray[np.complex128]:
    """Angles times `power`, without their mean: a town of one street direction would else match itself anywhere."""
    taper = _taper(edges.shape)
    raised = edges if power == 1 else edges**2 / np.maximum(np.abs(edges), 1e-12)
    weights = np.where(edges == 0, 0, taper)
    total = float(weights.sum())
    centred: NDArray[np.complex128] = raised - weights * (raised.sum() / total if total else 0)
    return centred


def _norm(values: NDArray[np.complex128]) -> float:
    """Euclidean, by numpy's own loops; see `_product`."""
    return math.sqrt(float(np.square(values.view(np.float64)).sum()))


def _product(left: NDArray[np.complex128], right: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Matrix product in pieces that OpenBLAS does not share among threads.

    Threads that share one spin for a while afterwards, and where others want the cores the one that waits spins too:
    with whole products and `np.linalg.norm` an estimate took 8 CPU seconds on two busy cores, now 1. They also divide
    the sums, so that the offset would depend on their number.
    """
    step = max(1, ALONE // left.size)
    pieces = [left @ right[:, at : at + step] for at in range(0, right.shape[1], step)]
    return np.concatenate(pieces, axis=1)


@functools.lru_cache(maxsize=8)
def _taper(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Hann's window, (h, w)."""
    taper: NDArray[np.float64] = np.outer(*(np.hanning(side) for side in shape))
    return taper


def _refine(spectrum: Spectrum, col: int, row: int) -> tuple[float, float]:
    """The highest around a pixel, from the spectrum itself: no interpolation, hence no pull towards whole pixels.

    Method: Guizar-Sicairos, Thurman, Fienup, Optics Letters 33 (2008), then a parabola through neighbours.
    """
    steps = np.arange(-FINE * FINE_REACH, FINE * FINE_REACH + 1) / FINE
    rows = np.exp(2j * np.pi * np.outer(row + steps, np.fft.fftfreq(spectrum.shape[0])))
    cols = np.exp(2j * np.pi * np.outer(np.fft.fftfreq(spectrum.shape[1]), col + steps))
    fine = _product(_product(rows, spectrum), cols).real
    at_row, at_col = np.unravel_index(int(fine.argmax()), fine.shape)
    return (
        col + _vertex(steps, fine[at_row], int(at_col)),
        row + _vertex(steps, fine[:, at_col], int(at_row)),
    )


def _vertex(steps: NDArray[np.float64], values: NDArray[np.float64], at: int) -> float:
    if not 0 < at < len(values) - 1:
        return float(steps[at])
    left, middle, right = values[at - 1 : at + 2]
    curvature = left - 2 * middle + right
    return float(steps[at] + (0 if curvature == 0 else (left - right) / (2 * curvature) / FINE))
