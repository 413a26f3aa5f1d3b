"""From a checkpoint to a model file that keeps the contract of `schanger_edge.model.card`.

Normalization, network and sigmoid become one ONNX graph. The file gets its name only after the checker has passed it
and its probabilities equal the network's. Needs numpy and onnx, no torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from schanger_edge._version import __version__
from schanger_edge.errors import ModelError
from schanger_edge.files import replacing
from schanger_edge.model.card import METADATA_KEY, PUBLISHED_TILE, ModelCard
from schanger_export.architecture import Size
from schanger_export.cards import PRODUCER, compose_card
from schanger_export.checkpoints import load_weights, read_card, weights_sha256
from schanger_export.graph import check_graph
from schanger_export.numpy_network import Reference
from schanger_export.onnx_network import OPSET, build
from schanger_export.options import ExportOptions
from schanger_export.parity import image_like_tiles, largest_difference

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
    tiles: int = PARITY_TILES,
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
        tiles: pairs of tiles to compare with the network.
        keywords: any of the options by name.

    Raises:
        CheckpointError: the checkpoint does not fit.
        DatasetError: there is no such dataset.
        ModelError: an option is wrong, the target cannot be written, or the model differs from the network.
    """
    held, state = load_weights(checkpoint, size)
    values = dataclasses.asdict(dataclasses.replace(options or ExportOptions(), **keywords))
    dataset, normalization = values.pop("dataset"), values.pop("normalization")
    facts = {**values, "scores": scores, "size": held, "weights_sha256": weights_sha256(checkpoint)}
    card = compose_card({**(known or {}), **read_card(checkpoint)}, facts, dataset, normalization)
    return export_model(state, target, card, tiles)


def export_model(
    state: Mapping[str, NDArray[Any]], target: Path, card: ModelCard, tiles: int = PARITY_TILES
) -> ExportReport:
    """Write a network's weights as a model file with this card, which gives tile and normalization.

    Args:
        state: a whole state dict of the Siamese network.
        target: the .onnx file to write, replaced where it exists.
        card: goes into the file.
        tiles: pairs of tiles to compare with the network.

    Raises:
        ModelError: the target cannot be written, or the model differs from the network by more than 1e-4.
    """
    reference = Reference(state, card.normalization)
    with replacing(target, ModelError) as temporary:
        model = _model(state, card)
        onnx.save_model(model, str(temporary))
        check_graph(temporary, "exported")
        difference = largest_difference(
            reference.run, temporary, image_like_tiles(tiles, min(card.tile, PUBLISHED_TILE))
        )
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
        tiles=tiles,
    )


def _model(state: Mapping[str, NDArray[Any]], card: ModelCard) -> onnx.ModelProto:
    model = build(state, card.normalization, card.name)
    model.producer_name, model.producer_version = PRODUCER, __version__
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    return model
