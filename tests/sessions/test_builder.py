"""What TensorRT is asked for, version by version, to build and run a plan, on the simulated machine.

Each version offers exactly the names of tests/tensorrt_names.py. TensorRT-RTX itself must know those that the table
says it has, and no others of them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fake_device import FakeDevice
from simulated_session import flavour_of, tiles, write
from simulator import GPU_WORDS, SimulatedRTX, SimulatedTensorRT, on_fake_driver
from tensorrt_names import NAMES, SUBCLASSED, USED, VERSIONS, Exactly, offers

from schanger_edge.errors import SessionError
from schanger_edge.model.plan import Batches, Target, this_system
from schanger_edge.sessions.tensorrt.builder import OBEY, Recipe, build_plan
from schanger_edge.sessions.tensorrt.flavour import Flavour
from schanger_edge.sessions.tensorrt.session import TensorRTSession

WEAK = ("8.6.2",)


def test_tensorrt_rtx_has_the_names_that_the_table_says() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu13 (Linux and Windows on x86-64)")
    for owner, names in NAMES.items():
        of = getattr(trt.ILogger if owner == "Severity" else trt, owner) if owner else trt
        for name in names:
            assert hasattr(of, name) == offers(owner, name, "rtx"), (owner, name)


def simulated(version: str = "10.13.3", **options: Any) -> SimulatedTensorRT:
    trt = SimulatedRTX(FakeDevice()) if version == "rtx" else SimulatedTensorRT(FakeDevice(), version)
    for name, value in options.items():
        setattr(trt, name, value)
    return trt


def exactly(trt: SimulatedTensorRT) -> Flavour:
    """With no names but those of its version."""
    flavour = flavour_of(trt)
    version = "rtx" if flavour.name == "rtx" else flavour.version
    return dataclasses.replace(flavour, module=Exactly("", version, trt))


@pytest.fixture
def named(model: Path, tmp_path: Path) -> Path:
    """The model, its nodes with names."""
    graph = onnx.load(str(model))
    for node in graph.graph.node:
        node.name = f"/{node.op_type}"
    onnx.save(graph, str(tmp_path / "m.onnx"))
    return tmp_path / "m.onnx"


@pytest.fixture
def recipe(named: Path) -> Recipe:
    return Recipe(named, 32, Batches(1, 2, 4), ("FP16", "INT8"), workspace=256 << 20, level=3)


@pytest.mark.parametrize(
    ("version", "network_flags", "flags"),
    [("8.6.2", 1, ("FP16", "INT8")), ("10.3.0", 2, ()), ("10.13.3", 2, ()), ("11.4.1", 2, ())],
)
def test_what_each_version_is_told(version: str, network_flags: int, flags: tuple[str, ...], recipe: Recipe) -> None:
    trt = simulated(version)
    recipe = dataclasses.replace(recipe, flags=flags)
    plan, timings = build_plan(exactly(trt), recipe, b"earlier")
    assert recipe.source.read_bytes() in plan
    assert timings == b"earlier+"
    ((network, config),) = trt.builds_asked
    assert (network.flags, network.source) == (network_flags, recipe.source.read_bytes())
    assert config.builder_optimization_level == 3
    assert (config.progress_monitor is not None) == (version != "8.6.2")
    assert (config.pools, tuple(config.flags)) == ({"workspace": 256 << 20}, flags)
    shapes = tuple((n, 3, 32, 32) for n in (1, 2, 4))
    assert [profile.shapes for profile in config.profiles] == [{"before": shapes, "after": shapes}]
    assert config.caches == [b"earlier"]
    assert build_plan(exactly(trt), recipe)[1] == b""


@pytest.mark.parametrize("version", WEAK)
def test_weak_types_hold_layers_in_fp32(version: str, recipe: Recipe) -> None:
    trt = simulated(version)
    held = ("/Conv", "/Abs")
    build_plan(exactly(trt), dataclasses.replace(recipe, flags=("FP16", OBEY), keep_fp32=held))
    ((network, config),) = trt.builds_asked
    fp32 = trt.DataType.FLOAT
    assert {layer.name: (layer.precision, layer.types) for layer in network.layers} == {
        name: (fp32, {0: fp32}) if name in held else (None, {}) for name in (layer.name for layer in network.layers)
    }
    assert set(held) < {layer.name for layer in network.layers}
    assert config.flags == ["FP16", OBEY]
    missing = dataclasses.replace(recipe, keep_fp32=("/x/Sqrt", "/Abs"))
    with pytest.raises(
        SessionError, match=r"no layer for 1 of 2 nodes of m\.onnx that must stay in FP32, such as /x/Sqr"
    ):
        build_plan(exactly(trt), missing)


def test_all_names_of_the_table_are_used_and_no_others(model: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Every version builds and runs with its own names alone; together they need each name of the table."""
    USED.clear()
    for version in (*VERSIONS, "rtx"):
        trt = simulated(version)
        flavour = exactly(trt)
        flags = {"flags": ("FP16", OBEY), "keep_fp32": ("/Conv",)} if version in WEAK else {"flags": ()}
        capabilities = ("8.6", "12.0") if version == "rtx" else ()
        build_plan(
            flavour, dataclasses.replace(recipe, **flags, capabilities=capabilities, tf32=False), b"", lambda *_: None
        )
        assert trt.builds_asked[0][1].capabilities == list(capabilities)
        assert trt.builds_asked[0][1].on == []
        assert flavour.network_flags == trt.builds_asked[0][0].flags
        trt.parses = False
        with pytest.raises(SessionError, match="cannot parse"):
            build_plan(flavour, recipe)
        words = "" if version == "rtx" else GPU_WORDS
        plan = tmp_path / f"{version}.plan"
        write(plan, model, target=Target(flavour.name, flavour.version, this_system(), ("8.6",), words))
        with TensorRTSession(plan, flavour, on_fake_driver(trt.device)) as session:
            assert np.isfinite(session.run(*tiles(2))).all()
    build_plan(exactly(simulated("8.6.2")), recipe)  # INT8
    unseen = {*SUBCLASSED, "Severity"}  # the code derives from these, and no `Exactly` stands between
    named = {(owner, name) for owner, names in NAMES.items() for name in names if owner not in unseen}
    assert named - {("", "__version__")} == USED


