"""What several test files share: benchmarks as modules, terrain that can be moved, a sink that keeps everything."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.grid import Window

ROOT = Path(__file__).parent.parent


def load_benchmark(name: str) -> ModuleType:
    """A script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def terrain(
    height: int, width: int, *, at: tuple[float, float] = (0.0, 0.0), seed: int = 0, stretch: float = 1.0
) -> NDArray[np.uint8]:
    """uint8 RGB (3, H, W) of one endless landscape whose upper left corner is at (column, row) `at`, any fraction.

    It is a sum of waves of random direction, 6 to 40 pixels long, so that moving it needs no resampling; two seeds
    have nothing in common. `stretch` draws it out along the columns.
    """
    rng = np.random.default_rng(seed)
    length, angle = np.exp(rng.uniform(np.log(6), np.log(40), 150)), rng.uniform(0, 2 * np.pi, 150)
    phase = rng.uniform(0, 2 * np.pi, 150)
    cols, rows = np.arange(width) + at[0], np.arange(height) + at[1]
    along = np.exp(2j * np.pi * np.outer(cols / stretch, np.cos(angle) / length) + 1j * phase)
    down = np.exp(2j * np.pi * np.outer(rows, np.sin(angle) / length))
    heights = (down @ along.T).real / np.sqrt(75)  # of deviation 1
    steep = np.tanh(1.5 * heights)  # plateaus with edges between them
    return np.rint(120 + np.array([70, 60, 50])[:, None, None] * steep).astype(np.uint8)


def put_rows(sink: Any, row: int, probability: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    """Give a sink full-width rows from `row`, and say that they are done."""
    height, width = probability.shape
    sink.write(Window(0, row, width, height), probability, valid)
    sink.rows_done(row + height)


class ArraySink:
    """Keeps what it is given and counts how often each pixel came."""

    def __init__(self, height: int, width: int) -> None:
        self.probability = np.full((height, width), np.nan, np.float32)
        self.valid = np.zeros((height, width), bool)
        self.times = np.zeros((height, width), int)
        self.done = 0

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        at = window.slices_in(Window(0, 0, self.valid.shape[1], self.valid.shape[0]))
        assert (probability is None) == (not valid.any())
        if probability is not None:
            self.probability[at] = probability
        self.valid[at] = valid
        self.times[at] += 1

    def rows_done(self, row_end: int) -> None:
        assert row_end > self.done
        assert (self.times[:row_end] == 1).all()
        self.done = row_end
