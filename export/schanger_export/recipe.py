"""The published recipe: loss, optimizer groups, learning rate, averaged weights, and the state that a step changes.

See network.py for the source.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMOOTH = 1e-7
WARMUP_START = 1e-3  # of the rate
RATE_END = 1e-6  # of the rate


def loss_function(logits: Tensor, label: Tensor, *, side_losses: bool = True, world: int = 1) -> Tensor:
    """BCE plus Dice of each logit map, equally weighted and summed.

    Args:
        logits: (N, 6, H, W), the fused map first; computed in float32.
        label: (N, 1, H, W) of 0 and 1.
        side_losses: False takes the fused map alone.
        world: number of processes that share the batch. Dice takes its sums over all of them, and the mean of the
            processes' gradients, which is what data-parallel training takes, is the gradient of the whole batch.
    """
    logits = logits.float() if side_losses else logits[:, :1].float()
    label = label.float()
    p = torch.sigmoid(logits)
    sums = torch.cat(((p * label).sum((0, 2, 3)), p.sum((0, 2, 3)), label.sum()[None]))  # (6 + 6 + 1,)
    sums = _over_processes(sums, world)
    maps = logits.shape[1]
    both, predicted, labelled = sums[:maps], sums[maps:-1], sums[-1]
    dice = 1 - (2 * both + SMOOTH) / (predicted + labelled + SMOOTH)
    bce = F.binary_cross_entropy_with_logits(logits, label.expand_as(logits), reduction="none").mean((0, 2, 3))
    return (bce + dice).sum()


def _over_processes(sums: Tensor, world: int) -> Tensor:
    """Sums over all processes. The gradient flows into this process's part, times `world`, for it is averaged later."""
    if world == 1:
        return sums
    total = sums.detach().clone()
    torch.distributed.all_reduce(total)
    return total + (sums - sums.detach()) * world


def optimizer_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on kernels, none on biases and other 1-D tensors."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate(step: int, steps: int, warmup: int, rate: float) -> float:
    """Linear warm-up from a thousandth of the rate, then cosine to a millionth of it, step by step."""
    if step < warmup:
        return rate * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    share = (step - warmup) / max(steps - warmup, 1)
    return rate * (RATE_END + (1 - RATE_END) * 0.5 * (1 + math.cos(math.pi * share)))


def ema_decay(updates: int, decay: float) -> float:
    """Decay of the average after so many updates: small at first, so that short runs forget their start too."""
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move every floating tensor of the state, BatchNorm's buffers too, towards the network's; copy the integers."""
    target = average.state_dict()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            target[name].lerp_(value, 1 - decay)
        else:
            target[name].copy_(value)


@dataclasses.dataclass
class State:
    """What a step changes, as it travels in checkpoints."""

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

    PARTS: ClassVar = ("network", "average", "optimizer", "scaler")
    PLAIN: ClassVar = ("step", "updates", "loss_sum", "loss_count", "f1", "best_f1")

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        parts = {name: getattr(self, name).state_dict() for name in self.PARTS}
        return parts | {name: getattr(self, name) for name in self.PLAIN}

    def restore(self, saved: dict[str, Any]) -> None:
        """Put the state of a checkpoint back."""
        for name in self.PARTS:
            getattr(self, name).load_state_dict(saved[name])
        for name in self.PLAIN:
            setattr(self, name, saved[name])
