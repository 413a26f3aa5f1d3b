"""benchmarks/stitching.py: blending weights and jumps, on arrays whose answer is known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from helpers import load_benchmark

from schanger_edge.tiling.plan import TilePlan


@pytest.fixture(scope="module")
def stitching() -> ModuleType:
    return load_benchmark("stitching")


class Answers:
    """Stands for an inference: a tile at (column, row) says `value(column, row)` everywhere."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __call__(self, window: object) -> np.ndarray:
        shape = window.height, window.width  # type: ignore[attr-defined]
        return np.full(shape, self._value(window.col_off, window.row_off), np.float32)  # type: ignore[operator,attr-defined]


@pytest.mark.parametrize("size", [(40, 33), (16, 16), (9, 50)])
@pytest.mark.parametrize(("halo", "blend"), [(0, 0), (1, 1), (3, 1), (3, 3), (7, 1)])
def test_weights_sum_to_one(stitching: ModuleType, size: tuple[int, int], halo: int, blend: int) -> None:
    answers, plan = Answers(lambda col, row: 0.7), TilePlan(*size, 16, halo, blend)
    assert stitching.blend(answers, plan) == pytest.approx(np.full(size[::-1], 0.7), abs=1e-6)
    assert (stitching.keep_cores(answers, plan) == np.float32(0.7)).all()


def test_blending_ramps_over_the_borders(stitching: ModuleType) -> None:
    """Two tiles that disagree: kept, all of it at one border; blended, in steps of equal height on its two sides."""
    answers, plan = Answers(lambda col, row: col / 8), TilePlan(24, 16, 16, 4, 2)
    assert (stitching.keep_cores(answers, plan) == np.repeat([0, 1], 12)).all()
    expected = np.r_[np.zeros(10), (np.arange(4) + 0.5) / 4, np.ones(10)]
    assert stitching.blend(answers, plan)[3] == pytest.approx(expected, abs=1e-6)


def test_jumps_are_told_apart_by_place(stitching: ModuleType) -> None:
    plan, valid = TilePlan(24, 24, 16, 4), np.ones((24, 24), bool)
    kept = stitching.keep_cores(Answers(lambda col, row: (col + row) / 16), plan)
    across, elsewhere = stitching.jumps(kept, valid, plan)
    assert (across == 0.5).all()
    assert across.size == 2 * 24
    assert not elsewhere.any()
    assert elsewhere.size == 2 * 24 * 22
    valid[:, :12] = False
    across, elsewhere = stitching.jumps(kept, valid, plan)
    assert across.size == 12  # of the row, and none of the column, whose left side has no data
    assert elsewhere.size == 12 * 22 + 24 * 11
