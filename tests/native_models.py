"""Model files of the network with deterministic weights, for the native engine's tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import ROOT, load_script
from numpy.typing import NDArray

State = dict[str, NDArray[Any]]


def state_of(size: str) -> State:
    """Deterministic weights of a size."""
    made = load_script(ROOT / "tests/data/deterministic_weights.py")
    state: State = made.make(made.table(size))
    return state


def write_model(path: Path, size: str, tile: int, edit: Callable[[State], None] = lambda state: None) -> Path:
    """Write a model file; `edit` may change the weights first."""
    import onnx

    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.card import METADATA_KEY
    from schanger_edge.model.file import read_model
    from schanger_export.onnx_network import build

    state = state_of(size)
    edit(state)
    card = dataclasses.replace(read_model(model_path("schanger-small")).card, size=size, tile=tile, halo=tile // 8)
    model = build(state, card.normalization)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save_model(model, str(path))
    return path
