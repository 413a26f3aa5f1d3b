"""`schanger-edge info`: what a model file or a plan says of itself; no engine is started for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from schanger_edge.model.file import read_model
from schanger_edge.model.plan import SUFFIX, read_plan_card


def info(model: Path) -> dict[str, Any]:
    """The card, with file and hash; of a plan its sidecar too, under `plan`.

    Args:
        model: an .onnx file, or a TensorRT plan with its sidecar; no GPU is needed.

    Raises:
        ModelError: the file is missing, damaged, or breaks the contract.
        SessionError: a plan is missing, or its sidecar is missing or damaged.
    """
    if model.suffix == SUFFIX:
        sidecar = dataclasses.asdict(read_plan_card(model))
        return {"file": str(model), "sha256": sidecar["plan_sha256"], **sidecar.pop("card"), "plan": sidecar}
    file = read_model(model)
    return {"file": str(model), "sha256": file.sha256, **dataclasses.asdict(file.card)}
