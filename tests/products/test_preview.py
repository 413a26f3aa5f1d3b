"""The preview and the thumbnails it is made of."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from affine import Affine
from helpers import write_maps

from schanger_edge.errors import ProductError
from schanger_edge.geo.grid import Grid
from schanger_edge.products.preview import read_change_thumbnail, write_preview


def write_change(path, change, valid) -> None:
    height, width = change.shape
    write_maps(path.parent, Grid(None, Affine.identity(), width, height), change, valid)


def any_in_cells(flags, width, height):
    """The rule, pixel by pixel."""
    rows, cols = flags.shape
    out = np.zeros((height, width), bool)
    for r in range(height):
        for c in range(width):
            top, left = r * rows // height, c * cols // width
            bottom = max(-(-(r + 1) * rows // height), top + 1)
            right = max(-(-(c + 1) * cols // width), left + 1)
            out[r, c] = flags[top:bottom, left:right].any()
    return out


@pytest.mark.parametrize(
    ("width", "height", "to"),
    [
        (600, 530, (37, 29)),
        (600, 530, (600, 530)),
        (1, 1, (1, 1)),
        (1, 900, (1, 90)),
        (7, 5, (20, 11)),
        (300, 1, (9, 1)),
    ],
)
def test_thumbnail_keeps_every_change(tmp_path, width, height, to):
    rng = np.random.default_rng(1)
    change, valid = rng.random((height, width)) > 0.995, rng.random((height, width)) > 0.9
    change[-1, -1] = valid[-1, -1] = True
    write_change(tmp_path / "change.tif", change, valid)
    small_change, small_valid = read_change_thumbnail(tmp_path / "change.tif", *to)
    assert np.array_equal(small_change, any_in_cells(change & valid, *to))
    assert np.array_equal(small_valid, any_in_cells(valid, *to))


def test_single_pixel_of_a_large_scene_stays(tmp_path):
    change = np.zeros((3000, 3000), bool)
    change[1711, 1213] = True
    write_change(tmp_path / "change.tif", change, np.ones_like(change))
    small, _ = read_change_thumbnail(tmp_path / "change.tif", 100, 100)
    assert np.argwhere(small).tolist() == [[57, 40]]


def test_thumbnail_of_no_file(tmp_path):
    with pytest.raises(ProductError, match=r"change\.tif could not be read"):
        read_change_thumbnail(tmp_path / "change.tif", 10, 10)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (400, 300), (1024, 3), (3, 1024), (60, 50)])
def test_preview_can_be_read_at_any_shape(tmp_path, width, height):
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 256, (2, 3, height, width), np.uint8)
    flags = rng.random((2, height, width)) > 0.5
    write_preview(tmp_path / "preview.png", before, after, *flags)
    picture = cv2.imread(str(tmp_path / "preview.png"))
    assert max(picture.shape[:2]) >= 256
    assert min(picture.shape[:2]) >= 24
    assert picture.shape[1] >= 2 * width or picture.shape[0] >= 2 * height


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_change_is_outlined_on_the_after_image_only(tmp_path, ground):
    image = np.full((3, 300, 400), ground, np.uint8)
    change = np.zeros((300, 400), bool)
    change[100:150, 200:280] = True
    pictures = []
    for flags in (change, np.zeros_like(change)):
        write_preview(tmp_path / "preview.png", image, image, flags, np.ones_like(change))
        pictures.append(cv2.imread(str(tmp_path / "preview.png")).astype(int))
    different = (pictures[0] != pictures[1]).any(axis=2)
    assert not different[:, :400].any()
    assert different.any()
    rows, cols = np.nonzero(different)
    inside = pictures[0][rows.min() + 5 : rows.max() - 4, cols.min() + 5 : cols.max() - 4]
    assert np.all(inside == ground)
    line = pictures[0][different]
    assert np.abs(line - ground).max(axis=1).max() > 120


def test_invalid_pixels_are_a_grey_board(tmp_path):
    image = np.empty((3, 300, 300), np.uint8)
    image[:] = np.array([200, 30, 30], np.uint8)[:, None, None]
    valid = np.zeros((300, 300), bool)
    write_preview(tmp_path / "preview.png", image, image, ~valid, valid)
    picture = cv2.imread(str(tmp_path / "preview.png"))[-300:, :300]
    assert np.all(picture == picture[..., :1])
    assert len(np.unique(picture)) == 2


def test_preview_of_unequal_shapes_is_refused(tmp_path):
    image, flags = np.zeros((3, 4, 5), np.uint8), np.zeros((4, 5), bool)
    with pytest.raises(ValueError, match="preview"):
        write_preview(tmp_path / "p.png", image, image[:, :3], flags, flags)


def test_missing_folder(tmp_path):
    image, flags = np.zeros((3, 4, 5), np.uint8), np.zeros((4, 5), bool)
    with pytest.raises(ProductError, match=r"p\.png could not be written"):
        write_preview(tmp_path / "absent" / "p.png", image, image, flags, flags)
