"""Give a network's BatchNorm layers their work back, where they are the identity because they were folded once.

`python benchmarks/batchnorm.py CHECKPOINT OUT --source ROOT... [--count 64]`. Means and variances of what comes into
each layer are taken over training tiles; scale and shift are set so that the network computes what it did. Trained on
without `--freeze-batchnorm`, its layers then see normalized values again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schanger_edge.model_card import normalization_from
from schanger_export.checkpoints import load_network, read_card, save_checkpoint
from schanger_export.crops import Crops, Source
from schanger_export.train import Preparation

TOLERANCE = 1e-3  # of logits, which lie in about -10 to 10


class Moments:
    """Mean and variance of each channel over all calls."""

    def __init__(self) -> None:
        self.count, self.sums, self.squares = 0, 0.0, 0.0  # type: ignore[assignment]

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        x = inputs[0].double()
        self.count += x.shape[0] * x.shape[2] * x.shape[3]
        self.sums, self.squares = self.sums + x.sum((0, 2, 3)), self.squares + x.pow(2).sum((0, 2, 3))

    def result(self) -> tuple[Tensor, Tensor]:
        mean = torch.as_tensor(self.sums) / self.count
        return mean, torch.as_tensor(self.squares) / self.count - mean**2


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--source", action="append", required=True, help="as `schanger-edge train` takes them")
    parser.add_argument("--count", type=int, default=64, help="tiles")
    options = parser.parse_args()
    network, card = load_network(options.checkpoint, None).eval(), read_card(options.checkpoint)
    prepare = Preparation(normalization_from(card["normalization"]), 2, torch.device("cpu"))
    crops = Crops([Source.parse(text) for text in options.source], dates=2, tile=256, seed=1, jitter=0.5)
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    moments = [Moments() for _ in layers]
    hooks = [layer.register_forward_hook(moment) for layer, moment in zip(layers, moments, strict=True)]
    before: Tensor | None = None
    for number in range(options.count):
        images, _ = prepare(*(tensor[None] for tensor in crops[number]))
        before = network(*images)
    for hook in hooks:
        hook.remove()
    for layer, moment in zip(layers, moments, strict=True):
        mean, variance = (values.float() for values in moment.result())
        scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)  # type: ignore[operator]
        shift = layer.bias - layer.running_mean * scale  # type: ignore[operator]
        layer.running_mean, layer.running_var = mean, variance
        layer.weight.copy_(scale * torch.sqrt(variance + layer.eps))
        layer.bias.copy_(shift + mean * scale)
    difference = float((network(*images) - before).abs().max())
    assert difference < TOLERANCE, difference
    save_checkpoint(options.out, network.state_dict(), card=card)
    print(f"{options.out}: {len(layers)} layers over {options.count} tiles, logits differ by {difference:.1e} at most")


if __name__ == "__main__":
    main()
