"""What the builder asks of TensorRTs that don't install here: stand-ins keep what they are told and build nothing.

Each offers exactly the names of its version, by the table in tests/tensorrt_names.py; TensorRT-RTX itself must know
those that the table says it has, and no others of them.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorrt_names import NAMES, Exactly, offers

from schanger_edge.errors import SessionError
from schanger_edge.sessions import tensorrt
from schanger_edge.sessions.tensorrt.builder import OBEY, Batches, Recipe, build_plan
from schanger_edge.sessions.tensorrt.flavour import Flavour

FOLDER = Path(tensorrt.__file__).parent
RECEIVERS = {  # file: what TensorRT's module and objects are called in it
    "flavour.py": r"trt|flags",
    "builder.py": r"trt|builder|network|layer|parser|config|cache|profile|error|flavour\.module",
    "session.py": r"engine|kinds|config|self\._(?:trt|runtime|engine|runtime_cache)",
    "contexts.py": r"sized\.context|self\._engine",
}
BY_NAME = {  # names that are looked up as text
    "flavour.py": {"EXPLICIT_BATCH", "STRONGLY_TYPED", "NetworkDefinitionCreationFlag", "__version__"},
    "build.py": {"FP16", "INT8"},
    "builder.py": {OBEY, "IProgressMonitor", "node_name", "node_operator"},
}


def test_tensorrt_rtx_has_the_names_that_the_table_says() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu13 (Linux and Windows on x86-64)")
    for owner, names in NAMES.items():
        of = getattr(trt.ILogger if owner == "Severity" else trt, owner) if owner else trt
        for name in names:
            assert hasattr(of, name) == offers(owner, name, "rtx"), (owner, name)


def attributes_used(file: str) -> set[str]:
    """Attributes of TensorRT's module and objects in the source of a file, of chains too: `trt.A.B`."""
    receiver = re.compile(rf"(?:{RECEIVERS[file]})(?:\.\w+)*")
    nodes = ast.walk(ast.parse((FOLDER / file).read_text()))
    return {n.attr for n in nodes if isinstance(n, ast.Attribute) and receiver.fullmatch(ast.unparse(n.value))}


def test_the_table_holds_every_name_that_is_used() -> None:
    known = {name for names in NAMES.values() for name in names}
    used = {file: attributes_used(file) for file in RECEIVERS}
    for file, names in BY_NAME.items():
        source = (FOLDER / file).read_text()
        assert all(f'"{name}"' in source for name in names), file
        used[file] = used.get(file, set()) | names
    every = set().union(*used.values()) - {"__init__"}
    assert every - known == set()
    assert known - every == set(NAMES["IProgressMonitor"])  # these the code defines


def test_no_other_file_looks_into_tensorrt() -> None:
    for path in FOLDER.glob("*.py"):
        looks = re.search(r"\btrt\.[A-Z]|\.module\.|\._trt\b|importlib.import_module\(MODULES", path.read_text())
        assert not looks or path.name in RECEIVERS, path


class Told(list[tuple[Any, ...]]):
    """Calls, in order."""


class INetworkDefinition:
    def __init__(self, layers: list[Any]) -> None:
        self._layers, self.num_layers = layers, len(layers)

    def get_layer(self, number: int) -> Any:
        return self._layers[number]


class ILayer:
    precision = None

    def __init__(self, name: str, num_outputs: int = 1) -> None:
        self.name, self.num_outputs, self.types = name, num_outputs, dict[int, Any]()

    def set_output_type(self, number: int, kind: Any) -> None:
        self.types[number] = kind


class ParserError:
    node, desc = staticmethod(lambda: 7), staticmethod(lambda: "no such operator")
    node_name, node_operator = staticmethod(lambda: "/x/Det"), staticmethod(lambda: "Det")


class ITimingCache:
    serialize = staticmethod(lambda: b"measured")


class IOptimizationProfile:
    def __init__(self, told: Told) -> None:
        self._told = told

    def set_shape(self, *arguments: Any) -> None:
        self._told.append(("shape", *arguments))


class IBuilderConfig:
    builder_optimization_level = progress_monitor = None

    def __init__(self, told: Told, cache_fits: bool) -> None:
        self._told, self._cache_fits = told, cache_fits

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self._told.append(("pool", pool, size))

    def set_flag(self, flag: Any) -> None:
        self._told.append(("flag", flag))

    def add_optimization_profile(self, profile: Any) -> None:
        self._told.append(("profile",))

    def create_timing_cache(self, content: bytes) -> ITimingCache:
        self._told.append(("cache", content))
        return ITimingCache()

    def set_timing_cache(self, cache: Any, ignore: bool) -> bool:
        return self._cache_fits


