"""What operations of our own and bfloat16 make of a training step on one thread of a CPU, as a ratio to neither.

`python benchmarks/fused_training.py`: schanger-small, eight pairs of 128 x 128, forward and backward, seconds of CPU a
pair; variants are interleaved in one process, medians after the first round. The cosine is that of the whole gradient
with the one without either.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import save

from schanger_export import fused
from schanger_export.network import SChanger
from schanger_export.processes import keep_large_blocks
from schanger_export.recipe import loss_function

PAIRS, SIDE, ROUNDS = 8, 128, 5
VARIANTS = {"neither": (False, False), "own": (True, False), "bf16": (False, True), "both": (True, True)}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_large_blocks()
    network = SChanger("small").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = [torch.randn(PAIRS, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    label = (torch.rand(PAIRS, 1, SIDE, SIDE) > 0.8).float()
    network.train()
    for module in network.modules():
        for name in ("rate", "p"):
            if hasattr(module, name):
                setattr(module, name, 0.0)
    takes: Callable[..., bool] = fused._takes
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    gradients = {}
    for _ in range(ROUNDS + 1):
        for name, (own, low) in VARIANTS.items():
            fused._takes = takes if own else lambda _: False
            network.zero_grad()
            began = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                logits = network(*images)
            loss_function(logits, label).backward()  # type: ignore[no-untyped-call]
            seconds[name].append(time.process_time() - began)
            gradients[name] = torch.cat([p.grad.flatten().double() for p in network.parameters() if p.grad is not None])
    base = seconds["neither"][1:]
    rows = {
        name: {
            "seconds_per_pair": round(statistics.median(values[1:]) / PAIRS, 3),
            "ratio": round(statistics.median(v / b for v, b in zip(values[1:], base, strict=True)), 2),
            "cosine": round(float(torch.cosine_similarity(gradients[name], gradients["neither"], dim=0)), 5),
        }
        for name, values in seconds.items()
    }
    flags = set(Path("/proc/cpuinfo").read_text().split())
    have = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    head = {"method": __doc__, "torch": torch.__version__, "instructions": have, "pairs": PAIRS, "rounds": ROUNDS}
    save("fused_training", {**head, "variants": rows})


if __name__ == "__main__":
    main()
