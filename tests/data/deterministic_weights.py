"""Deterministic SChanger weights for parity tests, the same on every machine, made from names and shapes alone.

`small.json` and `base.json` beside this file map every name in the published checkpoints' state dict to its shape.
`golden_small.npz` holds what the authors' implementation computes from the small weights in eval mode: normalized
inputs `square_t1/t2` (2, 3, 64, 64) and `wide_t1/t2` (1, 3, 96, 160); logits `square_logits` (2, 6, 64, 64), fused
first, and `wide_logits` (1, 1, 96, 160), fused only; `*_single_probability` is the single-date network on `*_t1`.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent


def table(size: str) -> dict[str, list[int]]:
    """Names and shapes of the published checkpoints of a size, `small` or `base`."""
    shapes: dict[str, list[int]] = json.loads((FOLDER / f"{size}.json").read_text(encoding="utf-8"))
    return shapes


def golden() -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of `golden_small.npz`."""
    with np.load(FOLDER / "golden_small.npz") as arrays:
        return dict(arrays)


def make(shapes: dict[str, list[int]]) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of these names and shapes."""
    return {name: _array(name, tuple(shape)) for name, shape in shapes.items()}


def _array(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if len(shape) > 1:  # convolution kernels (out, in / groups, kh, kw)
        values = rng.normal(0, math.sqrt(1.5 / math.prod(shape[1:])), shape)
    elif last in UNIFORM:
        values = rng.uniform(*UNIFORM[last], shape)
    elif last == "weight":  # batch and layer norms
        values = rng.uniform(0.8, 1.2, shape)
    else:  # biases and running means
        values = rng.normal(0, 0.1, shape)
    return values.astype(np.float32)


UNIFORM = {"running_var": (0.5, 1.5), "layer_scale_1": (0.3, 0.7), "layer_scale_2": (0.3, 0.7)}
