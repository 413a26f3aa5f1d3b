"""Give BatchNorm its statistics back in weights that were read from a model file, where it is the identity.

`python benchmarks/revive_batchnorm.py WEIGHTS SOURCE ... -o OUT`: every BatchNorm gets the mean and variance of its
input over training crops, and the scale and shift that undo them, so that the network computes what it did and can be
trained with live BatchNorm. The largest difference of a logit is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from schanger_edge.model.card import normalization_from
from torch import Tensor, nn

from schanger_export.checkpoints import load_network, read_card, save_checkpoint
from schanger_export.crops import Crops, Source
from schanger_export.train import Preparation
from schanger_export.weights import find

BATCHES, BATCH, TILE = 24, 8, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a checkpoint, or the name of a bundled one")
    parser.add_argument("sources", nargs="+", help="as for `schanger-edge train`")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    path = find(options.weights).path
    network, card = load_network(path).eval(), read_card(path)
    crops = Crops([Source.parse(text) for text in options.sources], dates=2, tile=TILE, seed=0, jitter=0.5, cast=0.5)
    prepare = Preparation(normalization_from(card["normalization"]), 2, torch.device("cpu"))
    batches = []
    for first in range(0, BATCHES * BATCH, BATCH):
        items = [crops[number] for number in range(first, first + BATCH)]
        batches.append(prepare(*(torch.stack(part) for part in zip(*items, strict=True)))[0])
    with torch.inference_mode():
        before = network(*batches[0])
        revive(network, batches)
        difference = float((network(*batches[0]) - before).abs().max())
    save_checkpoint(options.output, network.state_dict(), card=card)
    print(f"{options.output}: largest difference of a logit {difference:.1e}")


def revive(network: nn.Module, batches: list[list[Tensor]]) -> None:
    """Set every BatchNorm to the statistics of its input, without changing its output."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        count = torch.full((x.shape[1],), x[:, 0].numel())
        sums[norm] += torch.stack((x.sum((0, 2, 3)), x.square().sum((0, 2, 3)), count))  # type: ignore[index]

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    for images in batches:
        network(*images)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        total, squares, count = sums[norm]
        mean, var = total / count, squares / count - (total / count) ** 2
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.weight.copy_(scale * (norm.running_var.double() + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)


if __name__ == "__main__":
    main()
