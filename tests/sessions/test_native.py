"""The native engine: equal to ONNX Runtime for any tile, the same bytes for any threads and batch, what it refuses."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_models import State, write_model
from numpy.typing import NDArray

from schanger_edge.errors import ModelError, SessionError
from schanger_edge.model.file import ModelFile, read_model
from schanger_edge.products.journal import FOLDER
from schanger_edge.run.detect import detect
from schanger_edge.sessions import gpu, open_session, ort, register
from schanger_edge.sessions.doctor import doctor
from schanger_edge.sessions.native import engine, library
from schanger_edge.sessions.native.engine import NativeSession
from schanger_edge.sessions.native.library import Kernels, kernels, library_path
from schanger_edge.synthetic import write_pair

pytestmark = pytest.mark.skipif(library_path() is None, reason="the native engine was not built: native/compile.py")

Tiles = NDArray[np.uint8]
EXACT = 2e-5  # of ONNX Runtime, whose own probabilities are as far from those of double precision
BF16 = 0.05


def tiles(count: int, tile: int, seed: int = 0) -> tuple[Tiles, Tiles]:
    """Noise, and patches that change: extremes of every colour beside each other."""
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, 256, (2, count, 3, tile, tile), np.uint8)
    after[:, :, : tile // 2] = before[:, :, : tile // 2] // 2
    before[:, :, tile // 4 :, : tile // 4] = 255
    return before, after


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], ModelFile]:
    """models(size, tile): a model file, made once."""
    pytest.importorskip("onnx")
    folder, made = tmp_path_factory.mktemp("native"), dict[tuple[str, int], ModelFile]()

    def get(size: str, tile: int) -> ModelFile:
        if (size, tile) not in made:
            made[size, tile] = read_model(write_model(folder / f"{size}-{tile}.onnx", size, tile))
        return made[size, tile]

    return get


def reference(model: ModelFile, before: Tiles, after: Tiles) -> NDArray[np.float32]:
    with open_session(model, "cpu", threads=1) as session:
        return session.run(before, after)


def native(model: ModelFile, before: Tiles, after: Tiles, **options: Any) -> NDArray[np.float32]:
    with NativeSession(model, **{"threads": 1, **options}) as session:
        return session.run(before, after)


@pytest.mark.parametrize(
    ("size", "tile"), [("small", 16), ("small", 32), ("small", 48), ("small", 80), ("small", 144), ("base", 48)]
)
def test_equals_onnxruntime(models: Callable[[str, int], ModelFile], size: str, tile: int) -> None:
    model, (before, after) = models(size, tile), tiles(3, tile)
    wanted = reference(model, before, after)
    assert wanted.std() > 0.01  # the tiles mean something to it
    got = native(model, before, after)
    assert got.dtype == np.float32
    assert np.abs(got - wanted).max() < EXACT


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "base"])
@pytest.mark.parametrize("tile", [64, 112, 256, 272, 384, 512, 1024])
def test_equals_onnxruntime_on_large_tiles(models: Callable[[str, int], ModelFile], size: str, tile: int) -> None:
    model, (before, after) = models(size, tile), tiles(1, tile)
    assert np.abs(native(model, before, after) - reference(model, before, after)).max() < 1e-4


@pytest.mark.slow
def test_equals_onnxruntime_on_a_thousand_tiles(models: Callable[[str, int], ModelFile]) -> None:
    model = models("small", 64)
    with NativeSession(model, 1) as one, open_session(model, "cpu", threads=1) as two:
        for seed in range(100):
            before, after = tiles(10, 64, seed)
            assert np.abs(one.run(before, after) - two.run(before, after)).max() < EXACT


@pytest.mark.parametrize("kind", kernels() if library_path() else [], ids=" ".join)
def test_every_kind_of_kernels_that_this_processor_runs(models: Callable[[str, int], ModelFile], kind: Kernels) -> None:
    model, (before, after) = models("small", 80), tiles(2, 80)
    wanted = reference(model, before, after)
    with NativeSession(model, 1, kind.precision, kind.isa) as session:
        got = session.run(before, after)
        assert session.device.endswith(f"(CPU, 1 thread, {kind.isa}, {kind.precision})")
    assert np.abs(got - wanted).max() < (EXACT if kind.precision == "fp32" else BF16)


@pytest.mark.parametrize("kind", kernels() if library_path() else [], ids=" ".join)
@pytest.mark.parametrize("tile", [48, 80, pytest.param(256, marks=pytest.mark.slow)])  # 256: maps beyond the caches
def test_bytes_are_the_same_for_any_threads_and_any_batch(
    models: Callable[[str, int], ModelFile], kind: Kernels, tile: int
) -> None:
    model, (before, after) = models("small", tile), tiles(3, tile)
    options = {"precision": kind.precision, "isa": kind.isa}
    wanted = native(model, before, after, **options)
    for threads, edges in ((2, (0, 3)), (3, (0, 1, 3)), (7, (0, 2, 3))):
        with NativeSession(model, threads, **options) as session:
            got = [session.run(before[a:b], after[a:b]) for a, b in itertools.pairwise(edges)]
        assert np.concatenate(got).tobytes() == wanted.tobytes()


def test_identity_says_engine_kernels_and_precision_but_no_threads(models: Callable[[str, int], ModelFile]) -> None:
    model = models("small", 48)
    with NativeSession(model, 1) as one, NativeSession(model, 2) as two, NativeSession(model, 1, isa="plain") as other:
        assert one.identity() == two.identity()
        assert "1 thread," in one.device
        assert one.identity() != other.identity()
        assert f"{one.kernels.isa}, fp32)" in one.identity()["device"]


def test_another_build_of_the_library_is_another_engine(
    models: Callable[[str, int], ModelFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = library_path()
    assert path is not None
    other = tmp_path / path.name
    with NativeSession(models("small", 48), 1) as session:
        before = session.identity()
        assert session.identity() == before
        monkeypatch.setattr(library, "library_path", lambda: other)
        other.write_bytes(path.read_bytes())
        assert session.identity() == before
        other.write_bytes(path.read_bytes() + b"0")
        assert session.identity() != before


def scaled(factor: float) -> Callable[[State], None]:
    """All weights of convolutions, many times as large or small."""

    def edit(state: State) -> None:
        for name in state:
            if name.endswith("conv.weight"):
                state[name] = state[name] * np.float32(factor)

    return edit


@pytest.mark.parametrize("factor", [3, 1e-3, 1e-42])
def test_extreme_weights(tmp_path: Path, factor: float) -> None:
    """Maps that grow by the layer, up to twice where ONNX Runtime gives no number any more, and denormal weights."""
    model = read_model(write_model(tmp_path / "m.onnx", "small", 32, scaled(factor)))
    before, after = tiles(2, 32)
    wanted = reference(model, before, after)
    for kind in kernels():
        if kind.precision == "fp32":
            assert np.abs(native(model, before, after, isa=kind.isa) - wanted).max() < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    def edit(state: State) -> None:
        state["Bi3.0.mlp.fc1.weight"][5, 3] = value

    model = read_model(write_model(tmp_path / "m.onnx", "small", 32, edit))
    with pytest.raises(ModelError, match=r"m\.onnx has weights that are no finite numbers"):
        open_session(model, "cpu:native")


def test_another_graph_goes_to_onnxruntime(
    model: Path, models: Callable[[str, int], ModelFile], tmp_path: Path
) -> None:
    import onnx

    ours = models("small", 32)
    changed = onnx.load(str(ours.path))
    (node,) = (node for node in changed.graph.node if node.name == "Bi1.0.attn.spatial_gating_unit.conv_spatial")
    for attribute in node.attribute:
        if attribute.name == "dilations":
            attribute.ints[:] = [1, 1]
        elif attribute.name == "pads":
            attribute.ints[:] = [3, 3, 3, 3]
    onnx.save_model(changed, str(tmp_path / "changed.onnx"))
    epsilon = onnx.load(str(ours.path))
    for weight in epsilon.graph.initializer:
        if weight.name == "layer_norm_epsilon":
            weight.raw_data = np.float32(1e-3).tobytes()
    onnx.save_model(epsilon, str(tmp_path / "epsilon.onnx"))
    for path in (model, tmp_path / "changed.onnx", tmp_path / "epsilon.onnx"):
        with open_session(path, "cpu:native", threads=1) as session:
            assert session.device.startswith("ONNX Runtime")
            assert session.notes == [
                f"{path.name} holds another graph than the one that this version's native engine computes: "
                "ONNX Runtime runs it."
            ]
    with open_session(ours, "cpu:native", threads=1) as session:
        assert session.device.startswith("native ")
        assert session.notes == []


@pytest.mark.parametrize("device", ["cpu:native", "cpu:openvino"])
def test_the_smaller_tile_equals_onnx_runtime(models: Callable[[str, int], ModelFile], device: str) -> None:
    """Of a model whose tile is larger, before and after its own."""
    if device == "cpu:openvino":
        pytest.importorskip("openvino")
    model = models("small", 288)
    with open_session(model, device, threads=1) as session, open_session(model, "cpu", threads=1) as exact:
        for side in (256, 288, 256):
            dates = tiles(1, side)
            assert np.abs(session.run(*dates) - exact.run(*dates)).max() < EXACT
        with pytest.raises(SessionError, match="takes tiles"):
            session.run(*tiles(1, 272))


def test_tiles_of_the_wrong_shape_are_one_sentence(models: Callable[[str, int], ModelFile]) -> None:
    model = models("small", 48)
    before, after = tiles(2, 32)
    with NativeSession(model, 1) as session:
        with pytest.raises(SessionError, match=r"takes tiles \(N, 3, 48, 48\) uint8 of both dates"):
            session.run(before, after)
        before, after = tiles(2, 48)
        with pytest.raises(SessionError, match="not \\(1, 3, 48, 48\\)"):
            session.run(before, after[:1])
        turned = np.moveaxis(np.ascontiguousarray(np.moveaxis(before, 1, 3)), 3, 1)  # not contiguous
        assert (session.run(turned, after) == session.run(before, after)).all()
        assert session.run(before[:0], after[:0]).shape == (0, 1, 48, 48)
    with pytest.raises(SessionError, match="closed"):
        session.run(before, after)


def test_what_the_processor_lacks_is_said(models: Callable[[str, int], ModelFile], monkeypatch: Any) -> None:
    monkeypatch.setattr(engine, "kernels", lambda: [Kernels("plain", "fp32")])
    with pytest.raises(SessionError, match="this CPU has no bfloat16"):
        open_session(models("small", 48), "cpu:native:bf16")
    with pytest.raises(SessionError, match="kernels for avx2 in fp32"):
        NativeSession(models("small", 48), isa="avx2")


def test_without_the_library(
    models: Callable[[str, int], ModelFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.load.cache_clear()
    monkeypatch.setattr(library, "library_path", lambda: None)
    with pytest.raises(SessionError, match="was not built when schanger-edge was installed: install a C\\+\\+ comp"):
        open_session(models("small", 48), "cpu:native")
    assert "was not built" in doctor().missing["native engine"]
    (tmp_path / "broken.so").write_text("no library")
    monkeypatch.setattr(library, "library_path", lambda: tmp_path / "broken.so")
    with pytest.raises(SessionError, match="does not load"):
        open_session(models("small", 48), "cpu:native")
    monkeypatch.undo()
    assert "plain fp32" in doctor().facts["native engine"]


def test_opening_and_closing_leaves_nothing(models: Callable[[str, int], ModelFile]) -> None:
    psutil = pytest.importorskip("psutil")
    model, (before, after) = models("small", 32), tiles(1, 32)
    process, held = psutil.Process(), list[int]()
    for turn in range(100):
        with NativeSession(model, 3) as session:
            session.run(before, after)
        if turn in (20, 99):
            held.append(process.memory_info().rss)
    assert process.num_threads() < 30
    assert held[1] - held[0] < 20e6  # one session holds some megabytes
    NativeSession(model, 3)  # forgotten without being closed
    assert process.num_threads() < 30


def test_sessions_run_side_by_side(models: Callable[[str, int], ModelFile]) -> None:
    model, (before, after) = models("small", 48), tiles(2, 48)
    wanted, got = native(model, before, after), dict[int, list[bytes]]()

    def work(number: int) -> None:
        with NativeSession(model, 2) as session:
            got[number] = [session.run(before, after).tobytes() for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [set(got[number]) for number in range(4)] == [{wanted.tobytes()}] * 4


def test_memory_is_bounded(models: Callable[[str, int], ModelFile]) -> None:
    """As docs/native-engine.md states it."""
    for size, most in (("small", 64e6), ("base", 128e6)):
        model = models(size, 256)
        with NativeSession(model, 1) as one, NativeSession(model, 9) as nine:
            assert one.memory < most
            assert (nine.memory - one.memory) / 8 < 3e6


def test_auto_takes_it_where_it_is_exact_and_remembers(
    models: Callable[[str, int], ModelFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gpu, "driver_present", lambda: False)
    monkeypatch.setattr(register, "ENGINES", [engine.ENGINE, ort.CPU])
    model = models("small", 144)
    with open_session(model, "auto", threads=1) as session:
        assert session.device.startswith("native ")
        assert "the native engine takes 0." in session.chosen
    (file,) = (tmp_path / "cache" / "engines").iterdir()
    found = json.loads(file.read_text())
    assert found["difference"] < EXACT
    for difference, taken in ((9e-5, "native"), (2e-4, "ONNX Runtime")):
        file.write_text(json.dumps({"difference": difference, "ratio": 0.4}))
        with open_session(model, "auto", threads=1) as session:
            assert session.device.startswith(taken)
    monkeypatch.setattr(engine, "build", lambda: "0123abcd")  # another build of the library is tried anew
    with open_session(model, "auto", threads=1) as session:
        assert session.device.startswith("native ")
    assert len(list((tmp_path / "cache" / "engines").iterdir())) == 2


def test_a_run_is_resumed_with_other_threads(
    models: Callable[[str, int], ModelFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, out, run = write_pair(tmp_path / "scene", width=400, height=300, seed=1), tmp_path / "out", NativeSession.run
    options = {"model": models("small", 48).path, "device": "cpu:native"}
    calls = [0, 0]  # of the run that is left alone, and of the one that fails at its last

    def counted(self: NativeSession, before: Tiles, after: Tiles) -> NDArray[np.float32]:
        calls[0] += 1
        return run(self, before, after)

    def failing(self: NativeSession, before: Tiles, after: Tiles) -> NDArray[np.float32]:
        calls[1] += 1
        if calls[1] < calls[0]:
            return run(self, before, after)
        ends = time.monotonic() + 60
        while not any((out / FOLDER).glob("*-*-*-*")) and time.monotonic() < ends:
            time.sleep(0.01)
        raise SessionError("the engine failed")

    monkeypatch.setattr(NativeSession, "run", counted)
    whole = detect(scene.before, scene.after, tmp_path / "whole", threads=1, **options)
    monkeypatch.setattr(NativeSession, "run", failing)
    with pytest.raises(SessionError, match="the engine failed"):
        detect(scene.before, scene.after, out, threads=1, **options)
    assert any((out / FOLDER).glob("*-*-*-*"))
    monkeypatch.undo()
    resumed = detect(scene.before, scene.after, out, threads=3, resume=True, **options)
    assert resumed.summary["device"] != whole.summary["device"]
    for name in ("probability.tif", "change.tif"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_tells_what_it_used(models: Callable[[str, int], ModelFile], tmp_path: Path) -> None:
    scene = write_pair(tmp_path / "scene", width=96, height=64, seed=1)
    path = models("small", 48).path
    summary = detect(scene.before, scene.after, tmp_path / "out", model=path, device="cpu:native", threads=2).summary
    assert summary["device"].startswith("native ")
    assert summary["engine"]["isa"] == kernels()[0].isa
    assert summary["engine"]["products"] == "fp32"
