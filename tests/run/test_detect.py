"""From two files to products, and every way it can fail: one sentence, nothing under a final name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
from affine import Affine
from helpers import ArraySink, Ground, MakePair, Tiff

from schanger_edge import detect
from schanger_edge.cli.printing import print_result
from schanger_edge.errors import ModelError, ProductError, SceneError, SchangerError, SessionError
from schanger_edge.products.journal import unfinished
from schanger_edge.products.register import STANDARD_NAMES as STANDARD
from schanger_edge.run.predict import predict
from schanger_edge.scene import open_pair
from schanger_edge.sessions import open_session

ORIGIN = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)


@pytest.fixture
def pair(make_pair: MakePair) -> tuple[Path, Path]:
    moved = {"transform": ORIGIN @ Affine.translation(20, -10)}
    return make_pair(150, 190, holes=[np.s_[:30, :40]], after=moved)


def test_products_agree_with_each_other_and_with_the_model(pair: Any, model: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    result = detect(
        *pair, tmp_path / "out", model=model, batch_size=3, min_area=0, progress=lambda *args: seen.append(args)
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(STANDARD)
    with open_pair(*pair) as opened:
        valid = opened.read(opened.grid.window).valid
        transform = opened.grid.transform
    with rasterio.open(result.probability) as dataset:
        probability = dataset.read(1)
        assert (dataset.crs, dataset.transform, dataset.nodata) == ("EPSG:32631", transform, 255)
        assert dataset.scales == (pytest.approx(1 / 254),)
    with rasterio.open(result.change) as dataset:
        change = dataset.read(1)
    assert ((probability != 255) == valid).all()
    assert ((change != 255) == valid).all()
    assert (change[probability > 128] != 0).all()
    assert (change[probability < 127] != 1).all()
    assert result.valid == valid.sum()
    assert result.changed == (change == 1).sum()
    features = pyogrio.read_info(tmp_path / "out" / "changes.gpkg", layer="changes")
    assert features["features"] == result.polygons > 0
    assert features["crs"] == "EPSG:32631"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["pixels"] == {"total": 28500, "valid": result.valid, "changed": result.changed}
    assert summary["tiles"]["run"] + summary["tiles"]["skipped"] == 12
    assert summary["model"]["card"]["name"] == "standin-integer"
    assert summary["inputs"]["after"]["path"].endswith("b.tif")
    assert summary["area_m2"]["changed"] == pytest.approx(result.changed * (0.5 / 0.9996) ** 2)  # UTM
    assert seen[:5] == [("open", step, 4) for step in range(5)]
    assert ("predict", 28500, 28500) in seen
    assert seen[-1] == ("finish", 4, 4)
    preview = cv2.imread(str(tmp_path / "out" / "preview.png"))
    assert preview is not None
    assert min(preview.shape[:2]) >= 150


def test_threshold_is_compared_with_the_float(pair: Any, model: Path, tmp_path: Path) -> None:
    with open_session(model) as session, open_pair(*pair) as opened:
        sink = ArraySink(150, 190)
        predict(opened, session, sink)
    probability, valid = sink.probability, sink.valid
    values = np.unique(probability[valid])
    threshold = float(values[values.size // 3])  # a value that occurs: greater, not equal
    result = detect(*pair, tmp_path / "out", model=model, threshold=threshold, min_area=0)
    with rasterio.open(result.change) as dataset:
        change = dataset.read(1)
    assert (change[valid] == (probability[valid] > np.float32(threshold))).all()


def test_runs_are_reproducible_at_any_batch(pair: Any, model: Path, tmp_path: Path) -> None:
    files = []
    for batch in (1, 4, 100):
        result = detect(*pair, tmp_path / f"out{batch}", model=model, batch_size=batch)
        files.append((result.probability.read_bytes(), result.change.read_bytes()))
    assert files[0] == files[1] == files[2]


def test_no_change_is_a_valid_result(pair: Any, model: Path, tmp_path: Path) -> None:
    result = detect(*pair, tmp_path / "out", model=model, threshold=0.999999)
    assert (result.changed, result.polygons) == (0, 0)
    assert pyogrio.read_info(tmp_path / "out" / "changes.gpkg", layer="changes")["features"] == 0


def test_plain_images(standin: ModuleType, ground: Ground, model: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("a.png", "b.png")):
        cv2.imwrite(str(tmp_path / name), ground(70, 90, seed).transpose(1, 2, 0))
    result = detect(tmp_path / "a.png", tmp_path / "b.png", tmp_path / "out", model=model)
    assert result.summary["area_m2"] == {"valid": None, "changed": None}
    assert result.summary["grid"]["crs"] is None
    assert result.valid == 70 * 90


def test_declared_nan_reaches_the_summary(make_tiff: Tiff, ground: Ground, model: Path, tmp_path: Path) -> None:
    raw = ground(70, 70).astype(np.float32)
    raw[:, :20] = np.nan
    path = make_tiff("a.tif", raw, nodata=np.nan)
    result = detect(path, path, tmp_path / "out", model=model)
    assert result.valid == 50 * 70
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["inputs"]["before"]["validity"]["nan"] is True


@pytest.mark.parametrize("options", [{}, {"min_area": 2.0}])
def test_figures_list_and_map_count_the_same(
    pair: Any, model: Path, tmp_path: Path, options: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = detect(*pair, tmp_path / "whole", model=model, min_area=0)
    large = detect(*pair, tmp_path / "large", model=model, **options)
    least = options.get("min_area", 10.0)
    small = large.summary["too_small"]
    assert 0 < large.polygons == whole.polygons - small["areas"] < whole.polygons
    assert large.changed == whole.changed - small["pixels"]
    with rasterio.open(whole.change) as one, rasterio.open(large.change) as other:
        before, after = one.read(1), other.read(1)
    assert (after == 1).sum() == large.changed == large.summary["pixels"]["changed"]
    assert ((before == 255) == (after == 255)).all()
    _, _, _, (areas, pixels) = pyogrio.raw.read(large.folder / "changes.gpkg", columns=["area_m2", "pixels"])
    assert areas.min() >= least
    assert pixels.sum() == large.changed
    print_result(large)
    said = f"{large.polygons} polygons of {least:g} m2 or more ({small['areas']} smaller left out; see --min-area)"
    assert said in " ".join(capsys.readouterr().out.split())
    assert f"of {least:g} m² or more; {small['areas']} smaller left out" in large.report.read_text(encoding="utf-8")


def test_torch_is_never_loaded(pair: Any, model: Path, tmp_path: Path) -> None:
    """In a fresh interpreter, a whole detection."""
    code = (
        "import sys; from schanger_edge import detect; "
        f"detect({str(pair[0])!r}, {str(pair[1])!r}, {str(tmp_path / 'out')!r}, model={str(model)!r}); "
        "heavy = {'torch', 'onnx', 'schanger_export', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "out" / "summary.json").exists()


class TestFailures:
    """One sentence, and an earlier result stays as it was."""

    @pytest.fixture
    def out(self, pair: Any, model: Path, tmp_path: Path) -> Iterator[Path]:
        """A folder with an earlier result; after the test it must be unchanged."""
        detect(*pair, tmp_path / "out", model=model)
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        yield tmp_path / "out"
        left = {path.name for path in (tmp_path / "out").iterdir()} - before.keys()
        assert left <= {".schanger-edge.unfinished"}  # what --resume goes on with
        assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before

    def check(self, kind: type[SchangerError], match: str, *args: Any, **options: Any) -> None:
        with pytest.raises(kind, match=match) as caught:
            detect(*args, **options)
        assert "\n" not in str(caught.value)

    def test_a_tile_that_fails(self, pair: Any, model: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from schanger_edge.sessions.ort import OnnxRuntimeSession

        run, calls = OnnxRuntimeSession.run, []

        def failing(self: Any, *tiles: Any) -> Any:
            calls.append(1)
            if len(calls) == 5:
                raise SessionError("tile failed")
            return run(self, *tiles)

        monkeypatch.setattr(OnnxRuntimeSession, "run", failing)
        self.check(SessionError, "tile failed", *pair, out, model=model)

    def test_no_probability(self, pair: Any, model: Path, out: Path) -> None:
        import onnx

        graph = onnx.load(str(model))
        limits = {"zero": np.float32(3), "one": np.float32(9)}  # to which its values are clipped
        for weight in graph.graph.initializer:
            if weight.name in limits:
                weight.CopyFrom(onnx.numpy_helper.from_array(limits[weight.name], weight.name))
        onnx.save(graph, str(model))
        self.check(SessionError, "are not probabilities", *pair, out, model=model)

    def test_truncated_input(self, pair: Any, model: Path, out: Path, make_tiff: Tiff, ground: Ground) -> None:
        whole = make_tiff("w.tif", ground(150, 190), tiled=True, blockxsize=64, blockysize=64, compress="deflate")
        cut = whole.with_name("cut.tif")
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        self.check(SceneError, r"cut\.tif", pair[0], cut, out, model=model)

    def test_text_file(self, pair: Any, model: Path, out: Path, tmp_path: Path) -> None:
        (tmp_path / "notes.tif").write_text("no image")
        self.check(SceneError, "cannot be opened as an image", pair[0], tmp_path / "notes.tif", out, model=model)

    def test_no_overlap(self, pair: Any, model: Path, out: Path, make_tiff: Tiff, ground: Ground) -> None:
        far = make_tiff("far.tif", ground(20, 20), transform=Affine(0.5, 0, 900_000, 0, -0.5, 4_000_000))
        self.check(SceneError, "do not overlap", pair[0], far, out, model=model)

    def test_no_valid_pixel_in_common(self, model: Path, out: Path, make_tiff: Tiff, ground: Ground) -> None:
        a, b = ground(40, 40), ground(40, 40)
        a[:, :, :20] = 0
        b[:, :, 20:] = 0
        paths = make_tiff("l.tif", a, nodata=0), make_tiff("r.tif", b, nodata=0)
        self.check(SceneError, "no pixel has data in both", *paths, out, model=model)

    def test_broken_contract(self, pair: Any, model: Path, out: Path, tmp_path: Path) -> None:
        import onnx

        proto = onnx.load(str(model))
        del proto.metadata_props[:]
        onnx.save(proto, str(tmp_path / "bare.onnx"))
        self.check(ModelError, "no model card", *pair, out, model=tmp_path / "bare.onnx")
        self.check(ModelError, "does not exist", *pair, out, model="schanger-huge")

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("threshold", 1.5),
            ("threshold", -0.1),
            ("batch_size", 0),
            ("min_area", -1.0),
            ("min_area", np.inf),
            ("simplify", -1.0),
            ("fill_holes", np.nan),
            ("threads", 0),
        ],
    )
    def test_options(self, pair: Any, model: Path, out: Path, option: str, value: Any) -> None:
        self.check(
            SchangerError, option.removesuffix("_size").replace("_", "-"), *pair, out, model=model, **{option: value}
        )

    def test_interrupt(self, pair: Any, model: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*args: Any) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            detect(*pair, out, model=model, progress=interrupted)

    def test_polygons_that_fail(self, pair: Any, model: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*args: Any, **options: Any) -> None:
            raise ProductError("changes.gpkg could not be written (no space left on device).")

        monkeypatch.setattr(sys.modules["schanger_edge.run.stages"], "write_polygons", full)
        self.check(ProductError, "no space left", *pair, out, model=model)


def open_card(model: Path) -> Any:
    """The card in a model file."""
    import onnx

    from schanger_edge.model.card import METADATA_KEY, ModelCard

    (card,) = [prop.value for prop in onnx.load(str(model)).metadata_props if prop.key == METADATA_KEY]
    return ModelCard.from_json(card)


def test_full_disk(small_disk: Path, model: Path, make_tiff: Tiff, ground: Ground) -> None:
    """On a file system of 1 MB, of which a result needs more."""
    pair = make_tiff("a.tif", ground(2100, 800, 1)), make_tiff("b.tif", ground(2100, 800, 2))
    with pytest.raises(ProductError, match="could not be written") as caught:
        detect(*pair, small_disk / "out", model=model)
    assert "\n" not in str(caught.value)
    left = [path.name for path in (small_disk / "out").iterdir()]
    assert left == [".schanger-edge.unfinished"]
    assert unfinished(small_disk / "out")  # what --resume goes on with when there is room
