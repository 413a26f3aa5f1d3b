"""What several test files share: modules from benchmarks and altered ones, a measure of overlap, a sink in memory."""

from __future__ import annotations

import importlib.util
import inspect
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


def altered(module: ModuleType, before: str, after: str) -> ModuleType:
    """A copy of a module with one change in its source, for tests that plant a bug."""
    source = inspect.getsource(module)
    assert source.count(before) == 1, before
    copy = ModuleType(f"altered_{module.__name__.rsplit('.', 1)[-1]}")
    sys.modules[copy.__name__] = copy  # where dataclasses look it up
    exec(compile(source.replace(before, after), copy.__name__, "exec"), copy.__dict__)
    return copy


def leads(session: Any, tiles: NDArray[np.uint8], rounds: int) -> list[float]:
    """By how many milliseconds a batch's copies begin before the inference of the batch before it ends.

    By the events of two slots, both under way; positive where the two overlap on the device.
    """
    first, second = session._slots
    found = []
    for _ in range(rounds):
        results = [session.submit(*tiles) for _ in range(2)]
        for result in results:
            result()
        copy_begins, inference_ends = second.events[0], first.events[3]
        found.append(session._cuda.milliseconds(copy_begins, inference_ends))
    return found


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
