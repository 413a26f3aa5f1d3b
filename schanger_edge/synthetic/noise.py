"""Hashed randomness: numbers per object and smooth noise per ground position, pure functions of their keys."""

from __future__ import annotations

import math
import random
import zlib

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_MASK = (1 << 64) - 1


def key(*parts: int | str) -> int:
    """One 64-bit key from whole numbers and words, the same on every machine."""
    state = 0x243F6A8885A308D3
    for part in parts:
        value = zlib.crc32(part.encode()) if isinstance(part, str) else part
        state = (state ^ (value & _MASK)) & _MASK
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def stream(*parts: int | str) -> random.Random:
    """A stream of random numbers that belongs to these keys."""
    return random.Random(key(*parts))


def unit(*parts: int | str) -> float:
    """One number in 0..1 that belongs to these keys."""
    return (key(*parts) >> 11) / float(1 << 53)


def smooth_one(seed: int, wavelength: float, x: float, y: float) -> float:
    """Noise as of `smooth`, on a lattice of its own, at one point without the cost of arrays."""
    col, row = math.floor(x / wavelength), math.floor(y / wavelength)
    fx, fy = x / wavelength - col, y / wavelength - row
    weights_x = (0.5 * (1 - fx) ** 2, 0.5 + fx * (1 - fx), 0.5 * fx**2)
    weights_y = (0.5 * (1 - fy) ** 2, 0.5 + fy * (1 - fy), 0.5 * fy**2)
    total = sum(weights_x[i] * weights_y[j] * unit(seed, col + i, row + j) for i in range(3) for j in range(3))
    return 6.3 * total - 3.15


def lattice(seed: int, cols: Ints, rows: Ints) -> Floats:
    """Numbers in 0..1 for integer positions; `cols` and `rows` broadcast."""
    with np.errstate(over="ignore"):
        state = cols.astype(np.uint32) * np.uint32(0x9E3779B1)
        state = state ^ np.uint32(seed & 0xFFFFFFFF)
        state = (state ^ (state >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
        state = state ^ (rows.astype(np.uint32) * np.uint32(0x85EBCA77))
        state = state ^ np.uint32((seed >> 32) & 0xFFFFFFFF)
        state = (state ^ (state >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
        state = (state ^ (state >> np.uint32(12))) * np.uint32(0x297A2D39)
        state = state ^ (state >> np.uint32(15))
    return np.asarray((state >> np.uint32(8)).astype(np.float32) * np.float32(1.0 / (1 << 24)), np.float32)


def _taps(positions: Doubles, wavelength: float) -> tuple[Ints, list[Floats]]:
    scaled = positions / wavelength
    cells = np.floor(scaled)
    rest = (scaled - cells).astype(np.float32)
    weights = [0.5 * (1 - rest) ** 2, 0.5 + rest * (1 - rest), 0.5 * rest**2]
    return cells.astype(np.int64), weights


def smooth(seed: int, wavelength: float, xs: Doubles, ys: Doubles) -> Floats:
    """Smooth noise of mean 0 and deviation about 1 on the even grid `ys` x `xs` (metres): splines on a lattice.

    Long waves are computed on every fourth position and stretched; sizes that are no multiple of 4 are not.
    """
    step = float(xs[1] - xs[0]) if len(xs) > 1 else wavelength
    if wavelength > 16 * step and len(xs) % 4 == 0 and len(ys) % 4 == 0:
        coarse = _smooth(seed, wavelength, xs[::4] + 1.5 * step, ys[::4] + 1.5 * step)
        stretched = cv2.resize(coarse, (len(xs), len(ys)), interpolation=cv2.INTER_LINEAR)
        return np.asarray(stretched, np.float32)
    return _smooth(seed, wavelength, xs, ys)


def _smooth(seed: int, wavelength: float, xs: Doubles, ys: Doubles) -> Floats:
    cols, weights_x = _taps(xs, wavelength)
    rows, weights_y = _taps(ys, wavelength)
    col0, row0 = int(cols[0]) - 1, int(rows[0]) - 1
    lattice_cols = np.arange(col0, int(cols[-1]) + 2)
    lattice_rows = np.arange(row0, int(rows[-1]) + 2)
    values = lattice(seed, lattice_cols[None, :], lattice_rows[:, None]) * np.float32(6.3) - np.float32(3.15)
    at_row = rows - row0 - 1
    lines = sum(values[at_row + tap] * weights_y[tap][:, None] for tap in range(3))
    turned = np.ascontiguousarray(np.asarray(lines, dtype=np.float32).T)
    at_col = cols - col0 - 1
    result = sum(turned[at_col + tap] * weights_x[tap][:, None] for tap in range(3))
    return np.ascontiguousarray(np.asarray(result, dtype=np.float32).T)


def smooth_at(seed: int, wavelength: float, x: Doubles, y: Doubles) -> Floats:
    """The same noise at scattered points."""
    cols, weights_x = _taps(x, wavelength)
    rows, weights_y = _taps(y, wavelength)
    steps = np.arange(-1, 2)
    values = lattice(seed, (cols[:, None] + steps)[:, :, None], (rows[:, None] + steps)[:, None, :])
    lines = (values * np.stack(weights_x, axis=1)[:, :, None]).sum(axis=1)
    return np.asarray((lines * np.stack(weights_y, axis=1)).sum(axis=1) * 6.3 - 3.15, np.float32)
