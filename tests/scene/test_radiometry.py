"""Every kind of pixel gives the same picture: type, scale, palette and mask change what is stored, not what is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import Tiff
from rasterio.enums import ColorInterp

from schanger_edge.errors import SceneError
from schanger_edge.files import to_json
from schanger_edge.scene import open_pair
from schanger_edge.scene.radiometry import Scaling, Stretch

ORIGIN = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)
SIDE = 64
RGBA = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]

LEVELS = np.stack([np.roll(np.arange(SIDE * SIDE) % 256, 37 * c).reshape(SIDE, SIDE) for c in range(3)]).astype(float)
"""What is to be seen: each channel holds all of 0 to 255."""
GREY = LEVELS[[0, 0, 0]]
HOLE = np.zeros((SIDE, SIDE), bool)
HOLE[10:22, 30:50] = True
"""Where there is no data."""
WHOLE = np.zeros_like(HOLE)


def holed(data: Any, value: float) -> np.ndarray:
    return np.where(HOLE, value, data)


def stored(dtype: str, scale: float = 1.0, offset: float = 0.0, hole: float | None = None, **options: Any) -> Any:
    """Writes LEVELS as level x scale + offset."""

    def write(make: Tiff, name: str) -> Path:
        data = LEVELS * scale + offset
        return make(name, (data if hole is None else holed(data, hole)).astype(dtype), transform=ORIGIN, **options)

    return write


def grey(make: Tiff, name: str) -> Path:
    return make(name, LEVELS[:1].astype(np.uint16), transform=ORIGIN)


def grey_and_alpha(make: Tiff, name: str) -> Path:
    data = np.stack([LEVELS[0], np.where(HOLE, 0, 255)]).astype(np.uint8)
    return make(name, data, transform=ORIGIN, colors=[ColorInterp.gray, ColorInterp.alpha], ALPHA="YES")


def four_bands_with_alpha(dtype: str) -> Any:
    def write(make: Tiff, name: str) -> Path:
        data = np.concatenate([LEVELS, np.where(HOLE, 0, np.iinfo(dtype).max)[None]]).astype(dtype)
        return make(name, data, transform=ORIGIN, alpha=True, colors=RGBA)

    return write


def infrared(make: Tiff, name: str) -> Path:
    return make(name, np.concatenate([LEVELS, LEVELS[:1] * 3]).astype(np.uint16), transform=ORIGIN)


def mask_inside(make: Tiff, name: str) -> Path:
    return make(name, LEVELS.astype(np.uint16), transform=ORIGIN, mask=np.where(HOLE, 0, 255).astype(np.uint8))


def mask_beside(make: Tiff, name: str) -> Path:
    path = make(name, LEVELS.astype(np.uint8), transform=ORIGIN)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.where(HOLE, 0, 255).astype(np.uint8))
    assert path.with_name(f"{path.name}.msk").exists()
    return path


CLEAR = (7, 8)


def palette(form: str = "GTiff", *, holes: tuple[int, ...] = (), nodata: int | None = None, mask: bool = False) -> Any:
    """Index i is the grey level 255 - i; `holes` mean no data, by nodata value or by their opacity."""

    def write(make: Tiff, name: str) -> Path:
        path = make(name, np.zeros((1, 1, 1), np.uint8)).with_suffix(".png" if form == "PNG" else ".tif")
        index = 255 - palette_seen(holes)[0]
        profile = {"driver": form, "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8", "nodata": nodata}
        profile |= {"crs": "EPSG:32631", "transform": ORIGIN} | ({"photometric": "PALETTE"} if form == "GTiff" else {})
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
            dataset.write_colormap(1, {i: (255 - i,) * 3 + (0 if i in holes else 255,) for i in range(256)})
            dataset.write(np.where(HOLE, holes[0], index).astype("u1") if holes else index.astype("u1"), 1)
            if mask:
                dataset.write_mask(np.where(HOLE, 0, 255).astype(np.uint8))
        return path

    return write


def palette_seen(holes: tuple[int, ...]) -> np.ndarray:
    """GREY without the levels of indices that mean no data."""
    return np.where(np.isin(GREY, [255 - index for index in holes]), 100, GREY)


def tagged(scale: float, offset: float, dtype: str = "int16") -> Any:
    """Stored so that stored x scale + offset is the level."""

    def write(make: Tiff, name: str) -> Path:
        path = make(name, np.rint((LEVELS - offset) / scale).astype(dtype), transform=ORIGIN)
        with rasterio.open(path, "r+") as dataset:
            dataset.scales, dataset.offsets = (scale,) * 3, (offset,) * 3
        return path

    return write


NAN = np.nan
CASES = {  # how it is written, the values that 0 and 255 have in the file's units, what is seen, where not
    "uint8": (stored("uint8"), (0, 255), LEVELS, WHOLE),
    "uint8, nodata": (stored("uint8", hole=0, nodata=0), (0, 255), LEVELS, HOLE | (LEVELS == 0).all(0)),
    "uint16": (stored("uint16", 40, 300), (300, 10500), LEVELS, WHOLE),
    "uint16, nodata": (stored("uint16", 40, 300, 65535, nodata=65535), (300, 10500), LEVELS, HOLE),
    "int8": (stored("int8", 1, -128), (-128, 127), LEVELS, WHOLE),
    "int16": (stored("int16", 30, -4000), (-4000, 3650), LEVELS, WHOLE),
    "int16, nodata": (stored("int16", 30, -4000, -9999, nodata=-9999), (-4000, 3650), LEVELS, HOLE),
    "int32": (stored("int32", 1, 2**31 - 256), (2**31 - 256, 2**31 - 1), LEVELS, WHOLE),
    "uint32": (stored("uint32", 1, 2**32 - 256), (2**32 - 256, 2**32 - 1), LEVELS, WHOLE),
    "float32": (stored("float32", 1 / 255), (0, 1), LEVELS, WHOLE),
    "float64": (stored("float64", 1, 1e9), (1e9, 1e9 + 255), LEVELS, WHOLE),
    "float32, NaN": (stored("float32", 1 / 255, 0, NAN), (0, 1), LEVELS, HOLE),
    "float32, NaN declared": (stored("float32", 1 / 255, 0, NAN, nodata=NAN), (0, 1), LEVELS, HOLE),
    "float32, NaN beside a value": (stored("float32", 1 / 255, 0, NAN, nodata=-9999), (0, 1), LEVELS, HOLE),
    "float32, lowest": (stored("float32", 1, 0, -3.4028235e38, nodata=-3.4028235e38), (0, 255), LEVELS, HOLE),
    "float32, infinity": (stored("float32", 1 / 255, 0, np.inf), (0, 1), LEVELS, HOLE),
    "float32, infinity declared": (stored("float32", 1 / 255, 0, -np.inf, nodata=-np.inf), (0, 1), LEVELS, HOLE),
    "grey": (grey, (0, 255), GREY, WHOLE),
    "grey and alpha": (grey_and_alpha, (0, 255), GREY, HOLE),
    "alpha": (four_bands_with_alpha("uint8"), (0, 255), LEVELS, HOLE),
    "alpha of uint16": (four_bands_with_alpha("uint16"), (0, 255), LEVELS, HOLE),
    "infrared": (infrared, (0, 255), LEVELS, WHOLE),
    "mask inside": (mask_inside, (0, 255), LEVELS, HOLE),
    "mask beside": (mask_beside, (0, 255), LEVELS, HOLE),
    "palette": (palette(), (0, 255), GREY, WHOLE),
    "palette, nodata": (palette(holes=(7,), nodata=7), (0, 255), palette_seen((7,)), HOLE),
    "palette, clear entries": (palette("PNG", holes=CLEAR), (0, 255), palette_seen(CLEAR), HOLE),
    "palette, mask inside": (palette(mask=True), (0, 255), GREY, HOLE),
    "scale and offset": (tagged(0.05, -10), (0, 255), LEVELS, WHOLE),
    "negative scale": (tagged(-0.5, 100), (0, 255), LEVELS, WHOLE),
}


def read(before: Path, after: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """The second date and its own validity."""
    with open_pair(before, after, **options) as pair:
        to_json(pair.identity())  # can be said in JSON
        return pair.read_date("after", pair.grid.window)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stretch", ["limits", "percentiles"])
def test_table(make_tiff: Tiff, name: str, stretch: str) -> None:
    write, limits, seen, hole = CASES[name]
    path = write(make_tiff, "x.tif")
    image, valid = read(path, path, stretch=limits if stretch == "limits" else "percentiles")
    assert np.array_equal(valid, ~hole)
    tolerance = 0.0
    if stretch == "percentiles" and dtype_of(path) != "uint8":
        low, high = (np.percentile(seen[:, valid], p, axis=1)[:, None, None] for p in (1, 99))
        seen, tolerance = np.clip((seen - low) / (high - low), 0, 1) * 255, 0.51
    assert np.abs(image[:, valid] - seen[:, valid]).max() <= tolerance


HALF = ORIGIN @ Affine.translation(0.5, 0.5)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[3] is HOLE])
def test_table_where_it_is_resampled(make_tiff: Tiff, name: str) -> None:
    """On a grid moved by half a pixel; what has no data is not blended in."""
    write, limits, seen, _ = CASES[name]
    before = make_tiff("a.tif", LEVELS.astype(np.uint8), transform=HALF)
    image, valid = read(before, write(make_tiff, "x.tif"), stretch=limits)
    away = cv2.dilate(HOLE.astype(np.uint8), np.ones((5, 5))) == 0
    away[-1], away[:, -1] = False, False  # where it does not reach
    assert not valid[11:20, 31:48].any()
    assert valid[away].all()
    means = (seen[:, :-1, :-1] + seen[:, :-1, 1:] + seen[:, 1:, :-1] + seen[:, 1:, 1:]) / 4
    inner = (away & valid)[:-1, :-1]
    assert np.abs(image[:, :-1, :-1] - means)[:, inner].max() <= 1


def test_scale_and_offset_change_nothing_but_limits(make_tiff: Tiff) -> None:
    plain = stored("int16", 20, 200)(make_tiff, "a.tif")
    marked = tagged(0.05, -10)(make_tiff, "b.tif")  # the same stored values
    for choice in ("percentiles", "none"):
        assert np.array_equal(*(read(path, path, stretch=choice)[0] for path in (plain, marked)))
    with open_pair(plain, marked, stretch=(0, 255)) as pair:
        info = pair.info()
    assert info["before"].stretch == Stretch("limits", (0,) * 3, (255,) * 3)
    assert info["after"].stretch == Stretch("limits", (200,) * 3, (5300,) * 3)
    assert info["after"].scaling == Scaling((0.05,) * 3, (-10.0,) * 3)


def test_nodata_in_one_band_has_no_say_in_its_percentiles() -> None:
    samples = np.tile(np.arange(100, 1100, dtype=np.int16), (3, 1))
    holed = samples.copy()
    holed[0, :300] = -9999
    stretch = Stretch.from_samples(holed, nodata=-9999)
    assert stretch.low[0] > 400
    assert stretch.low[1:] == Stretch.from_samples(samples).low[1:]


def test_tags_that_cannot_be_are_silence(make_tiff: Tiff) -> None:
    path = stored("int16", 20, 200)(make_tiff, "a.tif")
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (0.0, 1.0, 1.0)
    assert read(path, path, stretch=(200, 5300))[0].max() == 255


def test_none_rounds_and_clips_and_says_so(make_tiff: Tiff) -> None:
    raw = LEVELS.astype(np.float32)
    raw[:, 0, :4] = (-3.2, 255.4, 300, 99.6)
    path, plain = make_tiff("a.tif", raw, transform=ORIGIN), make_tiff("b.tif", LEVELS.astype(np.uint8))
    with open_pair(path, plain, stretch="none") as pair:
        tile, info = pair.read(pair.grid.window), pair.info()
        (note,) = pair.notes
    assert tile.before[:, 0, :4].tolist() == [[0, 255, 255, 100]] * 3
    assert (tile.before[:, 1:] == LEVELS[:, 1:]).all()
    assert (tile.after == LEVELS).all()
    assert info["after"].stretch is None
    assert info["before"].stretch == Stretch("none", (0,) * 3, (255,) * 3)
    assert "has float32 values, used as 0 to 255" in note
    assert "0.1% of them are out of range" in note


def test_limits_are_the_same_for_both_dates_also_for_bytes(make_tiff: Tiff) -> None:
    first, second = make_tiff("a.tif", LEVELS.astype(np.uint8)), make_tiff("b.tif", (LEVELS * 2).astype(np.uint16))
    with open_pair(first, second, stretch=(51, 102)) as pair:
        tile = pair.read(pair.grid.window)
    assert (tile.before == np.rint(np.clip((LEVELS - 51) * 5, 0, 255))).all()
    assert (tile.after == np.rint(np.clip((LEVELS * 2 - 51) * 5, 0, 255))).all()


@pytest.mark.parametrize("choice", ["minmax", (5, 5), (9, 1), (0, np.inf), (np.nan, 1), (1, 2, 3)])
def test_no_such_stretch(make_tiff: Tiff, choice: Any) -> None:
    path = make_tiff("a.tif", LEVELS.astype(np.uint8))
    with pytest.raises(SceneError, match=r"stretch (must be|needs)"):
        open_pair(path, path, stretch=choice)


@pytest.mark.parametrize(("nodata", "hole"), [(None, WHOLE), (9, GREY[0] == 255 - 9)])
def test_the_user_says_which_index_of_a_palette_is_no_data(make_tiff: Tiff, nodata: Any, hole: np.ndarray) -> None:
    path = palette(mask=True)(make_tiff, "x.tif")
    with open_pair(path, path, nodata=nodata) as pair:
        assert np.array_equal(pair.read(pair.grid.window).valid, ~hole)
        assert pair.info()["before"].palette_nodata == (() if nodata is None else (9,))


def dtype_of(path: Path) -> str:
    with rasterio.open(path) as dataset:
        return str(dataset.dtypes[0])


def test_looked_up_values_are_the_computed_ones() -> None:
    """uint16 goes through a table: every value of it as float32, which does not."""
    stretch = Stretch("limits", (100.0, 4000.0, 65535.0), (3000.5, 4001.0, 0.0))
    values = np.tile(np.arange(1 << 16), (3, 1)).reshape(3, 256, 256)
    assert (stretch.apply(values.astype(np.uint16)) == stretch.apply(values.astype(np.float32))).all()
    assert np.unique(stretch.apply(values.astype(np.uint16))[0]).size == 256
