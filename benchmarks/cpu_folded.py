"""The network as it is exported: constant scales and shifts folded into the convolutions beside them.

Exact but for rounding, and fewer passes over the activations, which is what inference spends its time on. BatchNorm
after a convolution is left to the exporter, which folds it too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schanger_export.network import SCAM, ChannelLayerNorm, SChanger, SpatialAttention, TemporalFusion


class FoldedAttention(nn.Module):
    """A SpatialAttention that leaves its shortcut to the SCAM around it."""

    def __init__(self, attention: SpatialAttention) -> None:
        super().__init__()
        self.proj_1, self.proj_2 = attention.proj_1, attention.proj_2
        self.spatial_gating_unit = attention.spatial_gating_unit

    def forward(self, x: Tensor) -> Tensor:
        return self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))  # type: ignore[no-any-return]


class FoldedSCAM(nn.Module):
    """A SCAM without BatchNorm and layer scales of its own.

    Args:
        scam: in evaluation mode; its convolutions are taken over and changed.
    """

    kept: Tensor

    def __init__(self, scam: SCAM) -> None:
        super().__init__()
        self.attn, self.mlp = FoldedAttention(scam.attn), scam.mlp
        scale, shift = _fold_before(scam.norm1, self.attn.proj_1)
        _fold_after(self.attn.proj_2, scam.layer_scale_1)
        # The shortcut is the normalized input y = scale x + shift: x + layer_scale (... + y) = kept x + ...
        _bias(self.attn.proj_2).add_(scam.layer_scale_1 * shift)
        self.register_buffer("kept", (1 + scam.layer_scale_1 * scale)[:, None, None])
        _fold_before(scam.norm2, self.mlp.fc1)
        _fold_after(self.mlp.fc2, scam.layer_scale_2)

    def forward(self, x: Tensor) -> Tensor:  # (2N, C, H, W) -> the same
        x = self.kept * x + self.attn(x)
        return x + self.mlp(x)  # type: ignore[no-any-return]


class CenteredLayerNorm(nn.Module):
    """A LayerNorm over channels whose input has mean zero at each pixel already."""

    def __init__(self, norm: ChannelLayerNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        x = x / torch.sqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


@torch.no_grad()
def fold(network: SChanger) -> None:
    """Fold a network in place; from then on it is for inference only."""
    for module in network.modules():
        if isinstance(module, TemporalFusion):
            conv: nn.Conv2d = module.diff[0]  # type: ignore[assignment]
            conv.weight.sub_(conv.weight.mean(0, keepdim=True))
            _bias(conv).sub_(_bias(conv).mean())
            module.diff[1] = CenteredLayerNorm(module.diff[1])  # type: ignore[arg-type]
    for name, module in list(network.named_modules()):
        if isinstance(module, SCAM):
            parent, _, last = name.rpartition(".")
            network.get_submodule(parent).add_module(last, FoldedSCAM(module))


def _fold_before(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Fold a BatchNorm, x -> scale x + shift, into the 1x1 convolution after it; returns scale and shift."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    _bias(conv).add_(conv.weight[:, :, 0, 0] @ shift)
    conv.weight.mul_(scale[:, None, None])
    return scale, shift


def _fold_after(conv: nn.Conv2d, scale: Tensor) -> None:
    """Scale a convolution's output, channel by channel."""
    conv.weight.mul_(scale[:, None, None, None])
    _bias(conv).mul_(scale)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
