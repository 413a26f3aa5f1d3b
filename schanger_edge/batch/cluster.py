"""The Dask cluster, of this machine or one that is already there, and the pairs that it works on."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import re
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from distributed import Client, LocalCluster, as_completed
from distributed.scheduler import KilledWorker
from distributed.security import Security

from schanger_edge.batch.options import Cluster
from schanger_edge.batch.outcome import Outcome, failed
from schanger_edge.batch.worker import PARTS, WarmSession, Work, prepare, run_pair, run_part
from schanger_edge.errors import SchangerError, require
from schanger_edge.products.journal import unfinished
from schanger_edge.sessions.gpu import count_gpus
from schanger_edge.sessions.ort import available_cores
from schanger_edge.tiling.partition import Part

_DASHBOARD = "127.0.0.1:8787"
_WAIT = 30  # seconds for a scheduler, and for its first worker


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a local cluster: processes, CPU threads of the session of each, GPUs that they share."""

    workers: int
    threads: int
    gpus: int


def size_of(cluster: Cluster, threads: int | None, device: str) -> Size | None:
    """Of a local cluster; None for one that is already there.

    What is not asked for: a worker for each GPU, else for each `threads` cores; threads share the cores evenly.
    """
    if cluster.scheduler:
        return None
    cores, gpus = available_cores(), 0 if device == "cpu" else count_gpus()
    workers = cluster.workers or gpus or max(cores // (threads or 1), 1)
    return Size(workers, threads or max(cores // workers, 1), gpus)


def opened(cluster: Cluster, size: Size | None) -> contextlib.AbstractContextManager[Client]:
    """The client of a cluster, until the context ends; a local cluster ends with it.

    SchangerError where no scheduler answers, or it has no worker.
    """
    return _remote(str(cluster.scheduler)) if size is None else _local(size, cluster)


@contextlib.contextmanager
def _local(size: Size, asked: Cluster) -> Iterator[Client]:
    """Processes of this machine, each with one thread for tasks.

    A scheduler runs the code of whoever reaches it, and every account of a machine reaches its ports. So all of them
    talk by TLS, with a key that is made here, kept in memory, and known to nobody else.
    """
    dashboard = _DASHBOARD if asked.dashboard and importlib.util.find_spec("bokeh") else None
    processes: dict[str, Any] = {"n_workers": size.workers, "threads_per_worker": 1, "processes": True}
    processes |= {"memory_limit": 0, "scheduler_kwargs": {"allowed_failures": asked.retries}}  # a run bounds its memory
    require("cryptography", "station")
    processes |= {"security": Security.temporary(), "protocol": "tls://"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port 8787 is already in use")
        cluster = LocalCluster(dashboard_address=dashboard, silence_logs=logging.CRITICAL, **processes)
    with cluster, Client(cluster) as client:
        yield client


@contextlib.contextmanager
def _remote(address: str) -> Iterator[Client]:
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
    if importlib.util.find_spec("bokeh") is None or "dashboard" not in client.scheduler_info().get("services", {}):
        return None
    return client.dashboard_link or None


@contextlib.contextmanager
def warm(client: Client, session: WarmSession) -> Iterator[None]:
    """Workers keep the session until the block ends, however it ends."""
    client.register_plugin(session)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # workers or the scheduler are gone, and the session with them
            client.unregister_worker_plugin(session.name)


def open_first(client: Client, session: str, *, alike: bool) -> None:
    """Open the session of one worker before the others want theirs: what takes a build or a trial is made once.

    Where they will share a scene they must be `alike`: then it is opened on all of them, and workers that differ are a
    SchangerError, as is a model that cannot be opened.
    """
    first = client.submit(prepare, session, pure=False).result()
    for address in client.nthreads() if alike else ():
        other = client.submit(prepare, session, workers=[address], pure=False).result()
        if other != first:
            what = f"{first[0]}; {other[0]}" if first[0] != other[0] else "each has its own plan"
            raise SchangerError(
                f"--divide needs workers that compute alike, and these differ ({what}): set --threads and one "
                "SCHANGER_EDGE_CACHE on the shared disk for all of them, or omit --divide."
            )


def run_all(client: Client, cluster: Cluster, works: Sequence[Work]) -> Iterator[tuple[Outcome, BaseException | None]]:
    """Outcomes in the order in which they come, each with the error where it failed.

    No more pairs are submitted than there are workers, so that one that dies takes no other pair with it, and the
    scheduler holds no long lists. Of a pair that is submitted Dask takes care.
    """
    waiting, under_way = deque(works), as_completed()
    of_key: dict[Any, Work] = {}
    while waiting or not under_way.is_empty():
        slots = 1 if cluster.split else _workers(client)  # a scene that is split has all workers to itself
        while waiting and under_way.count() < slots:
            work = waiting.popleft()
            how = {"retries": cluster.retries, "pure": False}
            parts = [client.submit(run_part, work, part, **how) for part in _parts(client, cluster, work)]
            future = client.submit(run_pair, work, parts, **how)
            of_key[future.key] = work
            under_way.add(future)
        future = next(under_way)
        work = of_key.pop(future.key)
        if future.cancelled():
            raise SchangerError(
                "the connection to the scheduler was lost; finished work is kept, repeat the command to continue."
            )
        error = future.exception()
        if error is None:
            yield dataclasses.replace(future.result(), reason=work.reason), None
        else:
            yield failed(work.pair, _reason(error, cluster.retries)), error


def _workers(client: Client) -> int:
    return max(len(client.nthreads()), 1)


def _parts(client: Client, cluster: Cluster, work: Work) -> list[Part]:
    """The parts of a scene, as many as an earlier batch divided it into."""
    begun = [path.name for path in (work.folder / PARTS).glob("*-of-*")]
    if unfinished(work.folder) or not (begun or cluster.split):
        return []
    found = re.search(r"\d+$", begun[0]) if begun else None
    count = int(found[0]) if found else _workers(client)
    return [Part(number, count) for number in range(count)] if count > 1 else []


def _reason(error: BaseException, retries: int) -> str:
    if isinstance(error, KilledWorker):
        return f"{error.allowed_failures + 1} workers died while running it: check their logs and their memory."
    times = f"tried {retries + 1} times: " if retries else ""
    return times + (str(error) if isinstance(error, SchangerError) else f"{type(error).__name__}: {error}")
