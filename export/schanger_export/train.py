"""A plain training loop: one network, one loss, one optimizer, a checkpoint that resumes.

`python -m schanger_export.train single|change ...` trains the single-date network on images and building masks,
then the Siamese one on pairs. Loss and weight decay are the published ones (see network.py for the source).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schanger_edge.errors import CheckpointError, SchangerError
from schanger_edge.scores import Counts
from schanger_export.checkpoints import fusion_names, read_state_dict, save_checkpoint
from schanger_export.data import Crops, Source, read_image
from schanger_export.network import DropPath, SChanger, SingleDateNetwork, freeze_batchnorm


def loss_function(logits: Tensor, label: Tensor) -> Tensor:
    """BCE + Dice of each of the six maps, summed: logits (N, 6, H, W), label (N, 1, H, W) of 0 and 1."""
    total = logits.new_zeros(())
    for k in range(logits.shape[1]):
        logit = logits[:, k : k + 1]
        p = torch.sigmoid(logit)
        dice = 1 - (2 * (p * label).sum() + 1e-7) / (p.sum() + label.sum() + 1e-7)
        total = total + F.binary_cross_entropy_with_logits(logit, label) + dice
    return total


def optimizer_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on kernels, none on biases and other 1-D tensors."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate(step: int, steps: int, warmup: int, rate: float) -> float:
    """Linear warm-up, then cosine to a thousandth."""
    if step < warmup:
        return rate * (step + 1) / warmup
    return rate * (1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))))


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """Exponential moving average of every floating tensor; integers are copied."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


def forward(network: nn.Module, images: Tensor, swap: Tensor | None = None) -> Tensor:
    """images (N, dates, 3, T, T) normalized; `swap` (N,) bool exchanges the dates of a pair."""
    if images.shape[1] == 1:
        return network(images[:, 0])  # type: ignore[no-any-return]
    if swap is not None:
        images = torch.where(swap[:, None, None, None, None], images.flip(1), images)
    before, after = (date.contiguous(memory_format=torch.channels_last) for date in images.unbind(1))
    return network(before, after)  # type: ignore[no-any-return]


@torch.no_grad()
def validate(network: nn.Module, source: Source, mean: Tensor, std: Tensor, tile: int = 256) -> Counts:
    """The evaluation protocol: whole images in tiles of 256 without overlap, threshold 0.5."""
    network.eval()
    counts = Counts()
    for paths in source.samples():
        *dates, label = (read_image(path) for path in paths)
        for top in range(0, label.shape[0] - tile + 1, tile):
            for left in range(0, label.shape[1] - tile + 1, tile):
                cut = np.s_[top : top + tile, left : left + tile]
                images = torch.from_numpy(np.stack([d[cut].transpose(2, 0, 1) for d in dates])).float()[None] / 255
                change = forward(network, (images - mean) / std)[0, 0] > 0
                counts += Counts.of(change.numpy(), label[cut] != 0)
    return counts


def train(options: argparse.Namespace) -> None:
    """Run or resume; writes `last.pth` and `history.jsonl` in the output folder."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    network = build_network(options)
    optimizer = torch.optim.AdamW(optimizer_groups(network, 2e-4), lr=options.rate)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    crops = Crops([parse_source(text) for text in options.source], options.tile, rng)
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (options.mean, options.std))
    options.output.mkdir(parents=True, exist_ok=True)
    last = options.output / "last.pth"
    start = resume(last, network, optimizer, average, rng) if last.exists() else 0

    began, seen = time.monotonic(), 0.0
    for step in range(start, min(options.steps, options.stop or options.steps)):
        network.train()
        if options.freeze:
            freeze_batchnorm(network)
        rate = learning_rate(step, options.steps, options.warmup, options.rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, labels = (torch.from_numpy(array) for array in crops.batch(options.batch))
        swap = torch.from_numpy(rng.random(options.batch) < 0.5)
        loss = loss_function(forward(network, (images - mean) / std, swap), labels)
        if not torch.isfinite(loss):
            raise SchangerError(
                f"step {step}: the loss is not finite at rate {rate:.2e}; last good checkpoint: {last}."
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        update_average(average, network, min(options.ema, (1 + step) / (10 + step)))
        seen = loss.item() if not seen else 0.98 * seen + 0.02 * loss.item()
        if (step + 1) % 20 == 0:
            per_step = (time.monotonic() - began) / (step + 1 - start)
            print(f"step {step + 1} loss {seen:.3f} rate {rate:.1e} {per_step:.2f} s/step", flush=True)
        if (step + 1) % options.interval == 0 or step + 1 == options.steps:
            state = {"step": step + 1, "rng": json.dumps(rng.bit_generator.state), "torch_rng": torch.get_rng_state()}
            state |= {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(last, average, **state)
            record: dict[str, Any] = {"step": step + 1, "loss": round(seen, 4)}
            judge = copy.deepcopy(network)
            judge.load_state_dict(average)
            for text in options.validate:
                record[text] = round(validate(judge, parse_source(text), mean, std).f1, 4)
            with (options.output / "history.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
            print(record, flush=True)


def build_network(options: argparse.Namespace) -> nn.Module:
    """A fresh network of the task, with the prior of `--init` in it."""
    kind = SingleDateNetwork if options.task == "single" else SChanger
    network = kind(options.size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in network.modules():
        if isinstance(module, DropPath):
            module.rate = options.drop
        elif isinstance(module, nn.Dropout):
            module.p = options.drop
    if options.init:
        prior = read_state_dict(options.init)
        missing, unexpected = network.load_state_dict(prior, strict=False)
        if unexpected or not set(missing) <= fusion_names(options.size):
            raise CheckpointError(f"{options.init} is no single-date checkpoint of the {options.size} network.")
    return network  # type: ignore[no-any-return]


def resume(
    last: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    rng: np.random.Generator,
) -> int:
    """Put a checkpoint's whole state back in place; the step to go on with."""
    state = torch.load(last, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    average.update(state["state_dict"])
    rng.bit_generator.state = json.loads(state["rng"])
    torch.set_rng_state(state["torch_rng"])
    return int(state["step"])


def parse_source(text: str) -> Source:
    """`ROOT[,weight=1][,scale=0.8:1.25][,glob=*]`."""
    root, *parts = text.split(",")
    values = dict(part.split("=", 1) for part in parts)
    low, high = values.get("scale", "0.8:1.25").split(":")
    return Source(Path(root), float(values.get("weight", 1)), (float(low), float(high)), values.get("glob", "*"))


def main(arguments: list[str] | None = None) -> None:
    """Parse and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["single", "change"])
    parser.add_argument("--size", default="small", choices=["small", "base"])
    parser.add_argument("--source", action="append", required=True, help="ROOT[,weight=..][,scale=low:high][,glob=..]")
    parser.add_argument("--validate", action="append", default=[], help="the same, scored at every interval")
    parser.add_argument("--init", type=Path, help="single-date checkpoint to start a change network from")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--stop", type=int, help="end this run at that step; the schedule stays")
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tile", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--drop", type=float, default=0.2, help="rate of DropPath and dropout; 0 for short runs")
    parser.add_argument("--ema", type=float, default=0.99)
    parser.add_argument("--interval", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--freeze", action="store_true", help="keep BatchNorm's statistics")
    parser.add_argument("--seed", type=int, default=36)
    parser.add_argument("--mean", type=float, nargs=3, default=[0.40, 0.39, 0.34])
    parser.add_argument("--std", type=float, nargs=3, default=[0.18, 0.17, 0.16])
    train(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
