"""Forms of the network that `cpu_speed.py` measures and the product does not export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from cpu_traced import ProbabilityModule, finish, traced
from torch import Tensor, nn
from torch.nn import functional as F

from schanger_edge.model.card import METADATA_KEY, ModelCard
from schanger_export.architecture import Size
from schanger_export.network import LFEM, SCAM, STAGES, WIDTHS, ConvBNAct, SChanger, TemporalFusion, _upsample
from schanger_export.onnx_network import build

SIZES = ("small", "base")


class DatesApart(nn.Module):
    """The network with each date going its own way, as one would write it by hand; they meet in temporal fusion."""

    def __init__(self, network: SChanger) -> None:
        super().__init__()
        self.network = network

    def fused_logit(self, before: Tensor, after: Tensor) -> Tensor:
        """Normalized RGB, twice (N, 3, H, W) -> (N, 1, H, W)."""
        net = self.network
        dates = [net.conv_1(x) for x in (before, after)]
        skips, sides = [], []
        for k in range(1, STAGES + 1):
            dates = [net._stage("encoder", k)(F.max_pool2d(x, 2) if k > 1 else x) for x in dates]
            skips.append(dates)
        dates = _attended(net.get_submodule("Bi1.0"), skips.pop())
        for k in range(1, STAGES + 1):
            if k > 1:
                skip = _attended(net.get_submodule(f"Bi{k}.0"), skips.pop())
                dates = [_upsample(x, 2) + s for x, s in zip(dates, skip, strict=True)]
            dates = [net._stage("decoder", k)(x) for x in dates]
            fusion, logit = net._stage("head", k)
            sides.append(_upsample(logit(_fused(fusion, dates)), 2 ** (STAGES - k)))
        return net.head6(torch.cat(sides, 1))


def _fused(fusion: TemporalFusion, dates: list[Tensor]) -> Tensor:
    return fusion.diff(torch.cat(dates, 1))


def _attended(scam: Any, dates: list[Tensor]) -> list[Tensor]:
    """SCAM, or its folded form, on both dates."""
    folded = not isinstance(scam, SCAM)
    unit = scam.attn.spatial_gating_unit
    inputs = dates if folded else [scam.norm1(x) for x in dates]
    active = [F.gelu(scam.attn.proj_1(y)) for y in inputs]
    gate = unit.conv1(unit.conv_spatial(unit.conv0(_fused(unit.diff, active))))
    results = []
    for x, y, a in zip(dates, inputs, active, strict=True):
        z = scam.attn.proj_2(a * gate)
        if folded:
            z = scam.kept * x + z
            results.append(z + scam.mlp(z))
        else:
            z = x + scam.layer_scale_1[:, None, None] * (z + y)
            results.append(z + scam.layer_scale_2[:, None, None] * scam.mlp(scam.norm2(z)))
    return results


def padded_network(size: Size, multiple: int) -> SChanger:
    """A network of the speed that channels padded to a multiple would have: those shapes, random weights.

    The wide tensors inside LFEM keep their width, which is a multiple of 16 as it is.
    """
    WIDTHS["padded"] = tuple(-(-c // multiple) * multiple for c in WIDTHS[size])
    network = SChanger("padded")  # type: ignore[arg-type]
    del WIDTHS["padded"]
    own = dict(SChanger(size).named_modules())
    for name, module in list(network.named_modules()):
        if isinstance(module, LFEM):
            wide = own[name].expand_conv.conv.out_channels  # type: ignore[union-attr]
            cin, cout = module.expand_conv.conv.in_channels, module.project_conv.conv.out_channels
            module.expand_conv = ConvBNAct(cin, wide, 1)
            module.dwconv, module.se = own[f"{name}.dwconv"], own[f"{name}.se"]  # type: ignore[assignment]
            module.project_conv = ConvBNAct(wide, cout, 1, act=False)
    return network.eval()


def write(network: SChanger, path: Path, card: ModelCard, *, folded: bool, apart: bool) -> None:
    """A model file of one form; the product's own export is `folded`, the dates stacked."""
    if folded and not apart and network.size in SIZES:
        state = {name: value.numpy() for name, value in network.state_dict().items()}
        model = build(state, card.normalization)
        onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
        onnx.save_model(model, str(path))
        return
    module = ProbabilityModule(network, card.normalization, folded=folded)
    if apart:
        module.network = DatesApart(module.network)  # type: ignore[assignment]
    model = traced(module.eval(), card.tile)
    finish(model, card)
    onnx.save_model(model, str(path))
