"""The Dask cluster: processes of this machine, or one that is already there."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import warnings
from collections.abc import Iterator

from distributed import Client, LocalCluster

from schanger_edge.errors import SchangerError
from schanger_edge.sessions.gpu import count_gpus
from schanger_edge.sessions.ort import available_cores

_DASHBOARD = "127.0.0.1:8787"
_WAIT = 30  # seconds for a scheduler, and for its first worker


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a local cluster: processes, CPU threads of the session of each, GPUs that they share."""

    workers: int
    threads: int
    gpus: int


def local_size(workers: int | None, threads: int | None, device: str) -> Size:
    """What is not asked for: a worker for each GPU, else for each `threads` cores; threads share the cores evenly.

    Raises:
        SchangerError: less than one worker.
    """
    if workers is not None and workers < 1:
        raise SchangerError(f"--workers must be at least 1, not {workers}.")
    cores, gpus = available_cores(), 0 if device == "cpu" else count_gpus()
    workers = workers or gpus or max(cores // (threads or 1), 1)
    return Size(workers, threads or max(cores // workers, 1), gpus)


@contextlib.contextmanager
def local_cluster(size: Size, retries: int) -> Iterator[Client]:
    """Processes of this machine, each with one thread for tasks; they end with the block.

    Args:
        size: see `local_size`.
        retries: how often a task is given to another worker after one died of it.
    """
    dashboard = _DASHBOARD if importlib.util.find_spec("bokeh") else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port 8787 is already in use")
        cluster = LocalCluster(
            n_workers=size.workers, threads_per_worker=1, processes=True, dashboard_address=dashboard,
            memory_limit=0,  # the memory of a run is bounded by itself
            silence_logs=logging.CRITICAL, scheduler_kwargs={"allowed_failures": retries},
        )  # fmt: skip
    with cluster, Client(cluster) as client:
        yield client


@contextlib.contextmanager
def remote_cluster(address: str) -> Iterator[Client]:
    """A cluster that is there already, and stays.

    Raises:
        SchangerError: no scheduler answers, or it has no worker.
    """
    try:
        client = Client(address, timeout=_WAIT)
    except (OSError, ValueError, TimeoutError) as error:
        raise SchangerError(
            f"no Dask scheduler answers at {address} ({error}): start one with `dask scheduler`, and give its address "
            "such as tcp://10.0.0.1:8786."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError:
            raise SchangerError(
                f"the scheduler at {address} has no worker: start some with `dask worker {address} --nthreads 1 "
                "--memory-limit 0`."
            ) from None
        yield client


def dashboard_of(client: Client) -> str | None:
    """Address of the page that shows the cluster at work; None where its package (bokeh) is missing."""
    link = client.dashboard_link if importlib.util.find_spec("bokeh") else None
    return link or None
