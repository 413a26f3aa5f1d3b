"""The folded network equals the one it was made from."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import load_benchmark
from torch import nn

from schanger_export.network import SChanger, Size


def lively(size: Size) -> SChanger:
    """A network whose scales, shifts and statistics are no ones and zeros."""
    torch.manual_seed(0)
    network = SChanger(size).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            else:
                parameter.mul_(0.5)
    return network


@pytest.mark.parametrize("size", ["small", "base"])
def test_equals_the_network(size: Size) -> None:
    network = lively(size).double()
    folded = copy.deepcopy(network)
    load_benchmark("cpu_folded").fold(folded)
    dates = torch.randn(2, 2, 3, 32, 48, dtype=torch.float64)
    with torch.inference_mode():
        wanted = network.fused_logit(*dates)
        assert wanted.std() > 0.1
        assert (folded.fused_logit(*dates) - wanted).abs().max() < 1e-9
    assert not any(name.endswith(("norm1", "norm2")) for name, _ in folded.named_modules())
