"""Polygons on a pair's grid: CRS, long edges, broken outlines, and one sentence for each defect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.scene.vectors import Polygons

UTM = "EPSG:32631"
GRID = Grid(CRS.from_string(UTM), Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000), 200, 160)


def save(
    path: Path, *shapes: Any, crs: str | None = UTM, layer: str = "changes", kind: str = "Unknown", **more: Any
) -> str:
    geometry = shapely.to_wkb(np.array(shapes, object))
    drivers = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile"}
    pyogrio.raw.write(
        path, geometry, field_data=[], fields=[], layer=layer, driver=drivers[path.suffix], geometry_type=kind, crs=crs,
        **more,
    )  # fmt: skip
    return str(path)


def on_ground(col: float, row: float, col_end: float, row_end: float, grid: Grid = GRID) -> Any:
    """A box of pixels in the grid's CRS."""
    (left, top), (right, bottom) = grid.transform @ (col, row), grid.transform @ (col_end, row_end)
    return shapely.box(left, bottom, right, top)


def in_crs(shape: Any, crs: str) -> Any:
    to = pyproj.Transformer.from_crs(UTM, crs, always_xy=True)
    return shapely.transform(shape, to.transform, interleaved=False)


@pytest.mark.parametrize(("suffix", "crs"), [(".gpkg", UTM), (".geojson", "EPSG:4326"), (".shp", "EPSG:2154")])
def test_burnt_where_pixel_centres_lie_inside(tmp_path: Path, suffix: str, crs: str) -> None:
    shape = on_ground(20.4, 30.4, 60.4, 45.6).difference(on_ground(30, 35, 40, 40))
    path = save(tmp_path / f"labels{suffix}", in_crs(shape, crs), crs=crs, kind="Polygon")
    whole = np.zeros((160, 200), bool)
    whole[30:46, 20:60] = True
    whole[35:40, 30:40] = False
    polygons = Polygons(path, GRID)
    assert (polygons.count, polygons.meets) == (1, True)
    assert (polygons.burn(GRID.window) == whole).all()
    part = Window(25, 38, 50, 20)
    assert (polygons.burn(part) == whole[part.slices_in(GRID.window)]).all()
    assert not polygons.burn(Window(100, 100, 8, 8)).any()


def test_a_long_edge_bends_with_the_reprojection(tmp_path: Path) -> None:
    """One edge of 160 km along a parallel: straight in UTM it would miss by four pixels."""
    grid = Grid(CRS.from_string(UTM), Affine(100, 0, 600_000, 0, -100, 5_560_000), 1600, 200)
    path = save(tmp_path / "area.gpkg", shapely.box(-10, 50, 20, 60), crs="EPSG:4326")
    rows, cols = np.mgrid[:200, :1600] + 0.5
    x, y = grid.transform @ (cols.ravel(), rows.ravel())
    _, latitude = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(x, y)
    expected = (latitude > 50).reshape(200, 1600)
    assert 0.2 < expected.mean() < 0.95
    assert (Polygons(path, grid).burn(grid.window) != expected).mean() < 1e-4


def test_outlines_that_cross_themselves_are_mended(tmp_path: Path) -> None:
    corners = [GRID.transform @ point for point in ((10, 10), (50, 50), (50, 10), (10, 50))]
    path = save(tmp_path / "bowtie.gpkg", shapely.Polygon(corners), None, shapely.Polygon())
    burnt = Polygons(path, GRID).burn(GRID.window)
    assert burnt[30, 12]
    assert burnt[30, 48]
    assert not burnt[12, 30]
    assert 760 <= burnt.sum() <= 840  # two triangles of 400 pixels


def test_many_parts_and_heights(tmp_path: Path) -> None:
    boxes = [on_ground(4 * k, 0, 4 * k + 2, 2) for k in range(20)]
    high = shapely.force_3d(shapely.MultiPolygon(boxes), 7.0)
    assert Polygons(save(tmp_path / "many.gpkg", high), GRID).burn(GRID.window).sum() == 80


