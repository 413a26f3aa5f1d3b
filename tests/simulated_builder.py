"""TensorRT's builder on the simulated machine: it keeps what it is told; tests/simulator.py runs its plans."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

from schanger_edge.model.card import INPUT_NAMES
from schanger_edge.model.plan import Batches

MAGIC = b"SIMULATED"


def simulated_plan(model: bytes, batches: Batches, side: int = 0) -> bytes:
    """What the simulated builder makes of a model; the side of its tiles counts where the model leaves that open."""
    return b";".join((MAGIC, b"%d,%d,%d,%d" % (*dataclasses.astuple(batches), side), model))


class ILayer:
    precision = None

    def __init__(self, name: str, num_outputs: int = 1) -> None:
        self.name, self.num_outputs, self.types = name, num_outputs, dict[int, Any]()

    def set_output_type(self, number: int, kind: Any) -> None:
        self.types[number] = kind


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags, self.source, self.layers = flags, b"", list[ILayer]()
        self.inputs = [SimpleNamespace(shape=()) for _ in INPUT_NAMES]

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, number: int) -> ILayer:
        return self.layers[number]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, number: int) -> SimpleNamespace:
        return self.inputs[number]


class ParserError:
    node, desc = staticmethod(lambda: 7), staticmethod(lambda: "no importer")
    node_name, node_operator = staticmethod(lambda: "/x/Det"), staticmethod(lambda: "Det")


class ITimingCache:
    """`content` grows with each build."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes[name] = shapes


class IBuilderConfig:
    builder_optimization_level: int | None = None
    progress_monitor: Any = None
    profiling_verbosity: Any = None
    num_compute_capabilities = 0

    def __init__(self, takes_caches: bool) -> None:
        self._takes_caches = takes_caches
        self.pools, self.flags, self.profiles = dict[Any, int](), list[Any](), list[IOptimizationProfile]()
        self.on = ["TF32"]  # without being set
        self.capabilities, self.caches = list[Any](), list[bytes]()
        self.cache: ITimingCache | None = None

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.pools[pool] = size

    def set_flag(self, flag: Any) -> None:
        self.flags.append(flag)

    def clear_flag(self, flag: Any) -> None:
        self.on.remove(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> None:
        self.profiles.append(profile)

    def set_compute_capability(self, capability: Any, number: int) -> None:
        self.capabilities.insert(number, capability)

    def create_timing_cache(self, content: bytes) -> ITimingCache:
        self.caches.append(content)
        return ITimingCache(content)

    def set_timing_cache(self, cache: ITimingCache, ignore: bool) -> bool:
        self.cache = cache
        return self._takes_caches or not cache.content


@dataclasses.dataclass
class BuilderNames:
    """The builder's part of the module.

    Args:
        parses: models can be parsed.
        builds: plans can be built.
        takes_caches: timing caches are of this device and version.
        scratch: bytes of scratch memory that an engine needs for each pair of tiles.
        room: bytes that the device has for it.
        old_driver: the driver is older than the CUDA this TensorRT was built for.

    Attributes:
        builds_asked: (network, config) of each build, as they were left.
    """

    parses: bool = True
    builds: bool = True
    takes_caches: bool = True
    scratch: int = 1 << 20
    room: int = 1 << 30
    old_driver: bool = False
    builds_asked: list[tuple[INetworkDefinition, IBuilderConfig]] = dataclasses.field(default_factory=list)

    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    BuilderFlag = SimpleNamespace(
        TF32="TF32", FP16="FP16", INT8="INT8", OBEY_PRECISION_CONSTRAINTS="OBEY_PRECISION_CONSTRAINTS"
    )
    NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    ComputeCapability = SimpleNamespace(SM75="7.5", SM86="8.6", SM120="12.0")

    class IProgressMonitor:
        pass

    def OnnxParser(self, network: INetworkDefinition, log: Any) -> Any:  # noqa: N802  # TensorRT's name
        return OnnxParser(self, network)

    def Builder(self, log: Any) -> Any:  # noqa: N802  # TensorRT's name
        self.refuse_old_driver(log)
        return Builder(self, log)

    def refuse_old_driver(self, log: Any) -> None:
        """As the bindings do."""
        if self.old_driver:
            log.log(log.Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    @property
    def sources(self) -> list[bytes]:
        """The models of which plans were asked for."""
        return [network.source for network, _ in self.builds_asked]

    @property
    def profiles(self) -> list[Batches]:
        """The shape profiles of these plans."""
        return [_batches(config) for _, config in self.builds_asked]


class OnnxParser:
    num_errors = 1

    def __init__(self, trt: BuilderNames, network: INetworkDefinition) -> None:
        self._trt, self._network = trt, network

    def parse(self, content: bytes) -> bool:
        import onnx

        self._network.source = content
        nodes = onnx.load_from_string(content).graph.node
        self._network.layers = [ILayer(node.name, len(node.output)) for node in nodes]
        return self._trt.parses

    def get_error(self, number: int) -> ParserError:
        return ParserError()


class Builder:
    def __init__(self, trt: BuilderNames, log: Any) -> None:
        self._trt, self._log = trt, log

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._trt.takes_caches)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        self._trt.builds_asked.append((network, config))
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building engine", None, 1)
            if not monitor.step_complete("Building engine", 0):
                return None
            monitor.phase_finish("Building engine")
        self._log.log("warning", "slow")
        needed = self._trt.scratch * _batches(config).most
        if needed > config.pools.get(self._trt.MemoryPoolType.WORKSPACE, self._trt.room) or needed > self._trt.room:
            self._log.log(
                self._log.Severity.ERROR,
                f"IBuilder::buildSerializedNetwork: Error Code 2: OutOfMemory (Requested size was {needed} bytes.)",
            )
            return None
        if not self._trt.builds:
            self._log.log(self._log.Severity.ERROR, "could not find any implementation for node /x/Conv\nmore")
            return None
        if config.cache is not None:
            config.cache.content += b"+"
        return simulated_plan(network.source, _batches(config), network.inputs[0].shape[2])


def _batches(config: IBuilderConfig) -> Batches:
    (profile,) = config.profiles
    return Batches(*(shape[0] for shape in profile.shapes["before"]))