class StandIn:
    """A module that knows the names of all versions; `exactly` hands out those of one.

    Attributes:
        told: every call, in order.
        config: the builder configuration, as it was left.
        layers: of the network that the parser makes.
    """

    DataType = SimpleNamespace(UINT8="uint8", FLOAT="float")
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    BuilderFlag = SimpleNamespace(FP16="fp16", INT8="int8", OBEY_PRECISION_CONSTRAINTS="obey")
    NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)

    class ILogger:
        Severity = SimpleNamespace(INTERNAL_ERROR="internal", ERROR="error")

    class IProgressMonitor:
        pass

    def __init__(self, parses: bool = True, builds: bool = True, cache_fits: bool = True) -> None:
        self.told = told = Told()
        self.layers = [ILayer("/conv/Conv"), ILayer("/norm/ReduceMean"), ILayer("/split/Split", 2)]
        self.config = config = IBuilderConfig(told, cache_fits)
        network = INetworkDefinition(self.layers)

        class OnnxParser:
            num_errors = 1

            def __init__(self, network: Any, log: Any) -> None:
                pass

            def parse(self, content: bytes) -> bool:
                told.append(("parse", content))
                return parses

            def get_error(self, number: int) -> ParserError:
                return ParserError()

        class Builder:
            def __init__(self, log: Any) -> None:
                self._log = log

            def create_network(self, flags: int) -> INetworkDefinition:
                told.append(("network", flags))
                return network

            def create_builder_config(self) -> IBuilderConfig:
                return config

            def create_optimization_profile(self) -> IOptimizationProfile:
                return IOptimizationProfile(told)

            def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
                self._log.log("warning", "slow")
                if not builds:
                    self._log.log("error", "out of memory\nmore")
                return b"plan" if builds else None

        self.OnnxParser, self.Builder = OnnxParser, Builder

    def exactly(self, version: str) -> Flavour:
        return Flavour("tensorrt", Exactly("", version, self), version)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "m.onnx").write_bytes(b"graph")
    return Recipe(tmp_path / "m.onnx", 32, Batches(1, 2, 4), ("FP16", "INT8"), workspace=256 << 20, level=3)


@pytest.mark.parametrize(
    ("version", "network", "flags"),
    [
        ("8.6.2", 1, ("FP16", "INT8")),
        ("10.3.0", 0, ("FP16", "INT8")),
        ("10.13.3", 2, ()),
        ("11.4.1", 2, ()),
    ],
)
def test_what_each_version_is_told(version: str, network: int, flags: tuple[str, ...], recipe: Recipe) -> None:
    trt = StandIn()
    recipe = dataclasses.replace(recipe, flags=flags)
    plan, timings = build_plan(trt.exactly(version), recipe, b"earlier")
    assert (plan, timings) == (b"plan", b"measured")
    assert trt.config.builder_optimization_level == 3
    assert (trt.config.progress_monitor is not None) == (version != "8.6.2")
    told = [call for call in trt.told if call[0] not in ("profile", "cache")]
    shapes = [(n, 3, 32, 32) for n in (1, 2, 4)]
    assert told == [
        ("network", network), ("parse", b"graph"), ("pool", "workspace", 256 << 20),
        *(("flag", flag.lower()) for flag in flags), ("shape", "before", *shapes), ("shape", "after", *shapes),
    ]  # fmt: skip
    assert ("cache", b"earlier") in trt.told
    assert build_plan(StandIn().exactly(version), recipe) == (b"plan", b"")


@pytest.mark.parametrize("version", ["8.6.2", "10.3.0"])
def test_weak_types_hold_layers_in_fp32(version: str, recipe: Recipe) -> None:
    trt = StandIn()
    held = ("/split/Split", "/norm/ReduceMean")
    build_plan(trt.exactly(version), dataclasses.replace(recipe, flags=("FP16", OBEY), keep_fp32=held))
    assert {layer.name: (layer.precision, layer.types) for layer in trt.layers} == {
        "/conv/Conv": (None, {}),
        "/norm/ReduceMean": ("float", {0: "float"}),
        "/split/Split": ("float", {0: "float", 1: "float"}),
    }
    assert [call[1] for call in trt.told if call[0] == "flag"] == ["fp16", "obey"]
    with pytest.raises(
        SessionError, match=r"no layer for 1 of 2 nodes of m\.onnx that must stay FP32, such as /x/Sqrt"
    ):
        build_plan(trt.exactly(version), dataclasses.replace(recipe, keep_fp32=("/x/Sqrt", "/norm/ReduceMean")))


def test_a_name_that_a_version_lacks_is_an_error(recipe: Recipe) -> None:
    """So that the tests above would see a name that is used where it does not exist."""
    weak = dataclasses.replace(recipe, flags=("FP16",))
    with pytest.raises(AttributeError, match=r"TensorRT 11\.4\.1 has no BuilderFlag\.FP16"):
        build_plan(StandIn().exactly("11.4.1"), weak)
    with pytest.raises(AttributeError, match=r"has no ILayer\.precision"):
        build_plan(StandIn().exactly("11.4.1"), dataclasses.replace(recipe, flags=(), keep_fp32=("/conv/Conv",)))
    with pytest.raises(AttributeError, match=r"has no IBuilderConfig\.progress_monitor"):
        Exactly("IBuilderConfig", "8.6.2", StandIn().config).progress_monitor = None


def test_a_timing_cache_of_another_device_begins_anew(recipe: Recipe) -> None:
    trt = StandIn(cache_fits=False)
    build_plan(trt.exactly("8.6.2"), recipe, b"earlier")
    assert [call[1] for call in trt.told if call[0] == "cache"] == [b"earlier", b""]


def test_failures_are_one_sentence(recipe: Recipe) -> None:
    with pytest.raises(SessionError, match=r"TensorRT 8\.6\.2 cannot parse m\.onnx: node number 7: no such operator"):
        build_plan(StandIn(parses=False).exactly("8.6.2"), recipe)
    with pytest.raises(SessionError, match=r"TensorRT 10\.3\.0 cannot parse m\.onnx: node /x/Det \(Det\): no such op"):
        build_plan(StandIn(parses=False).exactly("10.3.0"), recipe)
    with pytest.raises(SessionError, match=r"cannot build m\.onnx: out of memory\. Try `schanger-edge build` with"):
        build_plan(StandIn(builds=False).exactly("8.6.2"), recipe)
    other = Recipe(recipe.source, 32, Batches(), capabilities=("8.7",))
    with pytest.raises(SessionError, match="TensorRT builds for the GPU it runs on"):
        build_plan(StandIn().exactly("8.6.2"), other)
