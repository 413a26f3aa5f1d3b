"""Runs from Python: arrays in, results that show themselves, progress on request."""

from __future__ import annotations

import base64
import dataclasses
import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import Ground, MakePair

import schanger_edge
from schanger_edge import Detection, SchangerError, detect
from schanger_edge.errors import SceneError, StoppedError

PLACE: dict[str, Any] = {"transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000), "crs": "EPSG:32631"}
MAPS = ("probability.tif", "change.tif")


@pytest.fixture
def arrays(ground: Ground) -> tuple[np.ndarray, np.ndarray]:
    return ground(100, 130), ground(100, 130, 7)


@pytest.fixture
def result(arrays: Any, model: Path, tmp_path: Path) -> Detection:
    return detect(*arrays, tmp_path / "out", model=model, min_area=0, **PLACE)


def test_arrays_give_what_their_files_give(result: Detection, model: Path, tmp_path: Path) -> None:
    """The files that the summary names are the arrays, and a run of them makes the same maps."""
    inputs = [info["path"] for info in result.summary["inputs"].values()]
    assert [Path(path).parent for path in inputs] == [result.folder] * 2
    again = detect(*inputs, tmp_path / "again", model=model, min_area=0)
    for name in MAPS:
        assert (again.folder / name).read_bytes() == (result.folder / name).read_bytes()
    assert again.summary["grid"] == result.summary["grid"]


def test_arrays_are_kept_exactly_and_masked_where_they_are(arrays: Any, model: Path, tmp_path: Path) -> None:
    before = np.ma.masked_array(arrays[0].astype(np.uint16), mask=np.zeros_like(arrays[0], bool))
    before[:, :20] = np.ma.masked
    found = detect(before, arrays[1], tmp_path / "out", model=model, stretch="none", **PLACE)
    assert found.valid == 80 * 130
    with rasterio.open(found.summary["inputs"]["before"]["path"]) as dataset:
        assert (dataset.read() == np.ma.getdata(before)).all()
        assert dataset.transform == PLACE["transform"]


def test_a_run_of_arrays_is_resumed_and_one_that_is_refused_leaves_nothing(
    arrays: Any, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    with pytest.raises(SchangerError, match="does not exist"):
        detect(*arrays, out, model=tmp_path / "none.onnx")
    assert not out.parent.exists()
    asked: list[int] = []
    with pytest.raises(StoppedError):
        detect(np.tile(arrays[0], (1, 9, 9)), np.tile(arrays[1], (1, 9, 9)), out, model=model,
               stop=lambda: len(asked) > 1 or bool(asked.append(1)))  # fmt: skip
    done = detect(np.tile(arrays[0], (1, 9, 9)), np.tile(arrays[1], (1, 9, 9)), out, model=model, resume=True)
    assert done.summary["tiles"]["taken_over"] > 0
    assert done.summary["grid"]["crs"] is None


@pytest.mark.parametrize(
    ("before", "place", "sentence"),
    [
        (np.zeros((9, 9, 3), np.uint8), {}, r"\(3, height, width\), not \(9, 9, 3\); numpy.moveaxis"),
        (np.zeros((9, 9), np.uint8), {}, r"\(3, height, width\), not \(9, 9\)\."),
        (np.zeros((3, 9, 9), bool), {}, "the before array is bool: convert it to one of uint8"),
        (np.zeros((3, 9, 9), np.uint8), {"crs": "EPSG:32631"}, "transform and crs together"),
        (np.zeros((3, 9, 9), np.uint8), {**PLACE, "crs": "mars"}, "crs 'mars' is not known"),
        (np.zeros((3, 9, 9), np.uint8), {**PLACE, "transform": "north"}, "six numbers"),
        ("a.tif", PLACE, "a file has its own; omit them"),
    ],
)
def test_what_is_no_image(before: Any, place: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    after = "b.tif" if isinstance(before, str) else np.zeros((3, 9, 9), np.uint8)
    with pytest.raises(SceneError, match=sentence):
        detect(before, after, tmp_path / "out", **place)
    assert not (tmp_path / "out").exists()


def test_results_show_themselves(result: Detection) -> None:
    assert len(repr(result)) < 200
    assert f"{result.polygons} polygons" in repr(result)
    piece = result._repr_html_()
    picture = base64.b64decode(piece.partition("base64,")[2].partition(">")[0])
    shape = cv2.imdecode(np.frombuffer(picture, np.uint8), 1).shape
    assert shape == cv2.imread(str(result.folder / "preview.png")).shape
    (result.folder / "preview.png").unlink()
    assert "<img" not in result._repr_html_()
    doubtful = dataclasses.replace(result, warnings=("a < b",))
    assert "1 warning" in repr(doubtful)
    assert "<li>a &lt; b</li>" in doubtful._repr_html_()


def test_maps_and_polygons_as_values(result: Detection) -> None:
    probability = result.read_probability()
    assert (probability.dtype, probability.shape) == (np.float32, (100, 130))
    assert np.isfinite(probability).sum() == result.valid
    assert 0 <= np.nanmin(probability) <= np.nanmax(probability) <= 1
    frame = result.to_geodataframe()
    assert len(frame) == result.polygons > 0
    assert frame.crs == "EPSG:32631"
    assert result.polygons_path.name == "changes.gpkg"


def test_geopandas_is_missing(result: Detection, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, *more: Any) -> Any:
        if name == "geopandas":
            raise ImportError(name=name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SchangerError, match=r"needs GeoPandas: pip install geopandas\."):
        result.to_geodataframe()


def test_progress_on_request(
    make_pair: MakePair, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detect(*make_pair(60, 60), tmp_path / "out", model=model, progress=True)
    assert "predict: 100%" in capsys.readouterr().err
    detect(*make_pair(60, 60), tmp_path / "out", model=model, progress=False)
    assert capsys.readouterr().err == ""


def test_what_is_public_is_there(make_pair: MakePair, model: Path) -> None:
    assert all(hasattr(schanger_edge, name) for name in schanger_edge.__all__)
    with schanger_edge.open_pair(*make_pair(64, 64)) as pair, schanger_edge.open_session(model) as session:
        tile = pair.read(pair.grid.window)
        assert session.run(tile.before[None], tile.after[None]).shape == (1, 1, 64, 64)
