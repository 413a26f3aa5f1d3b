"""The network traced by torch: the forms that `cpu_speed.py` compares with the graph that the product writes."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import torch
from cpu_folded import fold
from numpy.typing import NDArray
from torch import Tensor, nn

from schanger_edge.model.card import INPUT_NAMES, METADATA_KEY, OUTPUT_NAME, ModelCard, Normalization, Statistics
from schanger_export.network import SChanger
from schanger_export.onnx_network import BATCH, IR_VERSION, OPSET


class ProbabilityModule(nn.Module):
    """What a model file computes, in torch: uint8 tiles -> normalized -> network -> probability.

    Args:
        network: copied, so that the caller's stays in its mode and on its device.
        normalization: colour statistics of both dates.
        folded: see `cpu_folded`.
    """

    before_mean: Tensor
    before_scale: Tensor
    after_mean: Tensor
    after_scale: Tensor

    def __init__(self, network: SChanger, normalization: Normalization, folded: bool = False) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().float()
        if folded:
            fold(self.network.eval())
        for date, statistics in zip(INPUT_NAMES, (normalization.before, normalization.after), strict=True):
            mean, scale = _mean_and_scale(statistics)
            self.register_buffer(f"{date}_mean", mean)
            self.register_buffer(f"{date}_scale", scale)
        self.eval()  # the whole of it: torch.onnx.export puts every part into the outermost module's mode afterwards

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Twice (N, 3, T, T) uint8 -> (N, 1, T, T) probability."""
        first = (before.float() - self.before_mean) * self.before_scale
        second = (after.float() - self.after_mean) * self.after_scale
        return torch.sigmoid(self.network.fused_logit(first, second))

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same on arrays."""
        with torch.inference_mode():
            probability: NDArray[np.float32] = self(torch.from_numpy(before), torch.from_numpy(after)).numpy()
        return probability


def _mean_and_scale(statistics: Statistics) -> tuple[Tensor, Tensor]:
    # (x / 255 - mean) / std as (x - 255 mean) * (1 / (255 std)): one pass less, and subtracting first keeps FP16 exact.
    mean = np.array(statistics.mean) * 255
    scale = 1 / (np.array(statistics.std) * 255)
    first, second = (torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1) for values in (mean, scale))
    return first, second


def traced(module: ProbabilityModule, tile: int) -> onnx.ModelProto:
    """The graph as torch's tracer makes it, without a card."""
    example = torch.zeros(2, 3, tile, tile, dtype=torch.uint8)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), _batch_halves_as_split(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # the newer exporter needs one more package, onnxscript
        torch.onnx.export(
            module,
            (example, example.clone()),
            buffer,  # type: ignore[arg-type]  # the stubs know only the newer exporter, which takes no buffer
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUT_NAMES),
            output_names=[OUTPUT_NAME],
            dynamic_axes={name: {0: BATCH} for name in (*INPUT_NAMES, OUTPUT_NAME)},
        )
    return onnx.load_model_from_string(buffer.getvalue())


@contextlib.contextmanager
def _batch_halves_as_split() -> Iterator[None]:
    """Export `chunk` as one Split into equal parts, right for every N.

    By default it becomes a chain of Shape, Gather and Slice nodes, for want of a known batch.
    """

    def split(graph: Any, x: Any, chunks: int, dim: int) -> Any:
        return graph.op("Split", x, axis_i=dim, outputs=chunks)

    registry: Any = torch.onnx  # the stubs leave these two functions out
    registry.register_custom_op_symbolic("prim::ConstantChunk", split, OPSET)
    try:
        yield
    finally:
        registry.unregister_custom_op_symbolic("prim::ConstantChunk", OPSET)


def finish(model: onnx.ModelProto, card: ModelCard) -> None:
    """State what the tracer leaves open: version, card, and the output's shape; constants become weights."""
    graph = model.graph
    model.ir_version = IR_VERSION
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    shape = (BATCH, 1, card.tile, card.tile)
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(OUTPUT_NAME, onnx.TensorProto.FLOAT, shape))
    _merge_constants(graph)


def _merge_constants(graph: onnx.GraphProto) -> None:
    """Constant nodes become initializers, equal ones one."""
    names: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensor = node.attribute[0].t
        tensor.name = ""
        key = tensor.SerializeToString(deterministic=True)
        if key not in names:
            names[key] = tensor.name = node.output[0]
            graph.initializer.append(tensor)
        renamed[node.output[0]] = names[key]
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
