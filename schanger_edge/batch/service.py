"""From a list of pairs to their change maps and what sums them up: `schanger-edge batch`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

from schanger_edge.batch.cluster import dashboard_of, open_first, opened, run_all, size_of, warm
from schanger_edge.batch.options import Cluster
from schanger_edge.batch.outcome import FAILED, RECORD, Outcome, identity, read_record
from schanger_edge.batch.pairs import ListedPair, read_pairs
from schanger_edge.batch.results import RESULTS, Batch, check_place, sum_up
from schanger_edge.batch.worker import PARTS, WarmSession, Work
from schanger_edge.errors import require
from schanger_edge.files import PREFIX, held, writing
from schanger_edge.model.bundled import model_path
from schanger_edge.model.file import sha256_of_model
from schanger_edge.products import SUMMARY
from schanger_edge.products.journal import FOLDER
from schanger_edge.run.options import RunOptions

_LOCK = f"{PREFIX}batch.lock"
_SEEN_WITHIN = 60.0
"""Seconds after which a shared disk shows what another machine has written; NFS remembers that a folder was absent."""


class Listener:
    """Who hears of a batch; whoever wants to overrides what it wants to hear."""

    def cluster(self, workers: int, dashboard: str | None) -> None:
        """Called once, with the number of workers and the dashboard's address."""

    def outcome(self, outcome: Outcome, error: BaseException | None) -> None:
        """Called with each pair that is done or given up, and the error."""

    def progress(self, done: int, total: int) -> None:
        """Called with the number of pairs that are done, and of all."""


def batch(
    pairs: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    cluster: Cluster | None = None,
    restart: bool = False,
    options: RunOptions | None = None,
    listener: Listener | None = None,
    **keywords: Any,
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
        options: of each run; a pair's row stands above them. The model must be a file that all workers see, or a name:
            each machine fetches a published one for itself; threads are those of each worker's engine, None shares the
            cores of this machine evenly. A STAC item is always made.
        listener: who hears of it.
        keywords: any option of `RunOptions` by name.

    Raises:
        SchangerError: one sentence on what is wrong with the list, the options or the cluster. A pair that fails
            raises nothing: see `Batch.failed`.
    """
    options = (options or RunOptions()).replace(stac=True, **keywords)
    cluster, listener = cluster or Cluster(), listener or Listener()
    for package in ("pyarrow", "pystac"):
        require(package, "products")
    listed = read_pairs(Path(pairs), RESULTS)
    engine = options.engine
    if engine.model is not None and os.path.exists(engine.model):  # workers of other machines start in other folders
        engine = dataclasses.replace(engine, model=os.path.abspath(engine.model))
    sha256 = sha256_of_model(model_path(engine.model))
    size = size_of(cluster, engine.threads, engine.device)
    if size is not None:
        engine = dataclasses.replace(engine, threads=size.threads)
    session = WarmSession(engine, size.gpus if size else None)
    folder = Path(output).absolute()
    named = [path for pair in listed for path in pair.files.values()]
    refusal = f"another batch is writing to {folder}: wait for it, or choose another folder."
    with held(folder, _LOCK, refusal):
        check_place(folder, [pairs, *options.paths, *named])
        if restart:
            for pair in listed:
                _forget(folder / pair.id)
        outcomes, works = _sort(listed, folder, sha256, options, session.name)
        listener.progress(len(outcomes), len(listed))
        if works:
            with opened(cluster, size) as client, warm(client, session):
                listener.cluster(len(client.nthreads()), dashboard_of(client))
                open_first(client, session.name, alike=cluster.split)
                for outcome, error in run_all(client, cluster, works):
                    found = outcome if size else _visible(outcome, folder)
                    outcomes[found.id] = found
                    listener.outcome(found, error)
                    listener.progress(len(outcomes), len(listed))
        return sum_up(folder, tuple(outcomes[pair.id] for pair in listed))


def _sort(
    listed: list[ListedPair], folder: Path, model: str, options: RunOptions, session: str
) -> tuple[dict[str, Outcome], list[Work]]:
    """(outcomes of pairs that are done already, work on the others)."""
    outcomes: dict[str, Outcome] = {}
    works: list[Work] = []
    for pair in listed:
        own = options.replace(**pair.options)
        known_by = identity(pair, model, own)
        outcome, reason = read_record(folder / pair.id, known_by)
        if outcome is not None:
            outcomes[pair.id] = outcome
        else:
            works.append(Work(pair, folder / pair.id, own, known_by, session, reason))
    return outcomes, works


def _forget(folder: Path) -> None:
    with writing(folder):
        (folder / RECORD).unlink(missing_ok=True)
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
            reason = f"worker {outcome.worker} wrote to its own disk: use a folder that all machines share."
            return dataclasses.replace(outcome, status=FAILED, reason=reason)
        os.listdir(folder)
        time.sleep(1)
    return outcome
