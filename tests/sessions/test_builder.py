"""What the builder asks of a TensorRT that does not install here: a stand-in keeps what it is told and builds nothing.

The names that builder and session use stand in a table with their versions; TensorRT-RTX must know each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schanger_edge.errors import SessionError
from schanger_edge.sessions import builder as builder_module
from schanger_edge.sessions import contexts as contexts_module
from schanger_edge.sessions import tensorrt as tensorrt_module
from schanger_edge.sessions.builder import Batches, Recipe, build_plan
from schanger_edge.sessions.flavour import Flavour

NAMES = {  # class: {attribute: versions of TensorRT that have it}
    "": {"Builder": "8.6-", "ILogger": "8.6-", "OnnxParser": "8.6-", "BuilderFlag": "8.6-", "MemoryPoolType": "8.6-",
         "NetworkDefinitionCreationFlag": "8.6-", "Runtime": "8.6-", "DataType": "8.6-", "CudaGraphStrategy": "rtx",
         "IProgressMonitor": "10.0-", "ComputeCapability": "rtx"},
    "Builder": {"create_network": "8.6-", "create_builder_config": "8.6-", "create_optimization_profile": "8.6-",
                "build_serialized_network": "8.6-"},
    "OnnxParser": {"parse": "8.6-", "num_errors": "8.6-", "get_error": "8.6-"},
    "ParserError": {"node": "8.6-", "desc": "8.6-", "node_name": "10.0-", "node_operator": "10.0-"},
    "IBuilderConfig": {"set_memory_pool_limit": "8.6-", "builder_optimization_level": "8.6-", "set_flag": "8.6-",
                       "add_optimization_profile": "8.6-", "create_timing_cache": "8.6-", "set_timing_cache": "8.6-",
                       "progress_monitor": "10.0-", "num_compute_capabilities": "rtx", "set_compute_capability": "rtx"},
    "IOptimizationProfile": {"set_shape": "8.6-"},
    "ITimingCache": {"serialize": "8.6-"},
    "Runtime": {"deserialize_cuda_engine": "8.6-"},
    "ICudaEngine": {"num_io_tensors": "8.6-", "get_tensor_name": "8.6-", "get_tensor_dtype": "8.6-",
                    "create_execution_context": "8.6-", "create_runtime_config": "rtx"},
    "IExecutionContext": {"set_input_shape": "8.6-", "set_tensor_address": "8.6-", "execute_async_v3": "8.6-"},
    "IRuntimeConfig": {"cuda_graph_strategy": "rtx", "create_runtime_cache": "rtx", "set_runtime_cache": "rtx"},
    "IRuntimeCache": {"serialize": "rtx", "deserialize": "rtx"},
    "DataType": {"UINT8": "8.6-", "FLOAT": "8.6-"},
    "CudaGraphStrategy": {"WHOLE_GRAPH_CAPTURE": "rtx"},
    "IProgressMonitor": {"phase_start": "10.0-", "step_complete": "10.0-", "phase_finish": "10.0-"},
}  # fmt: skip


def test_every_name_exists_in_tensorrt_rtx() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu13 (Linux and Windows on x86-64)")
    for owner, names in NAMES.items():
        for name in names:
            assert hasattr(getattr(trt, owner) if owner else trt, name), (owner, name)


def test_the_table_holds_every_name_that_the_builder_uses() -> None:
    known = {name for names in NAMES.values() for name in names} | {"Severity"}
    builder, *session = (
        Path(module.__file__).read_text() for module in (builder_module, tensorrt_module, contexts_module)
    )
    of_builder = r"\b(?:trt|builder|network|parser|config|cache|profile|error|flavour\.module)\.(\w+)"
    of_session = r"\b(?:engine|kinds|config|sized\.context|self\._(?:trt|runtime|engine|runtime_cache))\.(\w+)"
    used = {*re.findall(of_builder, builder), *re.findall(of_session, "".join(session))}
    assert len(used) > 25
    assert used - known == set()


class StandIn:
    """TensorRT 8.6 as far as the builder uses it; `told` holds every call."""

    def __init__(self, parses: bool = True, builds: bool = True, cache_fits: bool = True) -> None:
        self.told: list[tuple[Any, ...]] = []
        told = self.told

        def keep(name: str, result: Any = None) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                told.append((name, *arguments))
                return result(*arguments) if callable(result) else result

            return call

        cache = SimpleNamespace(serialize=lambda: b"measured")
        config = SimpleNamespace(
            set_memory_pool_limit=keep("pool"), set_flag=keep("flag"), add_optimization_profile=keep("profile"),
            create_timing_cache=keep("cache", cache), set_timing_cache=keep("use", lambda *_: cache_fits),
        )  # fmt: skip
        self.config = config
        error = SimpleNamespace(node=lambda: 7, desc=lambda: "no such operator")
        self.OnnxParser = lambda network, log: SimpleNamespace(
            parse=keep("parse", parses), num_errors=1, get_error=lambda number: error
        )
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.BuilderFlag = SimpleNamespace(FP16="fp16", INT8="int8")
        self.NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0)

        class Logger:
            Severity = SimpleNamespace(INTERNAL_ERROR="internal", ERROR="error")

        self.ILogger = Logger

        def built(*_: Any) -> bytes | None:
            self.log.log("warning", "slow")
            if not builds:
                self.log.log("error", "out of memory\nmore")
            return b"plan" if builds else None

        def make(log: Any) -> Any:
            self.log = log
            return SimpleNamespace(
                create_network=keep("network"), create_builder_config=lambda: config, build_serialized_network=built,
                create_optimization_profile=lambda: SimpleNamespace(set_shape=keep("shape")),
            )  # fmt: skip

        self.Builder = make


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "m.onnx").write_bytes(b"graph")
    return Recipe(tmp_path / "m.onnx", 32, Batches(1, 2, 4), ("FP16", "INT8"), workspace=256 << 20, level=3)


def test_what_8_6_is_told(recipe: Recipe) -> None:
    trt = StandIn()
    plan, timings = build_plan(Flavour("tensorrt", trt, "8.6.2"), recipe, b"earlier")
    assert (plan, timings) == (b"plan", b"measured")
    assert trt.config.builder_optimization_level == 3
    told = [call for call in trt.told if call[0] not in ("profile", "use", "cache")]
    shapes = [(n, 3, 32, 32) for n in (1, 2, 4)]
    assert told == [
        ("network", 1), ("parse", b"graph"), ("pool", "workspace", 256 << 20), ("flag", "fp16"), ("flag", "int8"),
        ("shape", "before", *shapes), ("shape", "after", *shapes),
    ]  # fmt: skip
    assert ("cache", b"earlier") in trt.told
    assert build_plan(Flavour("tensorrt", StandIn(), "8.6.2"), recipe) == (b"plan", b"")


def test_a_timing_cache_of_another_device_begins_anew(recipe: Recipe) -> None:
    trt = StandIn(cache_fits=False)
    build_plan(Flavour("tensorrt", trt, "8.6.2"), recipe, b"earlier")
    assert [call[1] for call in trt.told if call[0] == "cache"] == [b"earlier", b""]


def test_failures_are_one_sentence(recipe: Recipe) -> None:
    with pytest.raises(SessionError, match=r"TensorRT 8\.6\.2 cannot parse m\.onnx: node number 7: no such operator"):
        build_plan(Flavour("tensorrt", StandIn(parses=False), "8.6.2"), recipe)
    with pytest.raises(SessionError, match=r"cannot build m\.onnx: out of memory\. Try `schanger-edge build` with"):
        build_plan(Flavour("tensorrt", StandIn(builds=False), "8.6.2"), recipe)
    other = Recipe(recipe.source, 32, Batches(), capabilities=("8.7",))
    with pytest.raises(SessionError, match="TensorRT builds for the GPU it runs on"):
        build_plan(Flavour("tensorrt", StandIn(), "8.6.2"), other)
