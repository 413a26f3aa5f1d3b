"""Windows and grids, by their laws."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from schanger_edge.geo.grid import Grid, Window

OFFSETS, SIZES = st.integers(-50, 50), st.integers(1, 60)
WINDOWS = st.builds(Window, OFFSETS, OFFSETS, SIZES, SIZES)


def pixels(window: Window | None) -> set[tuple[int, int]]:
    if window is None:
        return set()
    columns = range(window.col_off, window.col_end)
    return {(row, col) for row in range(window.row_off, window.row_end) for col in columns}


@given(WINDOWS, WINDOWS)
def test_an_intersection_holds_the_common_pixels(a: Window, b: Window) -> None:
    assert pixels(a.intersection(b)) == pixels(a) & pixels(b)
    assert a.intersection(b) == b.intersection(a)
    assert a.intersection(a) == a


@given(WINDOWS, WINDOWS, WINDOWS)
def test_intersections_may_be_taken_in_any_order(a: Window, b: Window, c: Window) -> None:
    ab, bc = a.intersection(b), b.intersection(c)
    assert (ab and ab.intersection(c)) == (bc and a.intersection(bc))


@given(WINDOWS, WINDOWS)
def test_slices_cut_the_same_pixels_from_an_array(a: Window, b: Window) -> None:
    inner = a.intersection(b)
    if inner is not None:
        rows, cols = np.mgrid[b.row_off : b.row_end, b.col_off : b.col_end]
        at = inner.slices_in(b)
        assert set(zip(rows[at].ravel().tolist(), cols[at].ravel().tolist(), strict=True)) == pixels(inner)


@given(WINDOWS, st.integers(1, 70))
def test_rows_put_together_are_the_window(window: Window, height: int) -> None:
    parts = list(window.rows(height))
    assert [part.row_off for part in parts] == list(range(window.row_off, window.row_end, height))
    assert sum(part.height for part in parts) == window.height
    assert all(part.intersection(window) == part and part.width == window.width for part in parts)
    assert all(part.height == height for part in parts[:-1])


@given(
    st.floats(1e-6, 1e4), st.floats(0.2, 5), st.floats(0, 360), st.floats(-30, 30),
    st.floats(-1e7, 1e7), st.floats(-1e7, 1e7), st.integers(1, 10**6), st.integers(1, 10**6),
)  # fmt: skip
def test_pixels_come_back_from_the_ground(
    pixel: float, ratio: float, turn: float, shear: float, x: float, y: float, width: int, height: int
) -> None:
    shape = Affine.rotation(turn) @ Affine.shear(shear) @ Affine.scale(pixel, -pixel * ratio)
    grid = Grid(CRS.from_epsg(32631), Affine.translation(x, y) @ shape, width, height)
    cols, rows = np.array([0, width / 3, width]), np.array([height, 0, height / 7])
    places = grid.xy(cols, rows)
    # float64 resolves the coordinates themselves to 2e-16 of their size
    error = 1e-14 * (max(map(abs, (x, y))) + pixel * max(width, height * ratio)) / (pixel * min(1, ratio)) * 10
    assert np.abs(np.subtract(grid.pixel(*places), (cols, rows))).max() <= error
    left, bottom, right, top = grid.bounds
    slack = 1e-9 * (abs(x) + abs(y) + pixel * max(width, height * ratio))
    assert (places[0] >= left - slack).all()
    assert (places[0] <= right + slack).all()
    assert (places[1] >= bottom - slack).all()
    assert (places[1] <= top + slack).all()


@given(st.floats(0.1, 20), st.integers(1, 5000), st.integers(1, 5000))
def test_a_scaled_grid_covers_the_same_ground(factor: float, width: int, height: int) -> None:
    grid = Grid(CRS.from_epsg(32631), Affine(0.5, 0.1, 5e5, 0.1, -0.5, 4.6e6), width, height)
    scaled = grid.scaled(factor)
    assert scaled.xy(0, 0) == grid.xy(0, 0)
    assert scaled.pixel_size == pytest.approx([side * factor for side in grid.pixel_size])
    for own, whole in ((scaled.width, width), (scaled.height, height)):
        assert own == 1 or -1e-5 <= own * factor - whole <= factor
