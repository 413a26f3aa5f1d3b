"""What a training step changes, as it travels in checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import nn


@dataclasses.dataclass
class State:
    """What a step changes."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    updates: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    f1: float | None = None
    best_f1: float | None = None

    PLAIN: ClassVar = ("step", "updates", "loss_sum", "loss_count", "f1", "best_f1")

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer", "scaler")}
        plain = {name: getattr(self, name) for name in self.PLAIN}
        return {**parts, **plain}

    def restore(self, saved: dict[str, Any]) -> None:
        """Put the state of a checkpoint back."""
        for name in ("network", "average", "optimizer", "scaler"):
            getattr(self, name).load_state_dict(saved[name])
        for name in self.PLAIN:
            setattr(self, name, saved[name])
