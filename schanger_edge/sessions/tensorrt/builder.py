"""From a model file to the bytes of a TensorRT plan; one builder for TensorRT 8.6 to 11 and TensorRT-RTX.

Precision lies in the model file. Only where types are weak (TensorRT 8) flags say it, see `Recipe`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from schanger_edge.errors import SessionError
from schanger_edge.model.card import INPUT_NAMES
from schanger_edge.model.plan import Batches
from schanger_edge.progress import Progress
from schanger_edge.sessions.tensorrt.flavour import Flavour, error_log, start

OBEY = "OBEY_PRECISION_CONSTRAINTS"  # TensorRT fails where it cannot keep what layers are told
NO_ROOM = re.compile(
    r"out ?of ?memory|insufficient|any implementation", re.I
)  # the last also where a limit is the cause
SAID = 3  # of the builder's last complaints, those that are repeated to the user


class ScratchError(SessionError):
    """The builder found no engine in the scratch memory there is; `reason` is what it said."""

    def __init__(self, sentence: str, reason: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a plan is built.

    Attributes:
        source: the .onnx file to parse.
        tile: T.
        batches: shape profile.
        flags: names of builder flags, `FP16` and `INT8`; empty where types are strong.
        capabilities: compute capabilities to build for, such as `8.6`; empty for the GPU that is here.
        workspace: bytes of scratch memory the engine may take; None leaves it to TensorRT.
        level: builder optimization level, 0 to 5; None leaves it to TensorRT.
        keep_fp32: names of the nodes that weak types must not make FP16; it goes with `OBEY`.
        tf32: FP32 layers may multiply in TF32.
        detailed: the plan keeps what each layer does, for TensorRT's inspector.
    """

    source: Path
    tile: int
    batches: Batches
    flags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    workspace: int | None = None
    level: int | None = None
    keep_fp32: tuple[str, ...] = ()
    tf32: bool = True
    detailed: bool = False


def build_plan(
    flavour: Flavour, recipe: Recipe, timing_cache: bytes | None = None, progress: Progress | None = None
) -> tuple[bytes, bytes]:
    """The plan, and the timing cache as it is after the build (empty where none was asked for).

    A timing cache is the content of an earlier one, empty to begin one, None for none; progress is told (phase, done,
    total). ScratchError where there is no engine in the scratch memory; SessionError where the graph cannot be parsed
    or built, which names node and reason.
    """
    trt = flavour.module
    log = error_log(trt)
    builder = start(flavour, "Builder", log)
    network = builder.create_network(flavour.network_flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(recipe.source.read_bytes()):
        raise SessionError(_parse_errors(flavour, parser, recipe.source))
    for number in range(network.num_inputs):  # of which a graph may leave height and width open
        network.get_input(number).shape = (-1, 3, recipe.tile, recipe.tile)
    _hold_in_fp32(flavour, network, recipe)
    config = builder.create_builder_config()
    if recipe.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace)
    if recipe.level is not None:
        config.builder_optimization_level = recipe.level
    for flag in recipe.flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if not recipe.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if recipe.detailed:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    _set_capabilities(flavour, config, recipe.capabilities)
    config.add_optimization_profile(_profile(builder, recipe))
    cache = _set_timing_cache(config, timing_cache) if timing_cache is not None else None
    monitor = _monitor(trt, progress)
    if monitor is not None:
        config.progress_monitor = monitor
    with _signals_wait(monitor):
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        said = "; ".join(log.errors[-SAID:]) or "no reason given"
        sentence = (
            f"{flavour.words} cannot build {recipe.source.name}: {said}. "
            "Try `schanger-edge build` with a smaller --batch, another --workspace or a lower --optimization-level."
        )
        raise ScratchError(sentence, said) if NO_ROOM.search(said) else SessionError(sentence)
    return bytes(plan), b"" if cache is None else bytes(cache.serialize())


