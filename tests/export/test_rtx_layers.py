"""TensorRT-RTX builds the converted models without a GPU, and its layer log shows each convolution's precision."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
tensorrt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu13 (Linux and Windows on x86-64)")

from schanger_edge.model.published import DATASETS  # noqa: E402
from schanger_export.fp16 import rescaled, to_fp16  # noqa: E402
from schanger_export.graph import convolutions, float_tensors, read_model  # noqa: E402
from schanger_export.int8 import candidates, quantize  # noqa: E402
from schanger_export.onnx_network import build  # noqa: E402
from schanger_export.to_onnx import export  # noqa: E402
from schanger_export.weights import resolve  # noqa: E402

TILE = 64
CAPABILITIES = [
    pytest.param("SM86"),
    pytest.param("SM89", marks=pytest.mark.slow),
    pytest.param("SM120", marks=pytest.mark.slow),
]
LAYER = re.compile(r"Name: \S+, LayerType: \w+, Inputs: \[(.*?)\], Constants: \[(.*?)\], Outputs: .* Metadata: (.*)")


class Log(tensorrt.ILogger):  # type: ignore[misc,name-defined]
    """Keeps what the builder says."""

    def __init__(self) -> None:
        tensorrt.ILogger.__init__(self)
        self.lines: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        self.lines.append(message)


def convolution_types(model: Any, capability: str) -> dict[str, set[str]]:
    """Types of the first input of each layer that computes a convolution, by its node; from the log of a real build."""
    log = Log()
    builder = tensorrt.Builder(log)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, log)
    assert parser.parse(model.SerializeToString()), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(tensorrt.ComputeCapability, capability), 0)
    profile = builder.create_optimization_profile()
    for name in ("before", "after"):
        profile.set_shape(name, (1, 3, TILE, TILE), (1, 3, TILE, TILE), (4, 3, TILE, TILE))
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
    known = {node.name for node in model.graph.node if node.op_type == "Conv"}
    found: dict[str, set[str]] = {}
    for line in "\n".join(log.lines).splitlines():
        layer = LAYER.search(line)
        if layer is None:
            continue
        inputs, constants, metadata = layer.groups()
        convs = [name for name in re.findall(r"\[ONNX Layer: ([^\]]+)\]", metadata) if name in known]
        types = re.findall(r"Datatype: (\w+)", inputs)
        weights = re.findall(r"Dimensions: \[\d+,\d+,\d+,\d+\]", constants)
        own_kernel = re.search("LayerType: (correlation|runtime_fusion)", line)
        if own_kernel and types and weights and len(convs) == 1:
            found.setdefault(convs[0], set()).add(types[0])
    return found


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Any:
    target = tmp_path_factory.mktemp("model") / "model.onnx"
    export(resolve("schanger-small"), "small", target, tile=TILE, halo=8)
    return read_model(Path(target))[0]


@pytest.fixture(scope="module")
def quantized(parent: Any) -> Callable[[Any], Any]:
    """A graph quantized with one made-up threshold: types and placement don't depend on it."""
    convs = candidates(parent)

    def make(model: Any) -> Any:
        return quantize(model, {conv.activation: 4.0 for conv in convs}, [conv.name for conv in convs])

    return make


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "base"])
def test_the_graph_is_built_as_it_is(weights: Callable[..., Any], size: str) -> None:
    state = {name: value.numpy() for name, value in weights(size).items()}
    graph = build(state, DATASETS["levir-cd"].normalization, TILE, TILE)
    found = convolution_types(graph, "SM86")
    assert {conv.name for conv in convolutions(graph) if ".se." not in conv.name} <= set(found)
    assert {kind for kinds in found.values() for kind in kinds} == {"Float"}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_fp16_has_no_fp32_convolution(capability: str, parent: Any) -> None:
    safe = rescaled(parent, dict.fromkeys(float_tensors(parent), 50.0))
    found = convolution_types(to_fp16(*safe, resize=True).model, capability)
    wanted = {conv.name for conv in convolutions(parent) if ".se." not in conv.name}
    assert wanted - set(found) == set()  # squeeze-excite's tiny ones may be fused into layers of other kinds
    assert {kind for kinds in found.values() for kind in kinds} == {"Half"}


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("fp16", [False, True])
def test_int8_convolutions_are_the_expected_ones(
    fp16: bool, capability: str, parent: Any, quantized: Callable[[Any], Any]
) -> None:
    if fp16:
        model = to_fp16(quantized(onnx.version_converter.convert_version(parent, 19)), {}, resize=True).model
    else:
        model = quantized(parent)
    found = convolution_types(model, capability)
    assert {name for name, kinds in found.items() if kinds == {"Int8"}} == {conv.name for conv in candidates(parent)}
    others = {kind for kinds in found.values() for kind in kinds} - {"Int8"}
    assert others == {"Half" if fp16 else "Float"}
