"""Real imagery: two reference systems, reflectance, grids off by a row, nodata that is data."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio

from schanger_edge import detect

DATA = Path(os.environ.get("SCHANGER_EDGE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "georef"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the real imagery in {DATA}")


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=2, tile=256, halo=16)
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(
    ("before", "after", "grid", "least", "most", "crs"),
    [
        ("joplin/pre_337-9136", "joplin/post_31500-5137", "before", 0.50, 0.53, "EPSG:26915"),
        ("joplin/pre_337-9136", "joplin/post_31500-5137", "after", 0.50, 0.53, "EPSG:4326"),
        ("joplin/pre_337-10160", "joplin/post_31500-5137", "before", 0.45, 0.49, "EPSG:26915"),
        ("cartosat/t1_nov_3_3", "cartosat/t2_nov_3_3", "before", 0.98, 1, "EPSG:32643"),
        ("naip/2009-08-18", "naip/2020-08-31", "before", 0.99, 1, "EPSG:26914"),
        ("naip/2009-08-18", "naip/2020-08-31", "after", 0.99, 1, "EPSG:26914"),
        ("sjer/2017_003", "sjer/later_003", "before", 0.999, 1, "EPSG:32611"),
        ("sjer/2017_062", "sjer/later_062", "before", 0.999, 1, "EPSG:32611"),
    ],
)
def test_valid_share(
    before: str, after: str, grid: str, least: float, most: float, crs: str, model: Path, tmp_path: Path
) -> None:
    paths = DATA / f"{before}.tif", DATA / f"{after}.tif"
    result = detect(*paths, tmp_path / "out", model=model, grid=grid)  # type: ignore[arg-type]
    with rasterio.open(result.change) as change, rasterio.open(paths[grid == "after"]) as source:
        assert change.crs == crs
        assert (change.transform, change.shape) == (source.transform, source.shape)
        share = float(np.mean(change.read(1) != 255))
    assert least <= share <= most
    assert result.valid == round(share * change.width * change.height)


def test_the_same_ground_lies_at_the_same_place(model: Path, tmp_path: Path) -> None:
    """Both choices of grid call about the same ground valid: their areas agree."""
    paths = DATA / "joplin/pre_337-9136.tif", DATA / "joplin/post_31500-5137.tif"
    areas = [
        detect(*paths, tmp_path / grid, model=model, grid=grid).summary["area_m2"]["valid"]  # type: ignore[arg-type]
        for grid in ("before", "after")
    ]
    assert areas[0] == pytest.approx(areas[1], rel=0.01)