@contextlib.contextmanager
def _signals_wait(monitor: Any) -> Iterator[None]:
    """Ctrl-C and SIGTERM make the monitor end the build, and take effect after it; what is ignored stays so.

    Otherwise Python would raise in whatever callback TensorRT has just called, and TensorRT swallow it.
    """
    if monitor is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, frame: object) -> None:
        arrived.append(number)
        monitor.interrupted = True

    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


def _hold_in_fp32(flavour: Flavour, network: Any, recipe: Recipe) -> None:
    """Layers compute in FP32 and hand it on; the parser names a node's layer after the node."""
    if not recipe.keep_fp32:
        return
    fp32, wanted = flavour.module.DataType.FLOAT, set(recipe.keep_fp32)
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        if layer.name not in wanted:
            continue
        wanted.remove(layer.name)
        layer.precision = fp32
        for output in range(layer.num_outputs):
            layer.set_output_type(output, fp32)
    if wanted:
        raise SessionError(
            f"{flavour.words} has no layer for {len(wanted)} of {len(recipe.keep_fp32)} nodes of "
            f"{recipe.source.name} that must stay in FP32, such as {min(wanted)}: build from the FP32 model instead."
        )


def known_capabilities(flavour: Flavour) -> list[str]:
    """Compute capabilities an RTX builder can build for: `SM86` is 8.6."""
    names = [name for name in dir(flavour.module.ComputeCapability) if name.startswith("SM") and name[2:].isdigit()]
    return sorted((f"{name[2:-1]}.{name[-1]}" for name in names), key=float)


def check_capability(flavour: Flavour, capability: str) -> None:
    """Raise SessionError where TensorRT-RTX has no kernels for GPUs of this compute capability."""
    known = known_capabilities(flavour) if flavour.name == "rtx" else [capability]
    if capability not in known:
        raise SessionError(
            f"{flavour.words} cannot build for compute capability {capability}: it supports {', '.join(known)}."
        )


def _set_capabilities(flavour: Flavour, config: Any, capabilities: Sequence[str]) -> None:
    if not capabilities:
        return
    if flavour.name != "rtx":
        raise SessionError("TensorRT builds for the GPU it runs on: omit --compute-capability, or use --flavour rtx.")
    for capability in capabilities:
        check_capability(flavour, capability)
    config.num_compute_capabilities = len(capabilities)
    for number, capability in enumerate(capabilities):
        name = f"SM{capability.replace('.', '')}"
        config.set_compute_capability(getattr(flavour.module.ComputeCapability, name), number)


def _set_timing_cache(config: Any, content: bytes) -> Any:
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):  # damaged, or of another device or version
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _profile(builder: Any, recipe: Recipe) -> Any:
    profile = builder.create_optimization_profile()
    for name in INPUT_NAMES:
        sizes = (recipe.batches.least, recipe.batches.best, recipe.batches.most)
        profile.set_shape(name, *((size, 3, recipe.tile, recipe.tile) for size in sizes))
    return profile


def _parse_errors(flavour: Flavour, parser: Any, source: Path) -> str:
    """Which node, and why; the first error tells, the others follow from it."""
    if not parser.num_errors:
        return f"{flavour.words} cannot read {source}: it is not an ONNX model. Export it again."
    error = parser.get_error(0)
    node = error.node_name() if hasattr(error, "node_name") else ""
    kind = error.node_operator() if hasattr(error, "node_operator") else ""
    where = f"node {node} ({kind})" if node else f"node number {error.node()}"
    return (
        f"{flavour.words} cannot parse {source.name}: {where}: {error.desc()}. Export the model again with this "
        "version."
    )


def _monitor(trt: Any, progress: Progress | None) -> Any:
    """Tells of the outermost phases; from TensorRT 8.6 or 10 on, earlier there is none."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """TensorRT calls it from threads of its own; an interruption makes it end the build early."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.totals: dict[str, int] = {}
            self.interrupted = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.totals[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if progress and phase_name in self.totals:
                progress(phase_name, step + 1, max(self.totals[phase_name], step + 1))
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            if progress and (total := self.totals.get(phase_name)):
                progress(phase_name, total, total)

    return Monitor()
