"""bfloat16 on a CPU, operation by operation: is its backward pass finite and right, and is it faster than float32?

`python benchmarks/bf16.py [--threads 2]` runs the network's parts forward and backward in float32 and under bf16
autocast on the same inputs and compares gradients (relative to the largest) and time, interleaved, as a ratio. It says
which instructions the processor has: without AVX-512 BF16 or AMX every bf16 convolution is emulated.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import save
from torch import Tensor, nn

from schanger_export.network import LFEM, SCAM, ChannelLayerNorm, SChanger, SqueezeExcite, TemporalFusion, _upsample
from schanger_export.processes import keep_large_blocks
from schanger_export.recipe import loss_function

REPEATS = 3
N, C, SIDE = 4, 48, 64


class Upsample(nn.Module):
    """Bilinear, as in the decoder."""

    def forward(self, x: Tensor) -> Tensor:
        return _upsample(x, 2)


def parts() -> dict[str, nn.Module]:
    """Kinds of operation in the network, of about the size of its second stage."""
    return {
        "1x1 convolution": nn.Conv2d(C, C, 1),
        "3x3 convolution to one logit": nn.Conv2d(C, 1, 3, padding=1),
        "depthwise 3x3": nn.Conv2d(C, C, 3, padding=1, groups=C),
        "depthwise 5x5": nn.Conv2d(C, C, 5, padding=2, groups=C),
        "depthwise 7x7, dilation 3": nn.Conv2d(C, C, 7, padding=9, dilation=3, groups=C),
        "BatchNorm": nn.BatchNorm2d(C),
        "SiLU": nn.SiLU(),
        "GELU": nn.GELU(),
        "max pool": nn.MaxPool2d(2),
        "bilinear upsampling": Upsample(),
        "channel LayerNorm": ChannelLayerNorm(C),
        "squeeze-excite": SqueezeExcite(C, 12),
        "TFM": TemporalFusion(C),
        "LFEM": LFEM(16, 16),
        "SCAM": SCAM(C, True),
    }


def run(module: nn.Module, x: Tensor, bf16: bool) -> tuple[list[Tensor], float]:
    """Gradients of input and parameters, and seconds."""
    x = x.detach().requires_grad_()
    module.zero_grad()
    torch.manual_seed(0)
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = module(x)
    weight = torch.linspace(-0.5, 1, y.numel()).view_as(y)  # not around 0: a bias whose gradient is 0 has no error
    (y.float() * weight).mean().backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - began
    return [x.grad, *(p.grad for p in module.parameters())], seconds  # type: ignore[list-item]


def compare(both: Callable[[bool], tuple[list[Tensor], float]]) -> dict[str, Any]:
    """Whether bf16's gradients are finite, their error, and the ratio of time, bf16 to float32."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(REPEATS):
        for bf16 in (False, True):
            gradients, seconds = both(bf16)
            times[bf16].append(seconds)
            if bf16:
                low = gradients
            else:
                full = gradients
    finite = all(bool(torch.isfinite(g).all()) for g in low)
    error = max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in zip(full, low, strict=True))
    ratio = statistics.median(times[True]) / statistics.median(times[False])
    return {"finite": finite, "largest_relative_error": round(error, 4), "time_ratio": round(ratio, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    keep_large_blocks()
    rows = {}
    for name, part in parts().items():
        torch.manual_seed(1)
        module = part.to(memory_format=torch.channels_last).train()
        x = torch.randn(N, 16 if name == "LFEM" else C, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        rows[name] = compare(lambda bf16, module=module, x=x: run(module, x, bf16))  # type: ignore[misc]
        print(name, rows[name], flush=True)
    torch.manual_seed(1)
    network = SChanger("small").to(memory_format=torch.channels_last).train()
    images = torch.randn(2, N, 3, SIDE, SIDE)
    label = (torch.rand(N, 1, SIDE, SIDE) > 0.8).float()

    def whole(bf16: bool) -> tuple[list[Tensor], float]:
        network.zero_grad()
        torch.manual_seed(0)
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = network(*images)
        loss_function(logits, label).backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in network.parameters()], time.perf_counter() - began  # type: ignore[misc]

    rows["whole network"] = compare(whole)
    flags = set(Path("/proc/cpuinfo").read_text().split())
    have = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    save("bf16", {"method": __doc__, "torch": torch.__version__, "instructions": have, "parts": rows})


if __name__ == "__main__":
    main()
