"""What makes a training step on a CPU faster: each remedy taken away alone, as a ratio to all of them together.

`python benchmarks/cpu_training.py [--threads 2]`: schanger-small, two pairs of 128 x 128, forward and backward, median
of the steps after the first two. Each variant runs in a process of its own, because the allocator is set once per
process; rounds are interleaved.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

STEPS, WARM, ROUNDS = 4, 2, 3
VARIANTS = {
    "all remedies": {},
    "default allocator": {"allocator": False},
    "contiguous instead of channels_last": {"channels_last": False},
    "gradient of squeeze-excite's mean as a whole tensor": {"sum": False},
    "dilated convolution as it is": {"interleaved": False},
    "all remedies, BatchNorm frozen": {"frozen": True},
    "all remedies, torch.compile": {"compile": True},
}


def measure(settings: dict[str, bool], threads: int) -> float:
    """Median seconds of a step, in this process."""
    import torch

    from schanger_export import network as module
    from schanger_export.processes import keep_large_blocks
    from schanger_export.recipe import loss_function

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if settings.get("allocator", True):
        keep_large_blocks()
    if not settings.get("sum", True):
        module._spatial_mean = lambda x: x.mean((2, 3), keepdim=True)
    if not settings.get("interleaved", True):
        module._depthwise = lambda conv, x, training: conv(x)
    layout = torch.channels_last if settings.get("channels_last", True) else torch.contiguous_format
    network = module.SChanger("small").to(memory_format=layout)  # type: ignore[call-overload]
    dates = [torch.randn(2, 3, 128, 128).contiguous(memory_format=layout) for _ in range(2)]
    label = (torch.rand(2, 1, 128, 128) > 0.8).float()
    network.train()
    if settings.get("frozen"):
        module.freeze_batchnorm(network)
    step = torch.compile(network) if settings.get("compile") else network
    times = []
    for _ in range(WARM + STEPS):
        began = time.perf_counter()
        network.zero_grad()
        loss_function(step(*dates), label).backward()
        times.append(time.perf_counter() - began)
    return statistics.median(times[WARM:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which takes minutes")
    parser.add_argument("--one", help="measure this variant in this process")
    options = parser.parse_args()
    if options.one:
        print(measure(json.loads(options.one), options.threads))
        return
    from common import save

    chosen = {name: settings for name, settings in VARIANTS.items() if options.compile or "compile" not in settings}
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(ROUNDS):
        for name, settings in chosen.items():
            command = [sys.executable, __file__, "--threads", str(options.threads), "--one", json.dumps(settings)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds[name].append(float(result.stdout.split()[-1]))
            print(name, seconds[name][-1], flush=True)
    base = seconds["all remedies"]
    rows = {
        name: {
            "seconds_per_pair": round(statistics.median(values) / 2, 3),
            "ratio": round(statistics.median(v / b for v, b in zip(values, base, strict=True)), 2),
        }
        for name, values in seconds.items()
    }
    save("cpu-training", {"method": __doc__, "threads": options.threads, "rounds": ROUNDS, "variants": rows})


if __name__ == "__main__":
    main()
