"""From a checkpoint to a model file that keeps the contract of `schanger_edge.model.card`.

Normalization, network and sigmoid become one ONNX graph. The file gets its name only after the checker has passed it
and its probabilities equal the network's.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schanger_edge._version import __version__
from schanger_edge.errors import ModelError
from schanger_edge.files import replacing
from schanger_edge.model.card import (
    INPUT_NAMES,
    METADATA_KEY,
    OUTPUT_NAME,
    ModelCard,
    Normalization,
    Statistics,
)
from schanger_export.cards import PRODUCER, compose_card
from schanger_export.checkpoints import load_network, read_card, weights_sha256
from schanger_export.folded import fold
from schanger_export.model_options import ExportOptions
from schanger_export.network import SChanger, Size
from schanger_export.parity import image_like_tiles, largest_difference

OPSET = 17
IR_VERSION = 8  # the newest that ONNX Runtime 1.16 and TensorRT 8.6 are sure to read
BATCH = "batch"
TOLERANCE = 1e-4
PARITY_TILES = 4


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export made.

    Attributes:
        path: the model file.
        sha256: its hash.
        bytes: its size.
        largest_difference: largest absolute difference in probability to the network, 0-1.
        opset: ONNX operator set.
        nodes: nodes of the graph.
        tiles: pairs of tiles the difference was measured on.
    """

    path: Path
    sha256: str
    bytes: int
    largest_difference: float
    opset: int
    nodes: int
    tiles: int


def export(
    checkpoint: Path,
    size: Size | None,
    target: Path,
    options: ExportOptions | None = None,
    *,
    scores: dict[str, Any] | None = None,
    known: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> ExportReport:
    """Export a checkpoint.

    What is not given follows from the checkpoint's own card (see `checkpoints.read_card`), then from `known`.

    Args:
        checkpoint: a Siamese checkpoint, see `checkpoints`.
        size: `small` or `base`; None takes what the checkpoint holds.
        target: the .onnx file to write, replaced where it exists.
        options: what the card says, see `ExportOptions`.
        scores: measured accuracy by dataset.
        known: a card for weights that carry none, such as `weights.Weights.card`.
        keywords: any of the options by name.

    Raises:
        CheckpointError: the checkpoint does not fit.
        DatasetError: there is no such dataset.
        ModelError: an option is wrong, the target cannot be written, or the model differs from the network.
    """
    network = load_network(checkpoint, size)
    values = dataclasses.asdict(dataclasses.replace(options or ExportOptions(), **keywords))
    dataset, normalization = values.pop("dataset"), values.pop("normalization")
    facts = {**values, "scores": scores, "size": network.size, "weights_sha256": weights_sha256(checkpoint)}
    card = compose_card({**(known or {}), **read_card(checkpoint)}, facts, dataset, normalization)
    return export_model(network, target, card)


def export_model(network: SChanger, target: Path, card: ModelCard) -> ExportReport:
    """Write a network as a model file with this card.

    Args:
        network: in any mode, on any device; it is left as it is.
        target: the .onnx file to write, replaced where it exists.
        card: gives tile and normalization.

    Raises:
        ModelError: the target cannot be written, or the model differs from the network by more than 1e-4.
    """
    module = ProbabilityModule(network, card.normalization)
    tiles = image_like_tiles(PARITY_TILES, card.tile)
    with replacing(target, ModelError) as temporary:
        model = _traced(ProbabilityModule(network, card.normalization, folded=True), card.tile)
        _finish(model, card)
        onnx.save_model(model, str(temporary))
        _check_graph(temporary)
        difference = largest_difference(module.run, temporary, tiles)
        if not difference <= TOLERANCE:  # also true for NaN
            raise ModelError(
                f"the exported model differs from the network by up to {difference:.2g} in probability, more than "
                f"{TOLERANCE:g}: nothing was written; check the weights, which may be untrained or diverged."
            )
        content = temporary.read_bytes()
    return ExportReport(
        path=target,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        largest_difference=difference,
        opset=OPSET,
        nodes=len(model.graph.node),
        tiles=PARITY_TILES,
    )


class ProbabilityModule(nn.Module):
    """What a model file computes: uint8 tiles -> normalized -> network -> probability.

    Args:
        network: copied, so that the caller's stays in its mode and on its device.
        normalization: colour statistics of both dates.
        folded: see `folded`.
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


def _traced(module: ProbabilityModule, tile: int) -> onnx.ModelProto:
    example = torch.zeros(2, 3, tile, tile, dtype=torch.uint8)
    buffer = io.BytesIO()
    # Without gradients squeeze-excite's mean is one node; see network.py for its other form.
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


def _finish(model: onnx.ModelProto, card: ModelCard) -> None:
    """State what the tracer leaves open: versions, producer, card, and the output's shape; constants become weights."""
    graph = model.graph
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = PRODUCER, __version__
    graph.name = card.name
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


def _check_graph(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the exported graph is not valid ONNX ({error}): use another version of torch.") from error
