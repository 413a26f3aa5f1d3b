"""What has no data is known as GDAL's own masks know it, and said where the file doesn't declare it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import ORIGIN as PLACE
from helpers import Ground, Tiff
from rasterio.windows import Window as Part

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene import open_pair

STRAIGHT = Affine(0.5, 0, PLACE[0], 0, -0.5, PLACE[1])
HALF = STRAIGHT @ Affine.translation(0.5, 0.5)
HOLE = Window(22, 22, 16, 16)  # the inside of rows and columns 20 to 40


def per_band(path: Path, make_tiff: Tiff, image: np.ndarray, transform: Affine) -> Path:
    """A VRT whose bands declare 0, 1 and 2."""
    with rasterio.open(make_tiff("source.tif", image, transform=transform)) as file:
        wkt, t = file.crs.to_wkt(), file.transform
        size = f'rasterXSize="{file.width}" rasterYSize="{file.height}"'
        bands = "".join(
            f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>{band - 1}</NoDataValue><SimpleSource>'
            f"<SourceFilename>{file.name}</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
            for band in (1, 2, 3)
        )
    place = f"<SRS>{wkt}</SRS><GeoTransform>{t.c},{t.a},0,{t.f},0,{t.e}</GeoTransform>"
    path.write_text(f"<VRTDataset {size}>{place}{bands}</VRTDataset>")
    return path


@pytest.mark.parametrize("transform", [STRAIGHT, HALF])
def test_nodata_that_differs_by_band(tmp_path: Path, make_tiff: Tiff, ground: Ground, transform: Affine) -> None:
    image = ground(60, 60).clip(5)
    image[:, 20:40, 20:40] = np.array([0, 1, 2])[:, None, None]
    image[:, 50, 50] = 0  # nodata in the first band alone
    after = per_band(tmp_path / "b.vrt", make_tiff, image, transform)
    with open_pair(make_tiff("a.tif", ground(60, 60)), after) as pair:
        tile = pair.read(pair.grid.window)
        assert not pair.read(HOLE).valid.any()
    assert tile.valid[2:19, 2:58].all()
    assert tile.valid[50, 50]
    assert tile.after[:, 2:19, 2:58].min() >= 5  # nodata is not blended into its neighbours
    with rasterio.open(after) as file:
        masked = file.dataset_mask() == 0
    if transform == STRAIGHT:
        assert (tile.valid == ~masked).all()


@pytest.mark.parametrize("transform", [STRAIGHT, HALF])
@pytest.mark.parametrize(("stored", "tag"), [(np.finfo("f4").min, -3.40282e38), (np.float32(1.1e20), 1.1e20)])
def test_nodata_rounded_in_its_tag(
    make_tiff: Tiff, ground: Ground, stored: np.float32, tag: float, transform: Affine
) -> None:
    raw = ground(60, 60).astype(np.float32)
    raw[:, 20:40, 20:40] = stored
    after = make_tiff("b.tif", raw, nodata=tag, transform=transform)
    with open_pair(make_tiff("a.tif", ground(60, 60)), after) as pair:
        assert not pair.read(HOLE).valid.any()
        assert pair.read(Window(2, 2, 56, 16)).valid.all()
        assert max(pair.info()["after"].stretch.high) < 256  # type: ignore[union-attr]


@pytest.mark.parametrize("transform", [STRAIGHT, HALF])
@pytest.mark.parametrize(("dtype", "value"), [("float32", -9999), ("float32", 1e20), ("uint16", 65535)])
def test_a_sentinel_far_from_all_other_values(
    make_tiff: Tiff, ground: Ground, dtype: str, value: float, transform: Affine
) -> None:
    raw = ground(60, 60).astype(dtype)
    raw[:, 20:40, 20:40] = value
    before, after = make_tiff("a.tif", ground(60, 60)), make_tiff("b.tif", raw, transform=transform)
    with open_pair(before, after) as pair:
        assert not pair.read(HOLE).valid.any()
        assert max(pair.info()["after"].stretch.high) < 256  # type: ignore[union-attr]
        assert f"{value:g} in 11.1%" in pair.warnings[0]
    with open_pair(before, after, nodata=None) as pair:
        assert pair.read(HOLE).valid.all()
        assert not pair.warnings


def test_saturation_is_no_sentinel(make_tiff: Tiff, ground: Ground) -> None:
    raw = ground(60, 60).astype(np.uint16) * 256
    raw[:, 20:40, 20:40] = 65535
    path = make_tiff("a.tif", raw)
    with open_pair(path, path) as pair:
        assert pair.read(HOLE).valid.all()
        assert not pair.warnings


@pytest.mark.parametrize("value", [0, 255])
def test_a_collar_is_counted_and_nodata_proposed(make_tiff: Tiff, ground: Ground, value: int) -> None:
    image = ground(60, 60)
    image[:, :15] = value
    whole, cut = make_tiff("a.tif", ground(60, 60)), make_tiff("b.tif", image)
    with open_pair(whole, cut) as pair:
        (warning,) = pair.collar_warnings()
        assert pair.read(pair.grid.window).valid.all()
    assert warning.startswith(f"25% of {cut} have one colour ({value}, {value}, {value})")
    assert f"--nodata {value}" in warning
    for options in ({"nodata": value}, {"nodata": None}):
        with open_pair(whole, cut, **options) as pair:
            assert not pair.collar_warnings()
    declared = make_tiff("c.tif", image, nodata=value)
    with open_pair(whole, declared) as pair:
        assert not pair.collar_warnings()


def sparse(path: Path, make_tiff: Tiff, image: np.ndarray, transform: Affine, written: int) -> Path:
    """Of 4 x 4 blocks the first so many are written."""
    make_tiff(path.name, image[:, :1, :1], transform=transform)
    with rasterio.open(path) as file:
        profile = file.profile | {"height": 64, "width": 64, "tiled": True, "blockxsize": 16, "blockysize": 16}
    with rasterio.open(path, "w", **profile, sparse_ok=True, compress="deflate") as file:
        for block in range(written):
            row, col = block // 4 * 16, block % 4 * 16
            file.write(image[:, row : row + 16, col : col + 16], window=Part(col, row, 16, 16))
    return path


@pytest.mark.parametrize("transform", [STRAIGHT, HALF])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_blocks_that_were_never_written_are_no_data(
    tmp_path: Path, make_tiff: Tiff, ground: Ground, dtype: str, transform: Affine
) -> None:
    image = ground(64, 64).astype(dtype)
    after = sparse(tmp_path / "b.tif", make_tiff, image, transform, written=8)
    with open_pair(make_tiff("a.tif", ground(64, 64)), after) as pair:
        tile = pair.read(pair.grid.window)
        assert pair.warnings[0].startswith(f"50.0% of the blocks of {after} were never written")
    assert tile.valid[2:31, 2:].all()
    assert not tile.valid[33:].any()
    with pytest.raises(SceneError, match=r"b\.tif holds no pixels"):
        open_pair(tmp_path / "a.tif", sparse(tmp_path / "b.tif", make_tiff, image, transform, written=0))