def test_a_name_that_a_version_lacks_is_an_error(recipe: Recipe) -> None:
    """So that the tests above would see a name that is used where it does not exist."""
    with pytest.raises(AttributeError, match=r"TensorRT 11\.4\.1 has no BuilderFlag\.FP16"):
        build_plan(exactly(simulated("11.4.1")), dataclasses.replace(recipe, flags=("FP16",)))
    with pytest.raises(AttributeError, match=r"has no ILayer\.precision"):
        build_plan(exactly(simulated("11.4.1")), dataclasses.replace(recipe, flags=(), keep_fp32=("/Conv",)))


def test_a_timing_cache_of_another_device_begins_anew(recipe: Recipe) -> None:
    trt = simulated("8.6.2", takes_caches=False)
    assert build_plan(exactly(trt), recipe, b"earlier")[1] == b"+"
    assert trt.builds_asked[0][1].caches == [b"earlier", b""]


def test_progress_is_told_of_the_outermost_phase(recipe: Recipe) -> None:
    told: list[tuple[Any, ...]] = []
    build_plan(exactly(simulated()), dataclasses.replace(recipe, flags=()), None, lambda *step: told.append(step))
    assert told == [("Building engine", 1, 1)] * 2


def test_failures_are_one_sentence(recipe: Recipe) -> None:
    with pytest.raises(SessionError, match=r"TensorRT 8\.6\.2 cannot parse m\.onnx: node number 7: no importer"):
        build_plan(exactly(simulated("8.6.2", parses=False)), recipe)
    with pytest.raises(SessionError, match=r"TensorRT 10\.3\.0 cannot parse m\.onnx: node /x/Det \(Det\): no importer"):
        build_plan(exactly(simulated("10.3.0", parses=False)), recipe)
    reason = r"could not find any implementation for node /x/Conv"
    with pytest.raises(SessionError, match=rf"cannot build m\.onnx: {reason}\. Try `schanger-edge build` with"):
        build_plan(exactly(simulated("8.6.2", builds=False)), recipe)
    other = Recipe(recipe.source, 32, Batches(), capabilities=("8.7",))
    with pytest.raises(SessionError, match="TensorRT builds for the GPU it runs on"):
        build_plan(exactly(simulated("8.6.2")), other)
