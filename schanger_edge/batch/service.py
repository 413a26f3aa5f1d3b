"""From a list of pairs to their change maps and what sums them up: `schanger-edge batch`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from schanger_edge.batch.cluster import Cluster, Queue, dashboard_of, open_first, warm
from schanger_edge.batch.outcome import FAILED, Outcome, drop_record, identity, read_record
from schanger_edge.batch.pairs import ListedPair, read_pairs
from schanger_edge.batch.results import COLLECTION, TABLE, Batch, sum_up
from schanger_edge.batch.worker import PARTS, WarmSession, Work
from schanger_edge.errors import require
from schanger_edge.files import sha256_of
from schanger_edge.model.bundled import model_path
from schanger_edge.products import POLYGONS, SUMMARY
from schanger_edge.products.journal import FOLDER
from schanger_edge.products.staging import PREFIX, locked, writing
from schanger_edge.registration.register import MAX_OFFSET, check_max_offset
from schanger_edge.run.options import check_engine, check_polygons, check_products
from schanger_edge.sessions.gpu import Binding

_LOCK = f"{PREFIX}batch.lock"
_RESERVED = (TABLE, "results.csv", POLYGONS, COLLECTION)
_SEEN_WITHIN = 60.0
"""Seconds after which a shared disk shows what another machine has written; NFS remembers that a folder was absent."""


def batch(
    pairs: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    cluster: Cluster | None = None,
    restart: bool = False,
    model: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    cuda: Binding | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    on_cluster: Callable[[int, str | None], None] | None = None,
    on_outcome: Callable[[Outcome, BaseException | None], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Batch:
    """Run every pair of a list; each folder of results is as `detect` leaves it.

    Pairs that an earlier call has done are left alone, where neither files nor options nor model have changed; of
    others what is finished is kept. Besides the folders `output` gets `results.parquet` and `results.csv` (one row for
    each pair), `changes.gpkg` (all polygons; in the CRS that all pairs share, else in EPSG:4326) and, where dates are
    known, `collection.json` (STAC).

    Args:
        pairs: the list, see `pairs.read_pairs`.
        output: folder for a folder of each pair, named by its id; with a scheduler, one that all workers see.
        cluster: who does the work; None takes the processes of this machine.
        restart: forget what earlier calls have done.
        model: as `detect` takes it; a file that all workers see.
        device: as `detect` takes it.
        cuda: as `detect` takes it.
        threads: CPU threads of each worker's engine; None shares the cores of this machine evenly.
        options: further arguments of `detect` that are the same for all pairs.
        on_cluster: called once with the number of workers and the dashboard's address.
        on_outcome: called with each pair that is done or given up, and the error.
        progress: called with the number of pairs that are done, and of all.

    Raises:
        SchangerError: one sentence on what is wrong with the list, the options or the cluster. A pair that fails
            raises nothing: see `Batch.failed`.
    """
    options, cluster = dict(options or {}), cluster or Cluster()
    _check(cluster, options, threads)
    listed = read_pairs(Path(pairs), _RESERVED)
    if model is not None:  # workers of other machines don't start in this folder; a bundled name is the same to all
        model = os.path.abspath(model) if os.path.exists(model) else str(model)
    sha256 = sha256_of(model_path(model))
    size = cluster.size(threads, device)
    session = WarmSession(model, device, size.threads if size else threads, cuda, size.gpus if size else None)
    folder = Path(output).absolute()
    with _held(folder):
        if restart:
            for pair in listed:
                _forget(folder / pair.id)
        outcomes, works = _sort(listed, folder, sha256, options, session.name)
        if progress:
            progress(len(outcomes), len(listed))
        if works:
            with cluster.open(size) as client, warm(client, session):
                if on_cluster:
                    on_cluster(len(client.nthreads()), dashboard_of(client))
                open_first(client, session.name, alike=cluster.split)
                for outcome, error in Queue(client, cluster).run(works):
                    found = outcome if size else _visible(outcome, folder)
                    outcomes[found.id] = found
                    if on_outcome:
                        on_outcome(found, error)
                    if progress:
                        progress(len(outcomes), len(listed))
        return sum_up(folder, tuple(outcomes[pair.id] for pair in listed))


def _check(cluster: Cluster, options: Mapping[str, Any], threads: int | None) -> None:
    """Raise a SchangerError for what would fail with every pair, before anything is read."""
    for package in ("pyarrow", "pystac"):
        require(package, "products")
    cluster.check()
    check_engine(options.get("threshold"), options.get("batch"), threads)
    check_polygons({name: options.get(name, 0.0) for name in ("min_area", "simplify", "fill_holes")})
    check_products(options.get("also", ()), True, None)
    check_max_offset(options.get("max_offset", MAX_OFFSET))


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The output folder, made where it is absent, for one batch at a time."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = locked(folder / _LOCK, f"another batch writes to {folder}: wait for it, or choose another folder.")
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):  # nothing was run
            if [path.name for path in folder.iterdir()] == [_LOCK]:
                shutil.rmtree(folder)


def _sort(
    listed: list[ListedPair], folder: Path, model: str, options: Mapping[str, Any], session: str
) -> tuple[dict[str, Outcome], list[Work]]:
    """(outcomes of pairs that are done already, work on the others)."""
    outcomes: dict[str, Outcome] = {}
    works: list[Work] = []
    for pair in listed:
        known_by = identity(pair, model, options)
        outcome, reason = read_record(folder / pair.id, known_by)
        if outcome is not None:
            outcomes[pair.id] = outcome
        else:
            works.append(Work(pair, folder / pair.id, options, known_by, session, reason))
    return outcomes, works


def _forget(folder: Path) -> None:
    with writing(folder):
        drop_record(folder)
        for name in (FOLDER, PARTS):
            if (folder / name).exists():
                shutil.rmtree(folder / name)


def _visible(outcome: Outcome, folder: Path) -> Outcome:
    """A worker of another machine may have written where nobody else looks."""
    if outcome.status == FAILED:
        return outcome
    until = time.monotonic() + _SEEN_WITHIN
    while not (folder / outcome.id / SUMMARY).exists():
        if time.monotonic() > until:
            reason = f"worker {outcome.worker} wrote to a disk of its own: give a folder that all machines share."
            return dataclasses.replace(outcome, status=FAILED, reason=reason)
        os.listdir(folder)
        time.sleep(1)
    return outcome
