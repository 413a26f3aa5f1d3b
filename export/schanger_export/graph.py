"""The graph of a model file: its named parts, its convolutions and their multiply-adds.

Needs onnx, no torch.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

import onnx

from schanger_edge.errors import ModelError
from schanger_edge.model.card import METADATA_KEY, PUBLISHED_TILE, ModelCard

STEM, HEADS, OTHER = "stem", "heads", "other"
_PART = re.compile(r"/?(conv_1|(?:encoder|Bi|decoder|head)\d)\b")
"""Names of nodes begin like `encoder1.0.`; in models of earlier versions like `/encoder1/encoder1.0/`."""


@dataclasses.dataclass(frozen=True)
class Convolution:
    """One convolution.

    Attributes:
        name: its node's.
        part: see `part_of`.
        activation: its input tensor.
        weight: its weight tensor.
        depthwise: each channel by itself.
        macs: multiply-adds on one pair of tiles.
        input_shape: (N, C, H, W) of its input, for one pair of tiles.
        output_shape: the same of its output.
        weight_shape: (outputs, inputs of a group, rows, columns).
    """

    name: str
    part: str
    activation: str
    weight: str
    depthwise: bool
    macs: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]


def read_model(path: Path) -> tuple[onnx.ModelProto, ModelCard, str]:
    """A model file with its card and hash, fit to be converted.

    Raises:
        ModelError: it cannot be read, has no card, or is no FP32 model.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"model {path} cannot be read ({error.strerror}): give the path of an .onnx file.") from error
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise kinds of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelError(
            f"{path} is not a complete ONNX model that onnx {onnx.__version__} reads ({reason}): export it again, or "
            "update onnx."
        ) from error
    text = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{path} has no model card: make it with `schanger-edge export`.")
    card = ModelCard.from_json(text)
    quantized = any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)
    if quantized or card.precision != "fp32":
        raise ModelError(f"{path} is already {card.precision}: convert the FP32 model it was made from.")
    _drop_identities(model.graph)
    return model, card, hashlib.sha256(content).hexdigest()


def check_graph(path: Path, made: str) -> None:
    """Raise ModelError unless a file that was just `made` (such as `exported`) is valid ONNX."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the {made} graph is not valid ONNX ({error}): use another version of onnx.") from error


def _drop_identities(graph: onnx.GraphProto) -> None:
    """Take out Identity nodes inside the graph: the FP16 converter types what passes through them wrongly."""
    outputs = {output.name for output in graph.output}
    renamed: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "Identity" and node.output[0] not in outputs]:
        renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def write_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Put a card into a model, in place of the one it has; other entries stay."""
    others = {entry.key: entry.value for entry in model.metadata_props if entry.key != METADATA_KEY}
    onnx.helper.set_model_props(model, {**others, METADATA_KEY: card.to_json()})


def part_of(node_name: str) -> str:
    """The part of the network a node belongs to: stem, encoder1 to 5, attention1 to 5, decoder1 to 5, heads, other."""
    found = _PART.match(node_name)
    if found is None:
        return OTHER
    part = found[1].replace("Bi", "attention")
    return STEM if part == "conv_1" else HEADS if part.startswith("head") else part


def with_shapes(model: onnx.ModelProto, batch_size: int | None = None) -> onnx.ModelProto:
    """A copy with the shape and type of every tensor; for a batch of this size where one is given.

    Then tiles have 256 pixels a side unless the model says otherwise.
    """
    model = copy.deepcopy(model)
    if batch_size is not None:
        for tensor in model.graph.input:
            batch, _, *size = tensor.type.tensor_type.shape.dim
            batch.dim_value = batch_size
            for side in size:
                side.dim_value = side.dim_value or PUBLISHED_TILE
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def convolutions(model: onnx.ModelProto) -> list[Convolution]:
    """All convolutions, in the order of the graph; their work and shapes are those of one pair of tiles.

    Weights may be floating-point numbers or stand behind Q/DQ.
    """
    shaped = with_shapes(model, batch_size=1).graph
    infos = (*shaped.input, *shaped.value_info, *shaped.output)
    shapes = {info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim) for info in infos}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            inputs, weights, outputs = (shapes[name] for name in (*node.input[:2], node.output[0]))
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            found.append(
                Convolution(
                    name=node.name,
                    part=part_of(node.name),
                    activation=node.input[0],
                    weight=node.input[1],
                    depthwise=groups > 1 and weights[1] == 1,
                    macs=math.prod(outputs) * math.prod(weights[1:]),
                    input_shape=inputs,
                    output_shape=outputs,
                    weight_shape=weights,
                )
            )
    return found


def float_tensors(model: onnx.ModelProto) -> Iterator[str]:
    """Names of the FP32 tensors that nodes give out."""
    shaped = with_shapes(model)
    kinds = {info.name: info.type.tensor_type.elem_type for info in (*shaped.graph.value_info, *shaped.graph.output)}
    for node in model.graph.node:
        yield from (name for name in node.output if kinds.get(name) == onnx.TensorProto.FLOAT)
