"""What TensorRT-RTX builds, without a GPU: its log tells each layer with the tensors that it reads and hands on."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any
from unittest import mock

from schanger_edge.sessions.tensorrt import builder
from schanger_edge.sessions.tensorrt.flavour import Flavour, error_log

LAYER = re.compile(
    r"^Name: \S+, LayerType: (\w+), Inputs: \[(.*?)\], Constants: \[(.*?)\], Outputs: \[(.*?)\], TacticName: .*? "
    r"Metadata: (.*)$",
    re.MULTILINE,
)
TENSOR = re.compile(r"\{ Name: \S+, Dimensions: \[([\d,]*)\].*?Datatype: (\w+)")
NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
BYTES = {"Float": 4, "Half": 2, "Int8": 1, "UInt8": 1}
CONVOLUTIONS = ("correlation", "runtime_fusion")
"""Kinds of layers that compute one, alone or with what follows it."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What stands in memory between two layers, or a constant."""

    shape: tuple[int, ...]
    kind: str

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * BYTES[self.kind]


@dataclasses.dataclass(frozen=True)
class Layer:
    """One kernel, and the nodes of the graph that it computes."""

    kind: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[str, ...]


def build(flavour: Flavour, recipe: builder.Recipe) -> tuple[bytes, str]:
    """The plan, and all that the builder says; of `layers` only where the recipe is detailed."""
    said: list[str] = []

    def listening(trt: Any) -> Any:
        log, complain = error_log(trt), type(error_log(trt)).log

        class Log(type(log)):  # type: ignore[misc]
            def log(self, severity: Any, message: str) -> None:
                said.append(message)
                complain(self, severity, message)

        return Log()

    with mock.patch.object(builder, "error_log", listening):
        plan, _ = builder.build_plan(flavour, recipe)
    return plan, "\n".join(said)


def layers(said: str) -> list[Layer]:
    """The layers of a build for one size of batch, in the order in which they run."""
    return [
        Layer(kind, _tensors(inputs), _tensors(constants), _tensors(outputs), tuple(NODE.findall(metadata)))
        for kind, inputs, constants, outputs, metadata in LAYER.findall(said)
    ]


def _tensors(text: str) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(tuple(int(side) for side in shape.split(",") if side), kind) for shape, kind in TENSOR.findall(text)
    )
