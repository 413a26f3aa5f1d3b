"""Which bands are read as red, green and blue, and what is an alpha band."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers import Ground, Tiff
from rasterio.enums import ColorInterp

from schanger_edge.errors import SceneError
from schanger_edge.scene import open_pair

BGR = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]


def describe(path: Path, *descriptions: str) -> Path:
    with rasterio.open(path, "r+") as file:
        file.descriptions = descriptions
    return path


@pytest.mark.parametrize(
    ("descriptions", "bands"),
    [
        (("blue", "green", "red", "nir"), (3, 2, 1)),
        (("B", "G", "R", "N"), (3, 2, 1)),
        (("Coastal Blue", "Blue (B2)", "Green (B3)", "Red edge", "Red (B4)", "Near infrared"), (5, 3, 2)),
    ],
)
def test_descriptions_are_followed(
    make_tiff: Tiff, ground: Ground, descriptions: tuple[str, ...], bands: tuple[int, ...]
) -> None:
    image = np.concatenate([ground(40, 40, 1), ground(40, 40, 2)])[: len(descriptions)]
    path = describe(make_tiff("a.tif", image), *descriptions)
    with open_pair(path, path) as pair:
        assert pair.info()["before"].bands == bands
        assert (pair.read(pair.grid.window).before == image[[band - 1 for band in bands]]).all()
        assert not pair.warnings


def test_descriptions_against_colours(make_tiff: Tiff, ground: Ground) -> None:
    path = describe(make_tiff("a.tif", ground(40, 40)), "blue", "green", "red")
    with open_pair(path, path) as pair:
        assert pair.info()["before"].bands == (3, 2, 1)
        assert "describes bands 3, 2, 1 as red, green and blue" in pair.warnings[0]


def test_the_bands_that_were_taken_are_said(make_tiff: Tiff, ground: Ground) -> None:
    image = np.concatenate([ground(40, 40)] * 2)[:4]
    silent = make_tiff("a.tif", image)
    with open_pair(silent, silent) as pair:
        assert "doesn't say which of its 4 bands are red, green and blue: 1, 2, 3 are taken" in pair.warnings[0]
    with open_pair(silent, silent, bands=(1, 2, 3)) as pair:
        assert not pair.warnings
    for told in (make_tiff("b.tif", image, colors=BGR), make_tiff("c.tif", image[:1])):
        with open_pair(told, told) as pair:
            assert not pair.warnings


def test_infrared_that_is_called_alpha_hides_nothing(make_tiff: Tiff, ground: Ground) -> None:
    infrared = np.full((1, 60, 60), 120, np.uint8)
    infrared[:, 20:30, 20:30] = 0  # water
    image = np.concatenate([ground(60, 60), infrared])
    called_alpha = make_tiff("b.tif", image, alpha=True)
    with open_pair(make_tiff("a.tif", image[:3]), called_alpha) as pair:
        assert pair.read(pair.grid.window).valid.all()
        assert "calls its band 4 alpha" in pair.warnings[0]
    infrared[infrared > 0] = 255
    image[3] = infrared
    with open_pair(make_tiff("a.tif", image[:3]), make_tiff("b.tif", image, alpha=True)) as pair:
        assert pair.read(pair.grid.window).valid.sum() == 3500
        assert not pair.warnings


def test_an_alpha_band_that_is_cut_off(make_tiff: Tiff, ground: Ground) -> None:
    """Its values are looked at before any pixel is read."""
    image = np.concatenate([ground(200, 200, 1), np.full((1, 200, 200), 255, np.uint8)])
    path = make_tiff("a.tif", image, alpha=True, compress="deflate", interleave="band")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SceneError, match=r"a\.tif cannot be read: it is damaged or incomplete"), open_pair(path, path):
        pass