def test_layers(tmp_path: Path) -> None:
    path = save(tmp_path / "two.gpkg", on_ground(0, 0, 10, 10), layer="new")
    pyogrio.raw.write(  # what QGIS keeps its styles in
        path, None, field_data=[np.array(["x"], object)], fields=["style"], layer="layer_styles", append=True,
        driver="GPKG", geometry_type=None, crs=None,
    )  # fmt: skip
    assert Polygons(path, GRID).count == 1
    save(tmp_path / "two.gpkg", on_ground(0, 0, 5, 5), layer="gone", append=True)
    assert Polygons(path, GRID, "gone").burn(GRID.window).sum() == 25
    with pytest.raises(SceneError, match=r"has 2 layers with geometry \(new, gone\)"):
        Polygons(path, GRID)
    with pytest.raises(SceneError, match="no layer 'old'"):
        Polygons(path, GRID, "old")


def test_empty_and_elsewhere(tmp_path: Path) -> None:
    empty = Polygons(save(tmp_path / "empty.gpkg", kind="Polygon"), GRID)
    assert (empty.count, empty.meets) == (0, False)
    assert not empty.burn(GRID.window).any()
    far = Polygons(save(tmp_path / "far.gpkg", on_ground(9000, 0, 9010, 10)), GRID)
    assert (far.count, far.meets) == (1, False)


def test_what_lies_on_the_far_side_of_the_world_does_no_harm(tmp_path: Path) -> None:
    """Transverse Mercator cannot show it."""
    near, far = in_crs(on_ground(0, 0, 10, 10), "EPSG:4326"), shapely.box(93, -1, 94, 1)
    assert Polygons(save(tmp_path / "world.gpkg", near, far, crs="EPSG:4326"), GRID).burn(GRID.window).sum() == 100


def test_defects(tmp_path: Path) -> None:
    box = on_ground(0, 0, 10, 10)
    with pytest.raises(SceneError, match="does not exist"):
        Polygons(str(tmp_path / "none.gpkg"), GRID)
    (tmp_path / "text.gpkg").write_text("hello")
    with pytest.raises(SceneError, match="cannot be read as a vector file"):
        Polygons(str(tmp_path / "text.gpkg"), GRID)
    save(tmp_path / "bare.shp", box, kind="Polygon")
    (tmp_path / "bare.prj").unlink()
    with pytest.raises(SceneError, match=r"bare\.shp has no CRS"):
        Polygons(str(tmp_path / "bare.shp"), GRID)
    with pytest.raises(SceneError, match="points or lines"):
        Polygons(save(tmp_path / "points.gpkg", box, box.centroid), GRID)
    nowhere = shapely.Polygon([(500_000, 4_650_000), (500_010, float("nan")), (500_010, 4_649_990)])
    with pytest.raises(SceneError, match="coordinates that are no numbers"):
        Polygons(save(tmp_path / "nan.gpkg", nowhere), GRID)


def test_agrees_with_one_burn_of_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    blobs = [
        shapely.Point(*(GRID.transform @ rng.uniform((0, 0), (200, 160)))).buffer(rng.uniform(1, 9)) for _ in range(40)
    ]
    polygons = Polygons(save(tmp_path / "blobs.gpkg", *blobs), GRID)
    whole = rasterio.features.rasterize(blobs, (160, 200), transform=GRID.transform).astype(bool)
    for row in range(0, 160, 32):
        for col in range(0, 200, 40):
            window = Window(col, row, 40, 32)
            assert (polygons.burn(window) == whole[window.slices_in(GRID.window)]).all()


@pytest.mark.parametrize(
    "path",
    [
        "http://127.0.0.1:1/c.geojson?X-Amz-Signature=SECRET",
        "/vsicurl/http://user:SECRET@127.0.0.1:1/c.gpkg",
        "PG:host=127.0.0.1 port=1 user=me password=SECRET dbname=city",
        "PG:host=127.0.0.1 port=1 password='SECRET word' dbname=city",
        "postgresql://me:SECRET@127.0.0.1:1/city",
    ],
)
def test_keys_and_passwords_are_shown_nowhere(path: str, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(SceneError) as told:
        Polygons(path, Grid(CRS.from_epsg(32631), Affine(1, 0, 0, 0, -1, 0), 10, 10))
    assert "SECRET" not in str(told.value)
    assert not any("SECRET" in str(warning.message) for warning in recwarn)
