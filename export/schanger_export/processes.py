"""Data-parallel processes: this one's rank and device; a single process unless `torchrun` started several."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
from collections.abc import Iterator

import torch
from torch import distributed

from schanger_edge.errors import SchangerError

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

    Args:
        device: `auto`, `cpu` or `cuda`.

    Raises:
        SchangerError: CUDA is asked for and not there.
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
