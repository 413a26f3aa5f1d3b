"""The made-up scenes: pure functions of seed and position, honest truth, well-formed files."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.synthetic import SyntheticScene, write_pair


def _busy_scene(seed=5, size=512, **options):
    return SyntheticScene(seed, size, size, **options)


def test_same_seed_same_scene():
    window = Window(0, 0, 256, 256)
    first, second = _busy_scene(), _busy_scene()
    second.render("after", Window(300, 300, 8, 8))  # what was asked before must not matter
    for date in ("before", "after"):
        image = first.render(date, window)
        assert image.shape == (3, 256, 256)
        assert image.dtype == np.uint8
        assert image.min() >= 1
        np.testing.assert_array_equal(image, second.render(date, window))
    assert not np.array_equal(first.render("before", window), SyntheticScene(6, 512, 512).render("before", window))


@pytest.mark.parametrize("city", [False, True])
def test_a_pickled_scene_is_the_same(city):
    scene = pickle.loads(pickle.dumps(_busy_scene(city=city)))
    np.testing.assert_array_equal(scene.truth(), _busy_scene(city=city).truth())


@pytest.mark.parametrize("city", [False, True])
@pytest.mark.parametrize("date", ["before", "after"])
def test_windows_are_crops_of_the_whole(date, city):
    scene = _busy_scene(city=city)
    whole, roofs, truth = scene.render(date), scene.buildings(date), scene.truth()
    for window in (Window(117, 203, 61, 87), Window(250, 0, 13, 512), Window(511, 511, 1, 1)):
        fresh = _busy_scene(city=city)
        rows, cols = window.slices_in(scene.window)
        np.testing.assert_array_equal(fresh.render(date, window), whole[:, rows, cols])
        np.testing.assert_array_equal(fresh.buildings(date, window), roofs[rows, cols])
        np.testing.assert_array_equal(fresh.truth(window), truth[rows, cols])


def test_scene_size_does_not_move_the_ground():
    window = Window(10, 20, 40, 30)
    small, large = SyntheticScene(3, 64, 64), SyntheticScene(3, 4096, 2048)
    np.testing.assert_array_equal(small.render("after", window), large.render("after", window))


@pytest.mark.parametrize("seed", range(6))
def test_truth_is_what_stands_on_one_date(seed):
    scene = SyntheticScene(seed, 768, 768)
    before, after, truth = scene.buildings("before"), scene.buildings("after"), scene.truth()
    assert set(np.unique(truth)) <= {0, 1}
    assert np.all(truth[before != after] == 1)
    # Change without a difference is only where one building replaces another, so a roof on both dates.
    same = (truth == 1) & (before == after)
    assert np.all(before[same] == 1)
    assert same.sum() <= 0.3 * truth.sum() + 500


def test_high_buildings_of_a_city_lean_as_each_date_sees_them():
    scene = SyntheticScene(3, 512, 512, city=True)
    before, after, truth = scene.buildings("before"), scene.buildings("after"), scene.truth()
    assert np.all((before | after)[truth == 1] == 1)
    assert np.mean((before != after) & (truth == 0)) > 0.02
    # The images show them there: where only one date sees a building, the dates are less alike than on open ground.
    images = [scene.render(date).astype(np.float32).mean(0) for date in ("before", "after")]
    leaning, open_ground = (before != after) & (truth == 0), (before | after) == 0
    alike = [np.corrcoef(images[0][where], images[1][where])[0, 1] for where in (leaning, open_ground)]
    assert alike[0] < alike[1] - 0.1


def test_share_of_change_over_seeds():
    tiles, shares = [], []
    for seed in range(16):
        truth = SyntheticScene(seed, 1024, 1024).truth()
        shares.append(truth.mean())
        tiles.append(truth.reshape(4, 256, 4, 256).mean((1, 3)))
    assert 0.02 < np.mean(shares) < 0.09
    assert max(shares) < 0.25
    assert 0.15 < np.mean(np.array(tiles) == 0) < 0.75


def test_change_is_visible():
    scene = _busy_scene()
    before, after = (scene.render(date).astype(np.float32).mean(0) for date in ("before", "after"))
    truth = scene.truth() == 1
    assert truth.sum() > 2000

    def likeness(where):
        return np.corrcoef(before[where], after[where])[0, 1]

    assert likeness(~truth) > likeness(truth) + 0.1


@pytest.mark.parametrize("offset", [(0.5, -0.25), (-0.3, 1.6)])
def test_offset_moves_the_ground(offset):
    scene, window = _busy_scene(11), Window(0, 0, 256, 256)
    still = scene.render("before", window).mean(0)
    moved = scene.render("before", window, offset=offset).mean(0)
    found, _ = cv2.phaseCorrelate(still, moved, cv2.createHanningWindow((256, 256), cv2.CV_64F))
    assert np.allclose(found, offset, atol=0.15)


def test_a_whole_pixel_of_offset_is_a_crop():
    scene, window = _busy_scene(11), Window(0, 0, 256, 256)
    still, moved = scene.render("before", window), scene.render("before", window, offset=(3.0, 2.0))
    assert np.corrcoef(moved[:, 2:, 3:].ravel(), still[:, :-2, :-3].ravel())[0, 1] > 0.99


def test_detail_follows_the_gsd():
    fine, coarse = _busy_scene(5, 256, gsd=0.5), _busy_scene(5, 128, gsd=1.0)
    roofs = fine.buildings("after").reshape(128, 2, 128, 2).mean((1, 3)) > 0.5
    assert np.mean(roofs == coarse.buildings("after", Window(0, 0, 128, 128))) > 0.98


def test_write_pair(tmp_path):
    shares = []
    pair = write_pair(tmp_path / "new", width=500, height=300, seed=5, shift=(0.4, 0.0), progress=shares.append)
    assert sorted(path.name for path in pair.before.parent.iterdir()) == ["after.tif", "before.tif", "truth.tif"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    scene = SyntheticScene(5, 500, 300)
    with rasterio.open(pair.before) as before, rasterio.open(pair.after) as after, rasterio.open(pair.truth) as truth:
        assert before.crs.to_epsg() == 32631
        assert before.res == (0.5, 0.5)
        assert before.transform == after.transform == truth.transform
        assert before.nodata == after.nodata == 0
        assert truth.nodata == 255
        assert before.profile["compress"] == "deflate"
        assert before.block_shapes == [(256, 256)] * 3
        empty = before.dataset_mask() == 0
        assert 0.03 < empty.mean() < 0.05
        np.testing.assert_array_equal(truth.read(1) == 255, empty)
        np.testing.assert_array_equal(truth.read(1)[~empty], scene.truth()[~empty])
        np.testing.assert_array_equal(before.read()[:, ~empty], scene.render("before")[:, ~empty])
        np.testing.assert_array_equal(after.read(), scene.render("after", offset=(0.4, 0.0)))


def test_write_pair_without_wedge_as_uint16(tmp_path):
    pair = write_pair(tmp_path, width=90, height=70, seed=2, dtype="uint16", nodata_wedge=False)
    with rasterio.open(pair.before) as before, rasterio.open(pair.after) as after:
        assert before.dtypes == after.dtypes == ("uint16",) * 3
        values = before.read()
        assert values.min() > 90
        assert 255 < values.max() < 2048
        seen = SyntheticScene(2, 90, 70).render("before")
        for band in range(3):
            assert np.corrcoef(values[band].ravel(), seen[band].ravel())[0, 1] > 0.999


@pytest.mark.parametrize("after_crs", ["EPSG:32632", "EPSG:4326"])
def test_after_crs_lies_on_the_same_ground(tmp_path, after_crs):
    pair = write_pair(tmp_path, width=400, height=300, seed=5, after_crs=after_crs)
    assert len(list(tmp_path.iterdir())) == 3
    direct = SyntheticScene(5, 400, 300).render("after")
    back = np.zeros_like(direct)
    with rasterio.open(pair.before) as before, rasterio.open(pair.after) as after:
        assert after.crs.to_epsg() == int(after_crs.split(":")[1])
        assert after.nodata == 0
        source = rasterio.band(after, [1, 2, 3])
        grid = {"dst_transform": before.transform, "dst_crs": before.crs}
        reproject(source, back, resampling=Resampling.cubic, dst_nodata=0, **grid)
    seen = back.any(0)
    assert seen.mean() > 0.98
    assert np.corrcoef(back[:, seen].ravel(), direct[:, seen].ravel())[0, 1] > 0.95
    shift, _ = cv2.phaseCorrelate(back.mean(0), direct.mean(0), cv2.createHanningWindow((400, 300), cv2.CV_64F))
    assert np.hypot(*shift) < 0.1


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_before_in_other_crs_keeps_the_gsd(tmp_path, crs):
    from schanger_edge.geo.grid import Grid

    pair = write_pair(tmp_path, width=40, height=30, seed=1, crs=crs, gsd=0.5)
    with rasterio.open(pair.before) as file:
        grid = Grid(file.crs, file.transform, file.width, file.height)
    assert grid.gsd == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (1, 3), (257, 19)])
def test_odd_sizes(tmp_path, width, height):
    pair = write_pair(tmp_path, width=width, height=height, seed=1)
    for path in (pair.before, pair.after, pair.truth):
        with rasterio.open(path) as file:
            assert (file.width, file.height) == (width, height)


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "before.tif").write_text("precious")

    def fail(_share):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_pair(tmp_path, width=20, height=20, progress=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["before.tif"]
    assert (tmp_path / "before.tif").read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "0 x 20"),
        ({"height": -3}, "20 x -3"),
        ({"gsd": 0.0}, "metres per pixel"),
        ({"gsd": float("nan")}, "metres per pixel"),
        ({"dtype": "float32"}, "float32"),
        ({"crs": "EPSG:99999999"}, "EPSG:99999999"),
        ({"crs": "EPSG:4978"}, "EPSG:4978"),
        ({"after_crs": "nonsense"}, "nonsense"),
        ({"shift": (float("nan"), 0.0)}, "shifted"),
    ],
)
def test_bad_values_are_errors(tmp_path, options, message):
    with pytest.raises(SceneError, match=message):
        write_pair(tmp_path / "never", **{"width": 20, "height": 20, **options})
    assert not (tmp_path / "never").exists()


def test_bad_requests_are_errors():
    scene = SyntheticScene(1, 20, 20)
    with pytest.raises(SceneError, match="date"):
        scene.render("yesterday")
    with pytest.raises(SceneError, match="empty"):
        scene.truth(Window(0, 0, 0, 5))
