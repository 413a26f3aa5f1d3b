"""The names of TensorRT's Python API that this project uses, with the versions that have them.

From NVIDIA's API documentation, its lists of what 10 and 11 removed, and the module `tensorrt_rtx` itself.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from schanger_edge.sessions.tensorrt.flavour import version_of

VERSIONS = ("8.6.2", "10.3.0", "10.13.3", "11.4.1")
"""JetPack 6.0, 6.1 and 6.2, 7.1, and the newest. 9 was for data centres alone and does not count."""

NAMES = {  # class: {attribute: versions that have it}. 8.6- from 8.6 on, 8.6-10 up to the last 10, rtx TensorRT-RTX
    "": {"__version__": "8.6-", "Builder": "8.6-", "ILogger": "8.6-", "OnnxParser": "8.6-", "BuilderFlag": "8.6-",
         "MemoryPoolType": "8.6-", "NetworkDefinitionCreationFlag": "8.6-", "Runtime": "8.6-", "DataType": "8.6-",
         "IProgressMonitor": "10.0-", "CudaGraphStrategy": "rtx",
         "DynamicShapesKernelSpecializationStrategy": "rtx", "ComputeCapability": "rtx"},
    "ILogger": {"Severity": "8.6-"},
    "Severity": {"INTERNAL_ERROR": "8.6-", "ERROR": "8.6-"},
    "Builder": {"create_network": "8.6-", "create_builder_config": "8.6-", "create_optimization_profile": "8.6-",
                "build_serialized_network": "8.6-"},
    "NetworkDefinitionCreationFlag": {"EXPLICIT_BATCH": "8.6-10", "STRONGLY_TYPED": "10.0-"},
    "INetworkDefinition": {"num_layers": "8.6-", "get_layer": "8.6-", "num_inputs": "8.6-", "get_input": "8.6-"},
    "ILayer": {"name": "8.6-", "num_outputs": "8.6-", "precision": "8.6-10", "set_output_type": "8.6-10"},
    "OnnxParser": {"parse": "8.6-", "num_errors": "8.6-", "get_error": "8.6-"},
    "ParserError": {"node": "8.6-", "desc": "8.6-", "node_name": "10.0-", "node_operator": "10.0-"},
    "IBuilderConfig": {"set_memory_pool_limit": "8.6-", "builder_optimization_level": "8.6-", "set_flag": "8.6-",
                       "clear_flag": "8.6-",
                       "add_optimization_profile": "8.6-", "create_timing_cache": "8.6-", "set_timing_cache": "8.6-",
                       "progress_monitor": "10.0-", "num_compute_capabilities": "rtx", "set_compute_capability": "rtx"},
    "BuilderFlag": {"TF32": "8.6-", "FP16": "8.6-10", "INT8": "8.6-10", "OBEY_PRECISION_CONSTRAINTS": "8.6-10"},
    "MemoryPoolType": {"WORKSPACE": "8.6-"},
    "IOptimizationProfile": {"set_shape": "8.6-"},
    "ITimingCache": {"serialize": "8.6-"},
    "IProgressMonitor": {"phase_start": "10.0-", "step_complete": "10.0-", "phase_finish": "10.0-"},
    "Runtime": {"deserialize_cuda_engine": "8.6-"},
    "ICudaEngine": {"num_io_tensors": "8.6-", "get_tensor_name": "8.6-", "get_tensor_dtype": "8.6-",
                    "create_execution_context": "8.6-", "create_runtime_config": "10.11-"},
    "IExecutionContext": {"set_input_shape": "8.6-", "set_tensor_address": "8.6-", "execute_async_v3": "8.6-"},
    "IRuntimeConfig": {"cuda_graph_strategy": "rtx", "dynamic_shapes_kernel_specialization_strategy": "rtx",
                       "create_runtime_cache": "rtx", "set_runtime_cache": "rtx"},
    "IRuntimeCache": {"serialize": "rtx", "deserialize": "rtx"},
    "DataType": {"UINT8": "8.6-", "FLOAT": "8.6-"},
    "CudaGraphStrategy": {"WHOLE_GRAPH_CAPTURE": "rtx"},
    "DynamicShapesKernelSpecializationStrategy": {"EAGER": "rtx"},
}  # fmt: skip

SUBCLASSED = ("ILogger", "IProgressMonitor")
"""Classes that the code derives from; they are handed out as they are."""

SIMULATED = {
    "Engine": "ICudaEngine", "RTXEngine": "ICudaEngine", "Context": "IExecutionContext",
    "RuntimeConfig": "IRuntimeConfig", "RuntimeCache": "IRuntimeCache",
}  # fmt: skip
"""What tests/simulator.py calls its classes."""

USED: set[tuple[str, str]] = set()
"""(class, name) of all that was asked of an `Exactly`."""


def offers(owner: str, name: str, version: str) -> bool:
    """Whether a version of TensorRT has a name; the version `rtx` stands for TensorRT-RTX."""
    versions = NAMES[owner].get(name, "none")
    first, has_range, last = versions.partition("-")
    if version == "rtx" or not has_range:
        return versions == version or (version == "rtx" and bool(has_range) and not last)
    return version_of(version) >= version_of(first) and (not last or version_of(version)[0] <= int(last))


class Exactly:
    """A TensorRT, or an object of it, that has exactly the names of one version: any other is an AttributeError.

    Args:
        owner: its class in `NAMES`, empty for the module.
        version: whose names.
        real: what does the work.
    """

    def __init__(self, owner: str, version: str, real: Any) -> None:
        self.__dict__.update(_owner=owner, _version=version, _real=real)

    def __getattr__(self, name: str) -> Any:
        self._check(name)
        value = getattr(self._real, name)
        if not self._owner and name in NAMES and name not in SUBCLASSED:
            return Exactly(name, self._version, value)
        if callable(value) and not isinstance(value, type):
            return lambda *arguments: self._wrapped(value(*map(_unwrapped, arguments)))
        return self._wrapped(value)

    def __setattr__(self, name: str, value: Any) -> None:
        self._check(name)
        setattr(self._real, name, _unwrapped(value))

    def __call__(self, *arguments: Any) -> Any:
        return self._wrapped(self._real(*map(_unwrapped, arguments)))

    def _check(self, name: str) -> None:
        if not offers(self._owner, name, self._version):
            raise AttributeError(f"TensorRT {self._version} has no {self._owner}.{name}")
        USED.add((self._owner, name))

    def _wrapped(self, value: Any) -> Any:
        name = type(value).__name__.removeprefix("_")
        owner = SIMULATED.get(name, name)
        wraps = owner in NAMES and not isinstance(value, Enum)
        return Exactly(owner, self._version, value) if wraps else value


def _unwrapped(value: Any) -> Any:
    return value._real if isinstance(value, Exactly) else value
