"""Plainer outlines: what moves and what may not, in polygons and in the map they come from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio.features
import shapely
from affine import Affine
from helpers import write_maps
from rasterio.crs import CRS

from schanger_edge.geo.areas import pixel_area
from schanger_edge.geo.grid import Grid
from schanger_edge.products import polygons as polygons_module
from schanger_edge.products.polygons import write_polygons
from schanger_edge.products.shaping import Shaping

UTM = CRS.from_epsg(32633)
HALF_METRE = Affine(0.5, 0, 400_000, 0, -0.5, 5_500_000)
DEGREES = Affine(1e-5, 0, 13, 0, -1e-5, 60)  # 0.56 x 1.11 m


def vectorise(
    folder: Path, change: np.ndarray, *, crs: CRS | None = UTM, transform: Affine = HALF_METRE, valid: Any = None,
    **options: float,
) -> tuple[dict[str, np.ndarray], np.ndarray]:  # fmt: skip
    """Write the maps and the polygons; (fields by name, geometries); outlines leave the maps as they are."""
    folder.mkdir(exist_ok=True)
    grid = Grid(crs, transform, change.shape[1], change.shape[0])
    paths = {"probability": folder / "probability.tif", "change": folder / "change.tif"}
    write_maps(folder, grid, np.where(change, 0.9, 0.1), np.ones_like(change) if valid is None else valid)
    maps = [path.read_bytes() for path in paths.values()]
    write_polygons(
        paths["change"], paths["probability"], grid, folder / "changes.gpkg", Shaping(**{"min_area": 0, **options})
    )
    same = [path.read_bytes() == before for path, before in zip(paths.values(), maps, strict=True)]
    assert same == [True, not options.get("min_area")]  # small areas leave change.tif
    meta, _, wkb, data = pyogrio.raw.read(folder / "changes.gpkg", layer="changes")
    return dict(zip(meta["fields"], data, strict=True)), shapely.from_wkb(wkb)


def round_things(side: int = 200) -> np.ndarray:
    """Discs with and without holes, as pixels."""
    rows, cols = np.mgrid[:side, :side]
    change = np.zeros((side, side), bool)
    for row, col, outer, inner in ((50, 50, 40, 12), (140, 60, 35, 0), (70, 150, 30, 25), (160, 160, 9, 2)):
        distance = np.hypot(rows - row, cols - col)
        change |= (distance <= outer) & (distance >= inner)
    return change


@pytest.mark.parametrize(("crs", "transform"), [(UTM, HALF_METRE), (None, Affine.identity())])
def test_simplified_outlines_stay_near_and_valid(tmp_path: Path, crs: CRS | None, transform: Affine) -> None:
    tolerance = 1.0 if crs else 2.0  # two pixels in both
    fields, shapes = vectorise(tmp_path / "a", round_things(), crs=crs, transform=transform)
    plain_fields, plain = vectorise(tmp_path / "b", round_things(), crs=crs, transform=transform, simplify=tolerance)
    assert len(plain) == 4
    assert shapely.is_valid(plain).all()
    assert shapely.get_coordinates(plain).shape[0] < shapely.get_coordinates(shapes).shape[0] / 3
    assert (shapely.hausdorff_distance(plain, shapes) <= tolerance * 1.0001).all()
    assert not shapely.equals(plain, shapes).any()
    for name, values in fields.items():
        assert np.array_equal(plain_fields[name], values, equal_nan=True), name


def test_no_tolerance_breaks_a_polygon(tmp_path: Path) -> None:
    change = np.random.default_rng(5).random((80, 90)) < 0.62
    _, shapes = vectorise(tmp_path / "a", change)
    for number, simplify in enumerate((0.3, 1.0, 7.0, 1000.0)):
        fields, plain = vectorise(tmp_path / f"b{number}", change, simplify=simplify)
        assert len(plain) == len(shapes) == len(fields["id"])
        assert shapely.is_valid(plain).all()
        assert (shapely.area(plain) > 0).all()
        assert (shapely.get_type_id(plain) == 3).all()


def holed() -> np.ndarray:
    """An area of 90 x 90 with holes of 1, 12 and 400 pixels; in the largest lies an area of 4."""
    change = np.zeros((100, 100), bool)
    change[5:95, 5:95] = True
    change[10, 10] = change[20:23, 10:14] = change[40:60, 40:60] = False
    change[49:51, 49:51] = True
    return change


@pytest.mark.parametrize(
    ("crs", "transform", "pixel"),
    [
        (UTM, HALF_METRE, 0.25),
        (CRS.from_epsg(2263), Affine(1, 0, 1e6, 0, -1, 2e5), (1200 / 3937) ** 2),
        (CRS.from_epsg(4326), DEGREES, 1e-10 * 111_415 * 55_800),
        (CRS.from_epsg(3857), Affine(2, 0, 1.4e6, 0, -2, 8_399_737), 4 * math.cos(math.radians(60)) ** 2),
        (None, Affine.identity(), 1.0),
    ],
)
@pytest.mark.parametrize(("pixels", "left"), [(0, 3), (1.05, 2), (0.95, 3), (12.6, 1), (11.4, 2), (420, 0), (380, 1)])
def test_holes_smaller_than_asked_are_filled(
    tmp_path: Path, crs: CRS | None, transform: Affine, pixel: float, pixels: float, left: int
) -> None:
    fields, shapes = vectorise(tmp_path, holed(), crs=crs, transform=transform, fill_holes=pixels * pixel)
    assert shapely.is_valid(shapes).all()
    assert len(shapes[0].interiors) == left
    assert fields["pixels"].tolist() == [8100 - 1 - 12 - 400, 4]
    burnt = rasterio.features.rasterize([shapes[0]], (100, 100), transform=transform)
    assert burnt.sum() == 8100 - sum(sorted((1, 12, 400))[3 - left :])


def test_all_at_once(tmp_path: Path) -> None:
    fields, shapes = vectorise(tmp_path, holed(), min_area=2, fill_holes=1000, simplify=1)
    pixel = pixel_area(Grid(UTM, HALF_METRE, 100, 100))
    assert fields["area_m2"] == pytest.approx([(8100 - 413) * (pixel or 0)], rel=1e-5)
    assert shapes[0].area == 8100 / 4


def test_nodata_is_never_outlined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL holds all outlines at once: of nodata there may be millions."""
    seen: list[float] = []
    shapes = rasterio.features.shapes

    def watched(*args: Any, **options: Any) -> Any:
        for shape, value in shapes(*args, **options):
            seen.append(value)
            yield shape, value

    monkeypatch.setattr(polygons_module.rasterio.features, "shapes", watched)
    valid = np.random.default_rng(0).random((100, 100)) > 0.3
    fields, _ = vectorise(tmp_path, holed(), valid=valid)
    assert fields["pixels"].sum() == (holed() & valid).sum()
    assert seen == [1.0] * len(fields["id"])
