"""An area of interest: only tiles that touch it are run, and inside it nothing is different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from helpers import ArraySink, MakePair, Tiff

from schanger_edge import detect
from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.run.predict import Observers, predict
from schanger_edge.scene import Pair, open_pair
from schanger_edge.sessions import open_session

UTM = "EPSG:32631"
ORIGIN = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)
HEIGHT, WIDTH = 260, 330
ISLAND = shapely.Point(100, 90).buffer(40).difference(shapely.box(90, 80, 110, 95))
CORNER = shapely.box(300, 240, 400, 300)  # reaches beyond the scene


@pytest.fixture
def pair(make_pair: MakePair) -> tuple[Path, Path]:
    return make_pair(HEIGHT, WIDTH, holes=[np.s_[60:80, 70:100]])


def save(path: Path, *shapes: Any, crs: str | None = UTM, layer: str = "aoi", append: bool = False) -> Path:
    """A layer of polygons given in the scene's pixels."""
    placed = [shapely.transform(s, lambda x, y: ORIGIN @ (x, y), interleaved=False) for s in shapes]
    if crs != UTM:
        onto = pyproj.Transformer.from_crs(UTM, crs, always_xy=True).transform
        placed = [shapely.transform(s, onto, interleaved=False) for s in placed]
    pyogrio.raw.write(
        path, shapely.to_wkb(np.array(placed, object)), field_data=[], fields=[], layer=layer, driver="GPKG",
        geometry_type="Polygon", crs=crs, append=append,
    )  # fmt: skip
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)  # type: ignore[no-any-return]


def burnt(*shapes: Any) -> np.ndarray:
    return rasterio.features.rasterize(list(shapes), (HEIGHT, WIDTH)).astype(bool)


def pixels_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return read(folder / "change.tif"), read(folder / "probability.tif")


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_inside_nothing_differs_and_outside_is_nodata(pair: Any, model: Path, tmp_path: Path, crs: str) -> None:
    aoi = save(tmp_path / "aoi.gpkg", ISLAND, CORNER, crs=crs)
    whole = detect(*pair, tmp_path / "whole", model=model, min_area=0)
    part = detect(*pair, tmp_path / "part", model=model, clip=aoi, min_area=0)
    inside = burnt(ISLAND, CORNER)
    for in_whole, in_part in zip(pixels_of(whole.folder), pixels_of(part.folder), strict=True):
        assert np.array_equal(in_part, np.where(inside, in_whole, 255))
    assert part.valid == np.count_nonzero(inside & (pixels_of(whole.folder)[0] != 255))
    assert 0 < part.polygons < whole.polygons
    summary = json.loads((part.folder / "summary.json").read_text())
    assert summary["options"]["clip"] == str(aoi)
    assert summary["tiles"]["run"] < summary["tiles"]["skipped"]


def test_every_pixel_of_the_area_comes_once_and_no_other_tile_is_read(
    pair: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aoi = save(tmp_path / "aoi.gpkg", ISLAND, CORNER)
    inside = burnt(ISLAND, CORNER)
    read_windows: list[Window] = []
    plain_read = Pair.read

    def watched(self: Pair, window: Window) -> Any:
        read_windows.append(window)
        return plain_read(self, window)

    monkeypatch.setattr(Pair, "read", watched)
    sink = ArraySink(HEIGHT, WIDTH)
    seen: list[int] = []
    with open_pair(*pair, clip=aoi) as opened, open_session(model) as session:
        flow = predict(opened, session, sink, batch_size=3, observers=Observers(seen.append))
        data = plain_read(opened, opened.grid.window).valid
    assert (sink.times == 1).all()
    assert np.array_equal(sink.valid, inside & data)
    assert np.array_equal(np.isfinite(sink.probability) & sink.valid, sink.valid)
    assert flow.valid == sink.valid.sum()
    assert seen[-1] == HEIGHT * WIDTH
    assert 0 < len(read_windows) < 12  # of 30 tiles
    assert all(inside[window.slices_in(opened.grid.window)].any() for window in read_windows)


def test_area_that_holds_all_changes_nothing(pair: Any, model: Path, tmp_path: Path) -> None:
    aoi = save(tmp_path / "aoi.gpkg", shapely.box(-10, -10, WIDTH + 10, HEIGHT + 10))
    whole = detect(*pair, tmp_path / "whole", model=model)
    part = detect(*pair, tmp_path / "part", model=model, clip=aoi)
    for name in ("change.tif", "probability.tif", "preview.png"):
        assert (whole.folder / name).read_bytes() == (part.folder / name).read_bytes()


def test_layer_of_several(pair: Any, model: Path, tmp_path: Path) -> None:
    aoi = save(tmp_path / "aoi.gpkg", CORNER, layer="corner")
    save(aoi, ISLAND, layer="island", append=True)
    with open_pair(*pair, clip=aoi, clip_layer="island") as opened:
        wanted = opened.wanted(opened.grid.window)
    assert wanted is not None
    assert np.array_equal(wanted, burnt(ISLAND))
    with pytest.raises(SceneError, match="corner, island"):
        open_pair(*pair, clip=aoi)


def test_without_an_area_all_is_wanted(pair: Any) -> None:
    with open_pair(*pair) as opened:
        assert opened.wanted(opened.grid.window) is None


def test_one_sentence_and_nothing_written(pair: Any, model: Path, tmp_path: Path, make_tiff: Tiff) -> None:
    plain = make_tiff("plain.tif", np.full((3, 40, 40), 9, np.uint8), crs=None)
    aoi = save(tmp_path / "aoi.gpkg", ISLAND)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (pair, {"clip": save(tmp_path / "far.gpkg", shapely.box(9000, 0, 9010, 10))}, "no polygon within the images"),
        (pair, {"clip": save(tmp_path / "empty.gpkg")}, "has no polygons"),
        (pair, {"clip": tmp_path / "none.gpkg"}, "does not exist"),
        (pair, {"clip": save(tmp_path / "hole.gpkg", shapely.box(75, 65, 95, 75))}, "no pixel in .* has data in both"),
        (pair, {"clip": save(tmp_path / "tiny.gpkg", shapely.box(5.6, 5.6, 5.9, 5.9))}, "no pixel in .* has data"),
        (pair, {"clip_layer": "aoi"}, "give its file with --clip"),
        ((plain, plain), {"clip": aoi}, "images without a CRS"),
    ]
    for images, options, sentence in cases:
        with pytest.raises(SceneError, match=sentence) as caught:
            detect(*images, tmp_path / "out", model=model, **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
