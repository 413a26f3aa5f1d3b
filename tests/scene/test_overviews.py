"""Statistics come from overviews only where these show the pixels."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from helpers import Ground, Tiff
from rasterio.enums import Resampling

from schanger_edge.scene import open_pair


@pytest.mark.parametrize("way", [Resampling.nearest, Resampling.average])
@pytest.mark.parametrize("large", [False, True])
def test_overviews_of_earlier_pixels_are_not_used(
    make_tiff: Tiff, ground: Ground, monkeypatch: pytest.MonkeyPatch, way: Resampling, large: bool
) -> None:
    if large:
        monkeypatch.setattr("schanger_edge.scene.values.LARGE", 1000)
    raw = ground(1100, 1200).astype(np.uint16) * 11 + 300
    raw[:, :200] = 0
    blocks = {"tiled": True, "blockxsize": 128, "blockysize": 128, "nodata": 0}
    fresh, stale = make_tiff("a.tif", raw, **blocks), make_tiff("b.tif", np.full_like(raw, 60_000), **blocks)
    for path in (fresh, stale):
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], way)
    with rasterio.open(stale, "r+") as file:
        file.write(raw)
    with open_pair(fresh, stale) as pair:
        info = pair.info()
        assert pair.warnings == [
            f"the overviews of {stale} don't show its pixels: they are not used; build them anew with gdaladdo."
        ]
    one, other = info["before"].stretch, info["after"].stretch
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.low + one.high, other.low + other.high, rtol=0.1)


def test_a_collar_of_a_large_scene(make_tiff: Tiff, ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schanger_edge.scene.values.LARGE", 1000)
    image = ground(1000, 1000)
    image[:, :250] = 0
    path = make_tiff("a.tif", image)
    with open_pair(path, path) as pair:
        (warning, _) = pair.collar_warnings()
    assert warning.startswith("25% of ")
