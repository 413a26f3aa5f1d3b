"""One offset from many: found among wrong ones, refused where chance would do; affine only where clearly better."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from schanger_edge.registration.consensus import AFFINE_FEWEST, CHANCE, LocalOffset, agree, by_chance

SIZE = (1000, 800)
RADIUS = 16.0


def windows(motion: Affine, count: int, *, noise: float = 0.0, wild: int = 0, seed: int = 0) -> list[LocalOffset]:
    """`count` windows all over the scene that follow a motion from after to before, and `wild` that point anywhere."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count + wild):
        col, row = rng.uniform((0, 0), SIZE)
        source = ~motion @ (col, row)
        offset = np.array((col, row)) - source + rng.normal(0, noise, 2)
        if index >= count:
            offset = rng.uniform(-RADIUS, RADIUS, 2)
        found.append(LocalOffset(col, row, (float(offset[0]), float(offset[1])), 6.0))
    return found


@pytest.mark.parametrize("wild", [0, 6, 11])
def test_a_shift_is_found_among_wild_windows(wild: int) -> None:
    common = agree(windows(Affine.translation(1.3, -2.7), 12, noise=0.1, wild=wild), SIZE, RADIUS)
    assert common is not None
    assert common.kind == "shift"
    assert (common.motion.c, common.motion.f) == pytest.approx((1.3, -2.7), abs=0.06)
    assert all(common.agrees[:12])
    assert sum(common.agrees[12:]) <= 1  # one in a hundred points right by chance
    assert common.spread < 0.5


def test_windows_that_point_anywhere_have_no_offset() -> None:
    for seed in range(200):
        for count in (3, 10, 64):
            assert agree(windows(Affine.identity(), 0, wild=count, seed=seed), SIZE, RADIUS) is None


def test_three_windows_are_too_few_however_equal() -> None:
    assert agree(windows(Affine.translation(3, 3), 3), SIZE, RADIUS) is None
    assert agree(windows(Affine.translation(3, 3), 4), SIZE, RADIUS) is not None


def test_a_minority_is_no_common_offset() -> None:
    """Seven windows of thirty agree far beyond chance; yet most of the scene moves otherwise."""
    assert by_chance(30, 7, RADIUS) < CHANCE
    assert agree(windows(Affine.translation(5, 0), 7, wild=23, seed=4), SIZE, RADIUS) is None


def test_windows_scattered_by_relief_agree_roughly() -> None:
    found = windows(Affine.translation(12, -4), 40, noise=2.2, wild=5, seed=1)
    common = agree(found, SIZE, RADIUS)
    assert common is not None
    assert common.kind == "rough"
    assert common.spread > 1
    assert (common.motion.c, common.motion.f) == pytest.approx((12, -4), abs=1.0)


def test_no_window_flips_the_result() -> None:
    """Windows spread by relief: leaving any one out moves the result by less than what is promised on real pairs."""
    found = windows(Affine.translation(-0.5, 1.0), 20, noise=0.8, seed=2)
    whole = agree(found, SIZE, RADIUS)
    assert whole is not None
    for index in range(len(found)):
        part = agree(found[:index] + found[index + 1 :], SIZE, RADIUS)
        assert part is not None
        assert np.hypot(part.motion.c - whole.motion.c, part.motion.f - whole.motion.f) < 0.2


def test_by_chance_falls_with_agreement_and_grows_with_the_number_of_windows() -> None:
    assert by_chance(20, 3, RADIUS) > by_chance(20, 4, RADIUS) > by_chance(20, 8, RADIUS)
    assert by_chance(40, 4, RADIUS) > by_chance(20, 4, RADIUS)
    assert by_chance(20, 1, RADIUS) == pytest.approx(20)


def test_rotation_and_scale_are_an_affine() -> None:
    turned = Affine.rotation(0.3, (500, 400)) @ Affine.scale(1.002)
    common = agree(windows(turned, 20, noise=0.1, wild=6), SIZE, RADIUS)
    assert common is not None
    assert common.kind == "affine"
    for corner in ((0, 0), SIZE, (0, 800), (1000, 0)):
        assert np.subtract(common.motion @ corner, turned @ corner) == pytest.approx((0, 0), abs=0.3)


@pytest.mark.parametrize(
    ("motion", "count"),
    [(Affine.translation(2, 2), 30), (Affine.rotation(0.01, (500, 400)), 30), (Affine.scale(1.004), AFFINE_FEWEST - 1)],
    ids=["a shift", "too small to tell", "too few"],
)
def test_no_affine_without_need(motion: Affine, count: int) -> None:
    common = agree(windows(motion, count, noise=0.3), SIZE, RADIUS)
    assert common is None or common.kind == "shift"


def test_windows_of_one_corner_make_no_affine() -> None:
    found = [
        LocalOffset(window.col * 0.4, window.row * 0.4, window.offset, 6.0)
        for window in windows(Affine.rotation(0.15, (500, 400)), 20, noise=0.05)
    ]
    common = agree(found, SIZE, RADIUS)
    assert common is not None
    assert common.kind == "shift"
