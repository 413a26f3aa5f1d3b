"""The folded network equals the one it was made from."""

from __future__ import annotations

import copy

import onnx
import pytest
import torch
from torch import nn

from schanger_edge.model.card import Normalization, Statistics
from schanger_export import to_onnx
from schanger_export.folded import fold
from schanger_export.graph import part_of
from schanger_export.network import SChanger, Size

HALF = Statistics((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


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
    fold(folded)
    dates = torch.randn(2, 2, 3, 32, 48, dtype=torch.float64)
    with torch.inference_mode():
        wanted = network.fused_logit(*dates)
        assert wanted.std() > 0.1
        assert (folded.fused_logit(*dates) - wanted).abs().max() < 1e-9
    assert not any(name.endswith(("norm1", "norm2")) for name, _ in folded.named_modules())


def test_the_graph_has_fewer_passes_and_the_same_convolutions() -> None:
    network = lively("small")
    plain, folded = (
        to_onnx._traced(to_onnx.ProbabilityModule(network, Normalization(HALF, HALF), folded=folded), 32)
        for folded in (False, True)
    )

    def count(model: onnx.ModelProto, kind: str) -> int:
        return sum(node.op_type == kind for node in model.graph.node)

    assert count(folded, "Conv") == count(plain, "Conv")
    assert count(folded, "BatchNormalization") == 0
    assert count(plain, "BatchNormalization") == 10  # the exporter folds the others
    assert count(folded, "ReduceMean") == count(plain, "ReduceMean") - 10  # one of each LayerNorm
    assert len(folded.graph.node) < len(plain.graph.node)
    parts = [{part_of(node.name) for node in model.graph.node} for model in (plain, folded)]
    assert parts[0] == parts[1]  # names still tell where a node belongs
