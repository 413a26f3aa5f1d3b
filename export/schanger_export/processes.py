"""Data-parallel processes, a single one unless `torchrun` started several: rank, device, and memory on a CPU."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import distributed

from schanger_edge.errors import SchangerError
from schanger_edge.host import board
from schanger_export.options import Training

TIMEOUT = datetime.timedelta(hours=2)  # the others wait while the first process validates


@dataclasses.dataclass(frozen=True)
class Processes:
    """This process among its peers.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
        device: where it computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that validates, writes and reports."""
        return self.rank == 0


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes `torchrun` started (gloo on CPU, NCCL on CUDA), or be the only one.

    The device is `auto`, `cpu` or `cuda`; SchangerError where CUDA is asked for and not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SchangerError("--device cuda: torch finds no CUDA GPU; omit the option to train on the CPU.")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes(0, 1, torch.device(device))
        return
    local = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device == "cuda" else torch.device("cpu")
    if local.type == "cuda":
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if local.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(distributed.get_rank(), world, local)
    finally:
        distributed.destroy_process_group()


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
    """Refuse, with a SchangerError, a batch that this machine has not the memory for."""
    free = board.free_memory(Path("/"))
    tile, accumulate = options.sampling.tile, options.schedule.accumulate
    at_once = options.schedule.batch_size // accumulate
    need = GIGABYTES[options.size] * at_once * (tile / 256) ** 2 * options.dates / 2
    if free is not None and need > free / 1e9:
        each = at_once // processes
        raise SchangerError(
            f"{at_once} samples of {tile} pixels at once need about {need:.0f} GB, and {free / 1e9:.0f} GB are free: "
            f"use --accumulate {accumulate * max(each, 2)}, a smaller --batch or a smaller --tile."
        )
