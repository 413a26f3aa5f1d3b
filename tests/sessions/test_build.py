"""Plans are built by the real TensorRT-RTX, which needs no GPU for that; older TensorRTs by their rules alone."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from fake_device import FakeDevice
from simulated_machine import Machine
from simulator import GPU_WORDS, SimulatedRTX
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.errors import ModelError, SessionError
from schanger_edge.model import bundled
from schanger_edge.model.bundled import model_path
from schanger_edge.model.file import read_model
from schanger_edge.model.graph import ALWAYS_FP32
from schanger_edge.model.plan import Batches, read_plan_card, sidecar_of
from schanger_edge.sessions import gpu
from schanger_edge.sessions.gpu import Gpu
from schanger_edge.sessions.tensorrt import build as build_module
from schanger_edge.sessions.tensorrt.build import build, choose_source, find_built
from schanger_edge.sessions.tensorrt.builder import OBEY
from schanger_edge.sessions.tensorrt.flavour import Flavour, error_log, load_flavour
from schanger_edge.sessions.tensorrt.options import BuildOptions
from schanger_edge.sessions.tensorrt.plans import load_plan

CAPABILITIES = ("8.6", "8.9", "12.0")
HERE_86 = ("8.6",)


@pytest.fixture(scope="module")
def rtx() -> Flavour:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu13 (Linux and Windows on x86-64)")
    return load_flavour("rtx")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundled model in four precisions in one folder, with one made-up threshold where it is INT8."""
    from schanger_export.cards import converted_card
    from schanger_export.fp16 import to_fp16
    from schanger_export.graph import read_model, write_card
    from schanger_export.int8 import candidates, quantize

    folder = tmp_path_factory.mktemp("models")
    parent = folder / "small.onnx"
    shutil.copy(model_path(None), parent)
    graph, card, sha256 = read_model(parent)
    convs = candidates(graph)

    def quantized(model: Any) -> Any:
        return quantize(model, {conv.activation: 4.0 for conv in convs}, [conv.name for conv in convs])

    newer = onnx.version_converter.convert_version(graph, 19)
    half, both = to_fp16(graph, {}, resize=True), to_fp16(quantized(newer), {}, resize=True)
    made = {"fp16": (half.model, half.kept), "int8": (quantized(graph), []), "int8+fp16": (both.model, both.kept)}
    calibration = {"method": "made up", "tiles_sha256": "none", "kept_high_precision": []}
    paths = {"fp32": parent}
    for precision, (model, kept) in made.items():
        facts = calibration if "int8" in precision else None
        write_card(model, converted_card(card, precision, sha256, facts, kept))
        paths[precision] = folder / f"small.{precision}.onnx"
        onnx.save_model(model, str(paths[precision]))
    return paths


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8+fp16"])
def test_one_plan_for_three_capabilities(precision: str, models: dict[str, Path], rtx: Flavour, cache: Path) -> None:
    phases: dict[str, int] = {}
    batches = Batches(1, 1, 2)
    built = build(
        models[precision],
        options=BuildOptions(batches, flavour="rtx", capabilities=CAPABILITIES),
        progress=lambda phase, done, total: phases.__setitem__(phase, done),
    )
    assert not built.cached
    assert phases
    assert built.plan.parent == cache
    card = read_plan_card(built.plan)
    assert card == built.card
    assert card.plan_bytes == built.plan.stat().st_size > 1_000_000
    assert (card.card.precision, card.typing, card.flags) == (precision, "strong", ())
    assert card.target.capabilities == CAPABILITIES
    assert card.model_sha256 == card.source_sha256 == read_model(models[precision]).sha256
    for capability in CAPABILITIES:
        here = dataclasses.replace(card.target, capabilities=(capability,))
        assert load_plan(built.plan, here)[1] == card
    with pytest.raises(SessionError, match=r"8\.6 and 8\.9 and 12\.0, this is 7\.5"):
        load_plan(built.plan, dataclasses.replace(card.target, capabilities=("7.5",)))

    here = dataclasses.replace(card.target, capabilities=HERE_86)
    found = find_built(read_model(models[precision]), rtx, here)  # what `run` takes, whatever options it was built with
    assert found is not None
    assert found.plan == built.plan
    assert find_built(read_model(models["fp32"]), rtx, here) is None

    written = built.plan.stat().st_mtime_ns
    again = build(models[precision], None, BuildOptions(batches, flavour="rtx", capabilities=CAPABILITIES[::-1]))
    assert (again.plan, again.cached) == (built.plan, True)
    assert built.plan.stat().st_mtime_ns == written


