"""write_polygons: outlines, areas on the ground and measures, against simple independent calculations."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio.features
import shapely
from affine import Affine
from helpers import write_maps
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from schanger_edge.errors import ProductError
from schanger_edge.geo.areas import pixel_area
from schanger_edge.geo.grid import Grid
from schanger_edge.products import components
from schanger_edge.products import polygons as polygons_module
from schanger_edge.products.polygons import write_polygons
from schanger_edge.products.shaping import Shaping

FIELDS = ["id", "area_m2", "pixels", "probability_mean", "probability_max"]
UTM = CRS.from_epsg(32633)
HALF_METRE = Affine(0.5, 0, 400_000, 0, -0.5, 5_500_000)
PIXEL = pixel_area(Grid(UTM, HALF_METRE, 300, 300)) or 0.0
"""Square metres of a pixel of it on the ground, 0.06 % more than on the map."""


def vectorise(folder: Path, change, *, crs=UTM, transform=HALF_METRE, valid=None, min_area=0.0, probability=None):
    """Write the maps and the polygons; (count, fields by name, geometries, CRS of the layer)."""
    height, width = change.shape
    grid = Grid(crs, transform, width, height)
    if probability is None:
        probability = np.where(change, 0.9, 0.1)
    valid = np.ones_like(change) if valid is None else valid
    paths = {"probability": folder / "probability.tif", "change": folder / "change.tif"}
    write_maps(folder, grid, probability, valid)
    target = folder / "changes.gpkg"
    count = write_polygons(paths["change"], paths["probability"], grid, target, Shaping(min_area=min_area))
    meta, _, wkb, data = pyogrio.raw.read(target, layer="changes")
    assert list(meta["fields"]) == FIELDS
    assert {path.name for path in folder.iterdir()} == {"probability.tif", "change.tif", "changes.gpkg"}
    assert count.left_out == 0
    return count.written, dict(zip(FIELDS, data, strict=True)), shapely.from_wkb(wkb), meta["crs"]


def label(change):
    """4-connected areas by flood filling, as sets of (row, column)."""
    left = {(int(r), int(c)) for r, c in np.argwhere(change)}
    areas = []
    while left:
        front = [left.pop()]
        area = set(front)
        while front:
            r, c = front.pop()
            for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if near in left:
                    left.remove(near)
                    area.add(near)
                    front.append(near)
        areas.append(area)
    return areas


@pytest.mark.parametrize(
    ("width", "height", "share"),
    [(1, 1, 1.0), (1, 300, 0.5), (300, 1, 0.5), (61, 47, 0.4), (61, 47, 0.6), (40, 30, 1.0)],
)
@pytest.mark.parametrize("strip_pixels", [1, 700, 1 << 21])
def test_every_area_is_one_polygon(tmp_path, monkeypatch, width, height, share, strip_pixels):
    monkeypatch.setattr(components, "_STRIP_PIXELS", strip_pixels)
    rng = np.random.default_rng(3)
    change = rng.random((height, width)) < share
    probability = np.where(change, rng.uniform(0.6, 1, change.shape), 0.2)
    valid = rng.random((height, width)) > 0.1
    valid[0, 0] = True
    count, fields, shapes, _ = vectorise(tmp_path, change, valid=valid, probability=probability)

    stored = np.rint(probability.astype(np.float32) * np.float32(254)) / 254
    expected = {frozenset(area) for area in label(change & valid)}
    assert count == len(expected) == len(shapes)
    assert shapely.is_valid(shapes).all()
    assert fields["id"].tolist() == list(range(1, count + 1))
    assert np.all(np.diff(fields["area_m2"]) <= 0)
    for index, shape in enumerate(shapes):
        burnt = rasterio.features.rasterize([shape], out_shape=change.shape, transform=HALF_METRE)
        area = frozenset((int(r), int(c)) for r, c in np.argwhere(burnt))
        expected.remove(area)
        values = np.array([stored[pixel] for pixel in area])
        assert fields["pixels"][index] == len(area)
        assert fields["area_m2"][index] == pytest.approx(len(area) * PIXEL, rel=1e-5)
        assert shape.area == pytest.approx(len(area) / 4)
        assert fields["probability_mean"][index] == pytest.approx(values.mean())
        assert fields["probability_max"][index] == pytest.approx(values.max())
    assert not expected


def test_spiral_is_one_polygon(tmp_path, monkeypatch):
    monkeypatch.setattr(components, "_STRIP_PIXELS", 1)
    change = np.zeros((41, 41), bool)
    row, col, step = 0, -1, (0, 1)
    for length in [41, *(n for n in range(40, 0, -2) for _ in range(2))]:
        for _ in range(length):
            row, col = row + step[0], col + step[1]
            change[row, col] = True
        step = (step[1], -step[0])
    count, fields, _, _ = vectorise(tmp_path, change)
    assert count == len(label(change)) == 1
    assert fields["pixels"].tolist() == [change.sum()]


def test_holes_are_kept(tmp_path):
    change = np.ones((300, 300), bool)
    change[10:20, 30:50] = change[100:101, 100:101] = False
    _, fields, shapes, crs = vectorise(tmp_path, change)
    assert len(shapes[0].interiors) == 2
    assert shapes[0].area == (90_000 - 201) / 4
    assert fields["area_m2"][0] == pytest.approx((90_000 - 201) * PIXEL, rel=1e-5)
    assert CRS.from_user_input(crs) == UTM


@pytest.mark.parametrize("valid", [True, False])
def test_no_change_is_an_empty_layer(tmp_path, valid):
    change = np.zeros((20, 30), bool)
    count, fields, shapes, crs = vectorise(tmp_path, change, valid=np.full_like(change, valid))
    assert (count, len(shapes)) == (0, 0)
    assert CRS.from_user_input(crs) == UTM
    info = pyogrio.read_info(tmp_path / "changes.gpkg", layer="changes")
    assert (info["layer_name"], info["geometry_type"]) == ("changes", "Polygon")
    assert [field.dtype.kind for field in fields.values()] == ["i", "f", "i", "f", "f"]


def test_plain_image_has_pixel_coordinates_and_no_area(tmp_path):
    change = np.zeros((20, 30), bool)
    change[5:7, 10:14] = change[0, 0] = True
    count, fields, shapes, _ = vectorise(tmp_path, change, crs=None, transform=Affine.identity(), min_area=2)
    assert count == 1
    assert shapes[0].bounds == (10, 5, 14, 7)
    assert np.isnan(fields["area_m2"]).all()
    assert fields["pixels"].tolist() == [8]


def test_areas_below_the_minimum_leave_polygons_and_map(tmp_path):
    change = np.zeros((300, 300), bool)
    change[0, :] = change[5:9, 5:9] = change[250:254, 3:6] = change[100, 100] = True
    valid = np.ones_like(change)
    valid[50:60] = False
    count, fields, shapes, _ = vectorise(tmp_path, change, valid=valid, min_area=16 / 4)
    assert count == len(shapes) == 2
    assert fields["pixels"].tolist() == [300, 16]
    assert fields["area_m2"] == pytest.approx([300 * PIXEL, 16 * PIXEL], rel=1e-5)
    with rasterio.open(tmp_path / "change.tif") as dataset:
        values = dataset.read(1)
        assert dataset.overviews(1) == [2]
        assert dataset.descriptions == ("change",)
    change[100, 100] = change[250:254, 3:6] = False
    assert np.array_equal(values, np.where(valid, change, 255))


def blob():
    change = np.zeros((60, 80), bool)
    change[10:50, 20:70] = True
    change[30:35, 40:45] = False
    change[55, 3] = True
    return change


def geodesic_area(shape, crs, ellipsoid="WGS84"):
    """The area inside geodesics between all pixel corners along the outline."""
    to_geographic = Transformer.from_crs(
        crs.to_wkt(), crs.to_wkt() if crs.is_geographic else "EPSG:4326", always_xy=True
    )
    geod = Geod(ellps=ellipsoid)

    def ring_area(ring):
        x, y = np.array(ring.coords).T
        lon, lat = (x, y) if crs.is_geographic else to_geographic.transform(x, y)
        return abs(geod.polygon_area_perimeter(lon, lat)[0])

    return ring_area(shape.exterior) - sum(map(ring_area, shape.interiors))


@pytest.mark.parametrize(
    ("epsg", "transform", "ellipsoid"),
    [
        (4326, Affine(1e-5, 0, 13, 0, -1e-5, 52), "WGS84"),
        (4326, Affine(1e-3, 0, 20, 0, -1e-3, -69), "WGS84"),
        (4326, Affine(1e-5, 2e-6, -70, 2e-6, -1e-5, 8), "WGS84"),
        (4267, Affine(1e-5, 0, -100, 0, -1e-5, 40), "clrk66"),
        (3857, Affine(0.6, 0, 1.4e6, 0, -0.6, 7.2e6), "WGS84"),
        (3857, Affine(0.6, 0, 20037508.3 - 24, 0, -0.6, -4e6), "WGS84"),
        (3395, Affine(10, 0, 1.4e6, 0, -10, 8e6), "WGS84"),
    ],
)
def test_area_on_the_ellipsoid(tmp_path, epsg, transform, ellipsoid):
    crs = CRS.from_epsg(epsg)
    _, fields, shapes, _ = vectorise(tmp_path, blob(), crs=crs, transform=transform)
    shapes = shapely.segmentize(shapes, max(abs(transform.a), abs(transform.e)))
    expected = [geodesic_area(shape, crs, ellipsoid) for shape in shapes]
    # The geodesic sum itself is off by about 1e-5 m2.
    assert fields["area_m2"] == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_area_of_the_whole_earth(tmp_path):
    change = np.ones((18, 36), bool)
    _, fields, _, _ = vectorise(tmp_path, change, crs=CRS.from_epsg(4326), transform=Affine(10, 0, -180, 0, -10, 90))
    assert fields["area_m2"][0] == pytest.approx(510_065_621_724_088, rel=1e-9)


@pytest.mark.parametrize(
    ("epsg", "metres", "kept"),
    [(2263, 1200 / 3937, 0.001), (32633, 1, 0.01), (3035, 1, 1e-6)],
)
def test_area_is_in_square_metres_on_the_ground(tmp_path, epsg, metres, kept):
    rotated = Affine.translation(1e6, 2e5) @ Affine.rotation(30) @ Affine.scale(2, -3)
    _, fields, shapes, _ = vectorise(tmp_path, blob(), crs=CRS.from_epsg(epsg), transform=rotated)
    assert fields["area_m2"] == pytest.approx(fields["pixels"] * 6 * metres**2, rel=kept)
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    on_globe = shapely.transform(shapes, to_degrees.transform, interleaved=False)
    true = [abs(Geod(ellps="GRS80").geometry_area_perimeter(shape)[0]) for shape in on_globe]
    assert fields["area_m2"] == pytest.approx(true, rel=1e-6, abs=1e-3)


def test_min_area_counts_ground_not_map_units(tmp_path):
    transform = Affine(1, 0, 0, 0, -1, 8_399_737)  # 60 degrees north: a map metre is about half a metre
    change = np.zeros((20, 20), bool)
    change[2:12, 2:12] = True
    kwargs = {"crs": CRS.from_epsg(3857), "transform": transform}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert vectorise(tmp_path / "a", change, min_area=20, **kwargs)[0] == 1
    assert vectorise(tmp_path / "b", change, min_area=30, **kwargs)[0] == 0


def test_many_polygons_are_written_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(polygons_module, "_CHUNK", 700)
    change = np.zeros((100, 200), bool)
    change[::2, ::2] = True
    change[0, 1] = True
    count, fields, shapes, _ = vectorise(tmp_path, change)
    assert count == len(shapes) == 4999
    assert fields["id"].tolist() == list(range(1, 5000))
    assert fields["pixels"][0] == 3
    assert len({shape.bounds for shape in shapes}) == 4999


def test_of_too_many_polygons_the_largest_stay(tmp_path, monkeypatch):
    change = np.zeros((3, 9), bool)
    change[0, 0] = change[0, 2:4] = change[0, 5:8] = change[2, 0] = True
    paths = {name: tmp_path / f"{name}.tif" for name in ("probability", "change")}
    grid = Grid(UTM, HALF_METRE, 9, 3)
    write_maps(tmp_path, grid, change, np.ones_like(change))
    monkeypatch.setattr(polygons_module, "MOST", 2)
    count = write_polygons(paths["change"], paths["probability"], grid, tmp_path / "changes.gpkg", Shaping(min_area=0))
    assert (count.written, count.left_out) == (2, 2)
    _, _, _, data = pyogrio.raw.read(tmp_path / "changes.gpkg", layer="changes")
    assert dict(zip(FIELDS, data, strict=True))["pixels"].tolist() == [3, 2]


def test_unreadable_map_and_missing_folder(tmp_path):
    vectorise(tmp_path, blob())
    grid = Grid(UTM, HALF_METRE, 80, 60)
    change, probability = tmp_path / "change.tif", tmp_path / "probability.tif"
    with pytest.raises(ProductError, match=r"changes\.gpkg could not be written"):
        write_polygons(change, probability, grid, tmp_path / "absent" / "changes.gpkg", Shaping(min_area=0))
    change.write_bytes(b"no tiff")
    with pytest.raises(ProductError, match=r"change\.tif could not be read"):
        write_polygons(change, probability, grid, tmp_path / "changes.gpkg", Shaping(min_area=0))


def test_full_disk(small_disk, tmp_path):
    change = np.zeros((200, 200), bool)
    change[::2, ::2] = True
    maps = tmp_path / "maps"
    maps.mkdir()
    vectorise(maps, change)
    target, grid = small_disk / "changes.gpkg", Grid(UTM, HALF_METRE, 200, 200)
    for min_area in (0.0, 0.25):
        with pytest.raises(ProductError, match=r"changes\.gpkg could not be written"):
            write_polygons(maps / "change.tif", maps / "probability.tif", grid, target, Shaping(min_area=min_area))


def test_areas_keep_their_size_near_the_pole(tmp_path):
    """A row of cells that reaches the pole is a spherical cap's share."""
    _, fields, _, _ = vectorise(
        tmp_path, np.ones((1, 4), bool), crs=CRS.from_epsg(4326), transform=Affine(90, 0, -180, 0, -0.01, 90)
    )
    radius = 6_399_594  # of curvature at the pole
    assert fields["area_m2"][0] == pytest.approx(math.pi * (radius * math.radians(0.01)) ** 2, rel=1e-4)
