"""Memory of training on a CPU: keep large blocks from step to step, and don't start what cannot fit."""

from __future__ import annotations

import ctypes
from pathlib import Path

from schanger_edge.errors import SchangerError
from schanger_export.options import Training

# From malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
LARGEST = 2**31 - 1
# Peak of a forward and backward pass in float32, measured with 1 and 4 pairs of 128 x 128 pixels.
GIGABYTES = {"small": 3.1, "base": 5.7}  # a pair of 256 x 256 pixels


def keep_large_blocks() -> bool:
    """Tell the C library to keep what is freed; False where it is not the GNU one.

    By default every tensor of more than some MB is mapped anew and its pages are zeroed by the kernel: 1.19 times the
    time of a training step where it was measured (`benchmarks/cpu_training.py`). The same as MALLOC_MMAP_MAX_=0,
    MALLOC_TOP_PAD_ and MALLOC_TRIM_THRESHOLD_.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TOP_PAD, 1 << 30), (M_TRIM_THRESHOLD, LARGEST))
    return all(mallopt(key, value) == 1 for key, value in settings)


def check_memory(options: Training, processes: int = 1) -> None:
    """Refuse a batch that this machine cannot hold.

    Raises:
        SchangerError: it needs more memory than is free.
    """
    free = available_gigabytes()
    tile, accumulate = options.sampling.tile, options.schedule.accumulate
    at_once = options.schedule.batch_size // accumulate
    need = GIGABYTES[options.size] * at_once * (tile / 256) ** 2 * options.dates / 2
    if free is not None and need > free:
        each = at_once // processes
        raise SchangerError(
            f"{at_once} samples of {tile} pixels at once need about {need:.0f} GB, and {free:.0f} GB are free: use "
            f"--accumulate {accumulate * max(each, 2)}, a smaller --batch or a smaller --tile."
        )


def available_gigabytes() -> float | None:
    """Memory that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) / 1e6 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
