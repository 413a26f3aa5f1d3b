"""Two windows matched by the directions of their edges: exact below the pixel, blind to brightness and to no data."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import terrain

from schanger_edge.registration.correlation import cross_spectrum, peak

SIDE = 128
ALL = np.ones((SIDE, SIDE), np.bool_)
UNRELATED = 4.5  # what windows without anything in common stay below, almost always


def matched(before: np.ndarray, after: np.ndarray, radius: int = 16) -> tuple[tuple[float, float], float]:
    spectrum = cross_spectrum(before, ALL, after, ALL)
    assert spectrum is not None
    return peak(spectrum, radius)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (5.0, -3.0), (0.3, -0.4), (-0.5, 0.5), (1.1, 2.75), (-9.25, 0.05)])
def test_the_offset_moves_after_onto_before(offset: tuple[float, float]) -> None:
    """Content at p of the after window is at p + offset in the before window, to some hundredths of a pixel."""
    before, after = terrain(SIDE, SIDE, at=(40, 40)), terrain(SIDE, SIDE, at=(40 + offset[0], 40 + offset[1]))
    found, distinctness = matched(before, after)
    assert found == pytest.approx(offset, abs=0.03 if max(map(abs, offset)) < 4 else 0.1)  # less is in common
    assert distinctness > UNRELATED


def test_gain_gamma_and_reversed_contrast_do_not_move_it() -> None:
    before, after = terrain(SIDE, SIDE), terrain(SIDE, SIDE, at=(1.4, -0.6)).astype(float)
    season = 255 * (after / 255) ** 1.6
    season[:, :, : SIDE // 3] = 200 - 0.5 * season[:, :, : SIDE // 3]  # what was bright is dark
    noisy = season + np.random.default_rng(0).normal(0, 3, season.shape)
    found, distinctness = matched(before, np.clip(noisy, 0, 255).astype(np.uint8))
    assert found == pytest.approx((1.4, -0.6), abs=0.1)
    assert distinctness > UNRELATED


def test_unrelated_windows_are_not_distinct() -> None:
    heights = [matched(terrain(SIDE, SIDE, seed=seed), terrain(SIDE, SIDE, seed=seed + 50))[1] for seed in range(30)]
    assert np.mean(np.array(heights) > UNRELATED) < 0.1


def test_a_direction_they_share_is_no_match() -> None:
    """Streets of one direction run through both; without the mean taken away they would match anywhere."""
    before, after = (terrain(SIDE, SIDE, seed=seed, stretch=12) for seed in (1, 2))
    assert matched(before, after)[1] < UNRELATED


def test_the_border_of_no_data_does_not_hold_the_match() -> None:
    """Both dates lack data at the same place, as a shared border has it; the ground moves all the same."""
    before, after = terrain(SIDE, SIDE), terrain(SIDE, SIDE, at=(3.0, 2.0))
    valid = np.ones((SIDE, SIDE), np.bool_)
    valid[:, :40] = valid[:30] = False
    before[:, ~valid], after[:, ~valid] = 0, 255
    spectrum = cross_spectrum(before, valid, after, valid)
    assert spectrum is not None
    found, distinctness = peak(spectrum, 16)
    assert found == pytest.approx((3, 2), abs=0.1)
    assert distinctness > UNRELATED


def test_nothing_to_match() -> None:
    flat = np.full((3, SIDE, SIDE), 90, np.uint8)
    assert cross_spectrum(flat, ALL, flat, ALL) is None
    few = np.zeros((SIDE, SIDE), np.bool_)
    few[:20] = True
    image = terrain(SIDE, SIDE)
    assert cross_spectrum(image, few, image, ALL) is None
    assert cross_spectrum(image, ALL, image, few) is None


def test_an_offset_beyond_the_search_is_not_distinct() -> None:
    assert matched(terrain(SIDE, SIDE), terrain(SIDE, SIDE, at=(9, 0)), radius=8)[1] < UNRELATED


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="OpenBLAS has one thread on one core")
def test_the_offset_is_the_same_for_any_number_of_threads() -> None:
    """To the last bit: the threads of OpenBLAS, which also spin when they have nothing to do, would divide the sums."""
    code = """
import numpy as np
from schanger_edge.registration.correlation import cross_spectrum, peak
image, valid = np.random.default_rng(0).integers(0, 256, (3, 512, 512), np.uint8), np.ones((512, 512), bool)
print(peak(cross_spectrum(image, valid, np.roll(image, 3, 1), valid), 16))
"""
    one, two = (
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": count},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in ("1", "2")
    )
    assert one == two != ""