def test_the_command(models: dict[str, Path], rtx: Flavour, cache: Path, tmp_path: Path) -> None:
    plan = tmp_path / "m.plan"
    command = ["build", str(models["fp32"]), "-o", str(plan), "--batch", "1", "--compute-capability", "8.6"]
    command += ["--optimization-level", "0", "--workspace", "1024"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "fp32, for any GPU of compute capability 8.6; built" in result.output
    assert "takes the types from small.onnx (fp32)" in result.output
    assert "this may take minutes" in result.output
    card = read_plan_card(plan)
    assert (card.batches, card.workspace, card.level) == (Batches(1, 1, 1), 1024 << 20, 0)
    assert not cache.exists()

    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "; found" in result.output
    assert "this may take minutes" not in result.output
    sidecar_of(plan).unlink()
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "; built" in result.output


@pytest.mark.parametrize(
    "options",
    [
        ["--compute-capability", "8.6 8.9 12.0"],
        ["--compute-capability", "8.6,8.9,12.0"],
        ["--compute-capability", "8.6, 8.9,12.0"],
        ["--compute-capability", "8.6", "--compute-capability", "8.9", "--compute-capability", "12.0"],
    ],
)
def test_capabilities_are_given_in_several_ways(
    options: list[str], models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def stop(model: Path, plan: None, options: BuildOptions, **_: object) -> None:
        asked.append(list(options.capabilities))
        raise SessionError("no further.")

    monkeypatch.setattr(build_module, "build", stop)
    CliRunner().invoke(app, ["build", str(models["fp32"]), *options])
    assert asked == [list(CAPABILITIES)]


def test_what_cannot_be_built_is_said(
    models: dict[str, Path], rtx: Flavour, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fp32 = models["fp32"]
    with pytest.raises(SessionError, match=r"cannot build for compute capability 8\.7: it supports 7\.5, 8\.0, 8\.6"):
        build(fp32, None, BuildOptions(capabilities=["8.7"], flavour="rtx"))
    with pytest.raises(SessionError, match=r"must be a number such as 8\.6, not 'ampere'"):
        build(fp32, None, BuildOptions(capabilities=["ampere"], flavour="rtx"))
    with pytest.raises(SessionError, match="--optimization-level must be at least 0 and at most 5, not 6"):
        build(fp32, None, BuildOptions(level=6))
    with pytest.raises(SessionError, match="--workspace must be at least 1 megabyte"):
        build(fp32, None, BuildOptions(workspace=0))
    with pytest.raises(SessionError, match="TensorRT-RTX has no timing cache"):
        build(fp32, None, BuildOptions(capabilities=HERE_86, flavour="rtx", timing_cache=tmp_path / "timings"))
    with pytest.raises(SessionError, match=r"x\.onnx is not a plan's name: it must end in \.plan, such as x\.plan"):
        build(fp32, tmp_path / "x.onnx")
    (tmp_path / "none").write_text("a file")
    with pytest.raises(SessionError, match="cannot be written"):
        build(fp32, tmp_path / "none" / "x.plan", BuildOptions(capabilities=HERE_86, flavour="rtx", level=0))
    with pytest.raises(ModelError, match="is no ONNX model, or is damaged"):
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(b"nothing")
        build(broken, None, BuildOptions(capabilities=HERE_86))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(SessionError, match=r"engine cache .* cannot be created .*SCHANGER_EDGE_CACHE"):
        build(fp32, None, BuildOptions(capabilities=HERE_86, flavour="rtx"))
    assert not list(tmp_path.rglob("*.plan*"))


def test_a_node_that_is_unknown_is_named(models: dict[str, Path], rtx: Flavour, cache: Path, tmp_path: Path) -> None:
    model = onnx.load(str(models["fp32"]))
    last = model.graph.node[-1]
    model.graph.node.append(onnx.helper.make_node("Det", [last.input[0]], ["unused"], name="odd_one"))
    path = tmp_path / "odd.onnx"
    onnx.save_model(model, str(path))
    with pytest.raises(SessionError, match=r"cannot parse odd\.onnx: node odd_one \(Det\): .+"):
        build(path, None, BuildOptions(capabilities=HERE_86, flavour="rtx"))
    assert not list(cache.glob("*"))


def test_a_gpu_is_needed_or_a_capability(models: dict[str, Path], rtx: Flavour, cache: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a driver here")
    with pytest.raises(SessionError, match=r"--compute-capability, such as 8\.6, to build for another machine"):
        build(models["fp32"], None, BuildOptions(flavour="rtx"))


@pytest.mark.parametrize(
    ("version", "precision", "flags", "source"),
    [
        ("8.6.2", "fp16", ("FP16", OBEY), "fp32"),
        ("8.6.2", "int8", ("FP16", "INT8", OBEY), "int8"),
        ("8.6.2", "int8+fp16", ("FP16", "INT8", OBEY), "int8"),
        ("10.3.0", "fp16", (), "fp16"),
        ("10.3.0", "int8+fp16", (), "int8+fp16"),
        ("10.13.3", "fp16", (), "fp16"),
    ],
)
def test_the_builder_gets_what_was_asked_for(
    version: str, precision: str, flags: tuple[str, ...], source: str, models: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Source, flags, profile, limits and the timing cache, which grows from build to build."""
    machine = Machine(monkeypatch, tmp_path / "cache")
    machine.trt.__version__ = version
    options = BuildOptions(Batches(2, 3, 5), workspace=256, level=3, timing_cache=tmp_path / "timings")
    built = build(models[precision], None, options)
    build(models[precision], None, options, rebuild=True)
    assert machine.trt.sources == [models[source].read_bytes()] * 2
    assert machine.trt.profiles == [Batches(2, 3, 5)] * 2
    for network, config in machine.trt.builds_asked:
        assert (tuple(config.flags), config.pools) == (flags, {"workspace": 256 << 20})
        assert config.builder_optimization_level == 3
        kinds = {node.name: node.op_type for node in onnx.load_from_string(network.source).graph.node}
        held = {layer.name for layer in network.layers if layer.precision}
        choice = choose_source(read_model(models[precision]), Flavour("tensorrt", machine.trt, version))
        assert held == set(choice.keep_fp32)
        assert {kinds[name] for name in held} == ({"Pow", "ReduceMean", "Add", "Sqrt"} if OBEY in flags else set())
    assert [config.caches for _, config in machine.trt.builds_asked] == [[b""], [b"+"]]
    assert (tmp_path / "timings").read_bytes() == b"++"
    assert built.card.target.gpu == GPU_WORDS

    with pytest.raises(SessionError, match="cannot be written"):  # there is no room for a longer, temporary name
        nowhere = dataclasses.replace(options, timing_cache=tmp_path / ("t" * 250))
        build(models[precision], None, nowhere, rebuild=True)
    assert build(models[precision], None, options).cached  # the plan that was built is kept


@pytest.mark.parametrize(
    ("size", "tile", "batches", "megabytes"),
    [
        ("small", 256, Batches(1, 1, 1), 512),
        ("small", 256, Batches(1, 4, 8), 4096),
        ("base", 256, Batches(1, 1, 1), 1024),
        ("base", 512, Batches(1, 1, 2), 8192),
        ("unknown", 256, Batches(1, 1, 1), 1024),
    ],
)
def test_on_a_board_scratch_memory_follows_model_tile_and_batch(
    size: str, tile: int, batches: Batches, megabytes: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, tmp_path / "cache")
    file = read_model(model)
    file = dataclasses.replace(file, card=dataclasses.replace(file.card, size=size, tile=tile))
    build(file, None, BuildOptions(batches))
    machine.plug_in(FakeDevice(integrated=True))
    build(file, None, BuildOptions(batches), rebuild=True)
    build(file, None, BuildOptions(batches, workspace=77))
    pools = [config.pools for _, config in machine.trt.builds_asked]
    assert pools == [{}, {"workspace": megabytes << 20}, {"workspace": 77 << 20}]


def test_a_limit_that_is_too_low_is_dropped_and_it_is_said(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not the user's."""
    machine = Machine(monkeypatch, tmp_path / "cache")
    machine.plug_in(FakeDevice(integrated=True))
    machine.trt.scratch = 20 << 20
    built = build(model, None, BuildOptions(Batches(1, 1, 1)))
    assert [config.pools for _, config in machine.trt.builds_asked] == [{"workspace": 16 << 20}, {}]
    assert "; 16 MB of scratch memory were too little (IBuilder::buildSer" in built.explanation
    assert built.explanation.endswith("OutOfMemory (Requested size was 20971520 bytes.)), so it has no limit")
    with pytest.raises(SessionError, match=r"OutOfMemory .* Try `schanger-edge build` with .* another --workspace"):
        build(model, None, BuildOptions(Batches(1, 1, 1), workspace=16))


@pytest.mark.parametrize(
    ("precision", "no_tf32", "capability", "said"),
    [
        ("fp32", False, "8.6", True),
        ("fp32", True, "8.6", False),
        ("fp32", False, "7.5", False),
        ("int8", False, "8.6", True),
        ("fp16", False, "8.6", False),
    ],
)
def test_tf32_is_said_recorded_and_can_be_declined(
    precision: str,
    no_tf32: bool,
    capability: str,
    said: bool,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, tmp_path / "cache")
    here = dataclasses.replace(gpu.find_gpu(), capability=capability)
    monkeypatch.setattr(gpu, "find_gpu", lambda *_: here)
    options = BuildOptions(Batches(1, 1, 1), no_tf32=no_tf32)
    for cached in (False, True):
        built = build(models[precision], None, options)
        assert built.cached == cached
        assert (
            "FP32 layers multiply in TF32, with 10 bits of fraction (build with --no-tf32" in built.explanation
        ) == said
    assert (built.card.tf32, built.card.in_tf32) == (not no_tf32, said)
    ((_, config),) = machine.trt.builds_asked
    assert config.on == ([] if no_tf32 else ["TF32"])


@pytest.mark.parametrize("capability", ["7.5", "9.0"])
def test_rtx_builds_for_the_gpu_that_is_here(
    capability: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left alone RTX builds a portable plan, which leaves out 7.5 and says nothing of 9.0."""
    machine = Machine(monkeypatch, tmp_path / "cache")
    rtx = SimulatedRTX(machine.device)
    machine.install(rtx, "tensorrt_rtx")
    here = Gpu("GPU", capability, 8 << 30, False, "13.0", "cuda-python", 1)
    monkeypatch.setattr(gpu, "find_gpu", lambda binding: here)
    if capability == "9.0":
        with pytest.raises(SessionError, match=r"cannot build for compute capability 9\.0: it supports"):
            build(model, None, BuildOptions(flavour="rtx"))
        return
    assert build(model, None, BuildOptions(flavour="rtx")).card.target.capabilities == (capability,)
    assert rtx.builds_asked[0][1].capabilities == [capability]


INTERRUPTED = """
import signal, sys, threading, os
from pathlib import Path
from schanger_edge.sessions.tensorrt.build import build
from schanger_edge.sessions.tensorrt.options import BuildOptions
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
began = threading.Event()
def progress(phase, done, total):
    if phase != "build" and not began.is_set():
        began.set()
        os.kill(os.getpid(), signal.SIGINT)
try:
    options = BuildOptions(flavour="rtx", capabilities=["8.6"])
    build(Path(sys.argv[1]), Path(sys.argv[2]), options, progress=progress)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interruption_ends_a_build(models: dict[str, Path], rtx: Flavour, tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(models["fp32"]), str(tmp_path / "x.plan")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 130, done.stderr
    assert list(tmp_path.iterdir()) == []


class TestWeakTypes:
    """TensorRT 8 builds a plan from another file than the one asked for, and the user is told."""

    OLD = Flavour("tensorrt", SimpleNamespace(), "8.6.2")

    def test_fp16_from_the_parent(self, models: dict[str, Path]) -> None:
        choice = choose_source(read_model(models["fp16"]), self.OLD)
        assert (choice.source, choice.flags) == (models["fp32"], ("FP16", OBEY))
        assert "TensorRT 8.6.2 does not take types from a graph" in choice.explanation
        assert "parent small.onnx with the flag FP16" in choice.explanation
        assert f"but for {len(choice.keep_fp32)} nodes that are held in FP32: check it" in choice.explanation

    def test_a_card_that_names_no_nodes(self, models: dict[str, Path]) -> None:
        """Of a model converted before cards named them."""
        file = read_model(models["fp16"])
        older = dataclasses.replace(file, card=dataclasses.replace(file.card, kept_fp32=()))
        assert choose_source(older, self.OLD) == choose_source(file, self.OLD)

    @pytest.mark.parametrize("precision", ["fp16", "int8"])
    def test_what_needs_fp32_is_found_in_the_graph(self, precision: str, models: dict[str, Path]) -> None:
        """As `convert` finds it, and in a plain INT8 model too, whose card names none."""
        graph = onnx.load(str(models["int8" if precision == "int8" else "fp32"])).graph
        roots = {node.input[0] for node in graph.node if node.op_type == "Sqrt"}
        wanted = {node.name for node in graph.node if node.op_type in ALWAYS_FP32 or roots & set(node.output)}
        assert len(wanted) > 50
        assert choose_source(read_model(models[precision]), self.OLD).keep_fp32 == tuple(sorted(wanted))

    def test_q_and_dq_are_not_held(self, models: dict[str, Path]) -> None:
        """A card may name them by the range of their input."""
        file = read_model(models["int8"])
        nodes = {node.name: node.op_type for node in onnx.load(str(file.path)).graph.node}
        named = next(name for name, kind in nodes.items() if kind == "QuantizeLinear")
        wide = next(name for name, kind in nodes.items() if kind == "Conv")
        card = dataclasses.replace(file.card, kept_fp32=(named, wide))
        held = choose_source(dataclasses.replace(file, card=card), self.OLD).keep_fp32
        assert wide in held
        assert not {"QuantizeLinear", "DequantizeLinear"} & {nodes[name] for name in held}

    @pytest.mark.parametrize(("precision", "source"), [("fp16", "fp32"), ("int8", "int8"), ("int8+fp16", "int8")])
    def test_nodes_that_stay_fp32_are_layers_of_the_file_that_is_built(
        self, precision: str, source: str, models: dict[str, Path], rtx: Flavour
    ) -> None:
        """By RTX's own parser: it names a node's layer after the node, and they give floats."""
        trt = rtx.module
        log = error_log(trt)
        network = trt.Builder(log).create_network(rtx.network_flags)
        assert trt.OnnxParser(network, log).parse(models[source].read_bytes())
        layers = {layer.name: layer for layer in map(network.get_layer, range(network.num_layers))}
        kept = choose_source(read_model(models[precision]), self.OLD).keep_fp32
        assert len(kept) > 50
        assert {layers[name].get_output(0).dtype for name in kept} == {trt.DataType.FLOAT}

    def test_int8_from_the_plain_int8_model(self, models: dict[str, Path]) -> None:
        for precision in ("int8", "int8+fp16"):
            choice = choose_source(read_model(models[precision]), self.OLD)
            assert (choice.source, choice.flags) == (models["int8"], ("FP16", "INT8", OBEY))

    def test_fp32_needs_no_flag(self, models: dict[str, Path]) -> None:
        choice = choose_source(read_model(models["fp32"]), self.OLD)
        assert (choice.source, choice.flags) == (models["fp32"], ())

    def test_the_bundled_parent(self, models: dict[str, Path], tmp_path: Path) -> None:
        """`convert schanger-small -o x.fp16.onnx`: its parent lies in the package, not beside it."""
        alone = tmp_path / "alone.fp16.onnx"
        shutil.copy(models["fp16"], alone)
        assert choose_source(read_model(alone), self.OLD).source == model_path(None)

    def test_without_the_sibling(
        self, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bundled, "FOLDER", tmp_path)
        for precision, sentence in (("fp16", "put the file that"), ("int8+fp16", "run `schanger-edge calibrate`")):
            alone = tmp_path / f"alone.{precision}.onnx"
            shutil.copy(models[precision], alone)
            with pytest.raises(ModelError, match=sentence):
                choose_source(read_model(alone), self.OLD)

    def test_a_sibling_of_other_scales_does_not_do(self, models: dict[str, Path], tmp_path: Path) -> None:
        from schanger_export.graph import write_card

        both = tmp_path / "both.onnx"
        shutil.copy(models["int8+fp16"], both)
        card = read_model(models["int8"]).card
        other = onnx.load(str(models["int8"]))
        write_card(other, dataclasses.replace(card, calibration={**card.calibration, "tiles_sha256": "others"}))
        onnx.save_model(other, str(tmp_path / "other.onnx"))
        with pytest.raises(ModelError, match="with the same --data"):
            choose_source(read_model(both), self.OLD)
