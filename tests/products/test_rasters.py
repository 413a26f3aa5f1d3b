"""RasterSink: what stands in the files, whatever the size of scene and strips, and what happens on a full disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import put_rows, raster_sink
from rasterio.crs import CRS
from rio_cogeo import cog_validate

from schanger_edge.errors import ProductError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.products.rasters import RasterCounts

UTM = CRS.from_epsg(32633)


def make_grid(width: int, height: int) -> Grid:
    return Grid(UTM, Affine(0.5, 0, 400_000, 0, -0.5, 5_500_000), width, height)


def make_scene(width: int, height: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = rng.random((height, width), dtype=np.float32)
    valid = rng.random((height, width)) > 0.2
    probability[~valid] = np.nan
    return probability, valid


def write(folder: Path, grid: Grid, probability, valid, step: int = 100, threshold: float = 0.5) -> RasterCounts:
    with raster_sink(folder, grid, threshold) as sink:
        for row in range(0, grid.height, step):
            put_rows(sink, row, probability[row : row + step], valid[row : row + step])
        return sink.finish(folder / "probability.tif", folder / "change.tif")


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize(
    ("width", "height", "step"),
    [(1, 1, 1), (1, 700, 1000), (700, 1, 1), (257, 513, 9), (300, 1100, 1000), (256, 256, 256), (600, 530, 77)],
)
def test_files_hold_the_scene(tmp_path, width, height, step):
    probability, valid = make_scene(width, height)
    counts = write(tmp_path, make_grid(width, height), probability, valid, step)

    with np.errstate(invalid="ignore"):
        expected = np.where(valid, np.rint(probability * np.float32(254)), 255)
        changed = valid & (probability > 0.5)
    assert np.array_equal(read(tmp_path / "probability.tif"), expected)
    assert np.array_equal(read(tmp_path / "change.tif"), np.where(valid, changed, 255))
    tiles = -(-height // step)
    assert counts == RasterCounts(int(valid.sum()), int(changed.sum()), width * height, tiles_run=tiles)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 900), (3000, 1), (256, 256), (700, 1300), (2100, 600)])
@pytest.mark.parametrize("georeferenced", [True, False])
def test_files_are_cloud_optimized(tmp_path, width, height, georeferenced):
    grid = make_grid(width, height) if georeferenced else Grid(None, Affine.identity(), width, height)
    write(tmp_path, grid, *make_scene(width, height))
    assert {path.name for path in tmp_path.iterdir()} == {"probability.tif", "change.tif"}
    for path in tmp_path.iterdir():
        assert cog_validate(path, strict=True) == (True, [], [])
        with rasterio.open(path) as dataset:
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert bool(dataset.overviews(1)) == (max(width, height) > 256)


def test_the_same_scene_gives_the_same_bytes(tmp_path):
    for name, step in (("a", 100), ("b", 37)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, make_grid(600, 530), *make_scene(600, 530), step)
    for name in ("probability.tif", "change.tif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_file_that_stands_there_is_replaced(tmp_path):
    (tmp_path / "change.tif").write_bytes(b"II*\0 torn")
    write(tmp_path, make_grid(300, 20), *make_scene(300, 20))
    assert read(tmp_path / "change.tif").shape == (20, 300)


def test_files_say_what_they_are(tmp_path):
    grid = make_grid(600, 300)
    write(tmp_path, grid, *make_scene(600, 300))
    with rasterio.open(tmp_path / "probability.tif") as dataset:
        assert (dataset.crs, dataset.transform, dataset.nodata) == (grid.crs, grid.transform, 255)
        assert dataset.scales == (pytest.approx(1 / 254),)
        assert dataset.offsets == (0,)
        assert dataset.descriptions == ("probability of change",)
        assert dataset.block_shapes == [(256, 256)]
        assert dataset.compression.value == "DEFLATE"
    with rasterio.open(tmp_path / "change.tif") as dataset:
        assert (dataset.crs, dataset.transform, dataset.nodata) == (grid.crs, grid.transform, 255)
        assert dataset.colorinterp[0].name == "gray"  # change.qml has the colours


def test_plain_image_has_no_georeference(tmp_path):
    write(tmp_path, Grid(None, Affine.identity(), 40, 30), *make_scene(40, 30))
    with rasterio.open(tmp_path / "change.tif") as dataset:
        assert dataset.crs is None
        assert dataset.transform == Affine.identity()


def test_threshold_is_compared_with_the_float_and_not_reached_by_equality(tmp_path):
    threshold = 0.3  # as float32 it is greater than as float64
    probability = np.array([[0.3, np.nextafter(np.float32(0.3), np.float32(1)), 0.2999]], np.float32)
    write(tmp_path, make_grid(3, 1), probability, np.ones((1, 3), bool), threshold=threshold)
    assert read(tmp_path / "probability.tif").tolist() == [[76, 76, 76]]
    assert read(tmp_path / "change.tif").tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(("value", "valid", "counts"), [(0.9, False, (0, 0)), (0.1, True, (1, 0)), (1.0, True, (1, 1))])
def test_uniform_scenes(tmp_path, value, valid, counts):
    shape = (300, 520)
    result = write(tmp_path, make_grid(520, 300), np.full(shape, value, np.float32), np.full(shape, valid))
    pixels = 300 * 520
    assert result == RasterCounts(counts[0] * pixels, counts[1] * pixels, pixels, tiles_run=3)
    assert np.all(read(tmp_path / "change.tif") == (counts[1] if valid else 255))


def test_overviews_average_without_nodata(tmp_path):
    probability = np.full((512, 1024), 100 / 254, np.float32)
    valid = np.ones((512, 1024), bool)
    valid[::2] = False
    valid[:, 512:] = False
    write(tmp_path, make_grid(1024, 512), probability, valid)
    for name in ("probability.tif", "change.tif"):
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.overviews(1) == [2, 4]
    with rasterio.open(tmp_path / "probability.tif", overview_level=1) as overview:
        values = overview.read(1)
    assert np.all(values[:, :128] == 100)
    assert np.all(values[:, 128:] == 255)


def test_small_scene_has_no_overviews(tmp_path):
    write(tmp_path, make_grid(256, 10), *make_scene(256, 10))
    with rasterio.open(tmp_path / "change.tif") as dataset:
        assert dataset.overviews(1) == []


def test_every_pixel_of_a_section_comes_in_it(tmp_path):
    probability, valid = make_scene(20, 30)
    with raster_sink(tmp_path, make_grid(20, 30)) as sink:
        with pytest.raises(RuntimeError, match="came in section None"):
            sink.write(Window(0, 0, 20, 10), probability[:10], valid[:10])
        with pytest.raises(RuntimeError, match="began in None of"):
            sink.begin(Window(0, 25, 20, 10))
        put_rows(sink, 0, probability[:10], valid[:10])
        with pytest.raises(RuntimeError, match="200 of 600 pixels"):
            sink.finish(tmp_path / "p.tif", tmp_path / "c.tif")
        sink.begin(Window(0, 10, 20, 20))
        with pytest.raises(RuntimeError, match=r"began in Window\(col_off=0, row_off=10"):
            sink.begin(Window(0, 10, 20, 20))
        for outside in (Window(0, 9, 20, 10), Window(5, 10, 20, 10)):
            with pytest.raises(RuntimeError, match=r"came in section Window\(col_off=0, row_off=10"):
                sink.write(outside, probability[:10], valid[:10])
        sink.write(Window(0, 10, 12, 20), probability[10:, :12], valid[10:, :12])
        with pytest.raises(RuntimeError, match="240 pixels came for Window"):
            sink.end({})
        sink.write(Window(11, 10, 9, 20), probability[10:, 11:], valid[10:, 11:])  # one column twice
        with pytest.raises(RuntimeError, match="420 pixels came for Window"):
            sink.end({})


@pytest.mark.parametrize("wrong", ["narrow", "double", "uint8"])
def test_pixels_of_the_wrong_kind_are_refused(tmp_path, wrong):
    probability, valid = make_scene(20, 30)
    if wrong == "narrow":
        probability = probability[:, :19]
    elif wrong == "double":
        probability = probability.astype(np.float64)
    else:
        valid = valid.astype(np.uint8)
    with (
        raster_sink(tmp_path, make_grid(20, 30)) as sink,
        pytest.raises(ValueError, match=r"Window\(col_off=0"),
    ):
        sink.begin(Window(0, 0, 20, 30))
        sink.write(Window(0, 0, 20, 30), probability, valid)


@pytest.mark.parametrize("height", [40, 300, 1000])
@pytest.mark.parametrize("bottom", [25, 256, 299])
def test_tiles_land_in_their_places(tmp_path, height, bottom):
    probability, valid = make_scene(50, height)
    bottom = min(bottom, height - 1)
    valid[:bottom, :30] = False
    with raster_sink(tmp_path, make_grid(50, height)) as sink:
        for top, end in ((0, bottom), (bottom, height)):
            sink.begin(Window(0, top, 50, end - top))
            for left, right in ((0, 30), (30, 50)):
                part = (slice(top, end), slice(left, right))
                window = Window(left, top, right - left, end - top)
                sink.write(window, probability[part] if valid[part].any() else None, valid[part])
            sink.end({})
        sink.finish(tmp_path / "p.tif", tmp_path / "c.tif")
    with np.errstate(invalid="ignore"):
        expected = np.where(valid, np.rint(probability * np.float32(254)), 255)
    assert np.array_equal(read(tmp_path / "p.tif"), expected)


def test_missing_folder_is_a_product_error(tmp_path):
    probability, valid = make_scene(2, 2)
    with raster_sink(tmp_path, make_grid(2, 2)) as sink:
        put_rows(sink, 0, probability, valid)
        with pytest.raises(ProductError, match=r"p\.tif could not be written"):
            sink.finish(tmp_path / "absent" / "p.tif", tmp_path / "c.tif")


# 1 MiB holds: nothing much of 1400 x 1400; 900 x 900 without its overviews.
@pytest.mark.parametrize("side", [1400, 900])
def test_full_disk(small_disk, side):
    probability = np.random.default_rng(0).random((side, side), dtype=np.float32)
    with pytest.raises(ProductError, match=r"could not be written \(No space left on device\): free"):
        write(small_disk, make_grid(side, side), probability, np.ones((side, side), bool))


@pytest.mark.parametrize("free_kib", [0, 1, 4, 20, 60])
def test_disk_that_fills_at_any_time_never_leaves_a_torn_file(small_disk, free_kib):
    side = 300
    probability = np.random.default_rng(0).random((side, side), dtype=np.float32)
    (small_disk / "other").write_bytes(bytes((1024 - free_kib) * 1024))
    with pytest.raises(ProductError):
        write(small_disk, make_grid(side, side), probability, np.ones((side, side), bool))


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from affine import Affine
from schanger_edge.errors import ProductError
from schanger_edge.geo.grid import Grid
from schanger_edge.products.journal import Journal
from schanger_edge.products.rasters import RasterSink
probability = np.random.default_rng(0).random((900, 900), dtype=np.float32)
grid = Grid(None, Affine.identity(), 900, 900)
folder = Path(sys.argv[1])
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with Journal(folder, restart=True) as journal:
            journal.begin({}, 810000)
            sink = RasterSink(grid, threshold=0.5, journal=journal)
            sink.begin(grid.window)
            sink.write(grid.window, probability, np.ones((900, 900), bool))
            sink.end({})
            sink.finish(folder / "probability.tif", folder / "change.tif")
        print("whole")
    except ProductError as error:
        print("ProductError", error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_FSIZE is tried on Linux")
def test_limited_file_size(tmp_path):
    limits = [1000, 100_000, 600_000, 800_000, 950_000, 1_000_000, 10_000_000]
    command = [sys.executable, "-c", LIMITED, str(tmp_path), *map(str, limits)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[-1] == "whole"
    assert len(lines) == len(limits)
    assert all(line.startswith("ProductError") for line in lines[:-1]), lines
