"""From a list of pairs to their change maps and what sums them up: `schanger-edge batch`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distributed import Client

from schanger_edge.batch.cluster import dashboard_of, local_cluster, local_size, remote_cluster
from schanger_edge.batch.collection import write_collection
from schanger_edge.batch.merged import merge_polygons
from schanger_edge.batch.outcome import FAILED, Outcome, drop_record, identity, read_record
from schanger_edge.batch.pairs import ListedPair, read_pairs
from schanger_edge.batch.queue import Queue
from schanger_edge.batch.table import write_table
from schanger_edge.batch.worker import PARTS, WarmSession, Work, prepare
from schanger_edge.errors import SchangerError, require
from schanger_edge.files import PREFIX, locked, sha256_of, writing
from schanger_edge.model.bundled import model_path
from schanger_edge.products import POLYGONS, STAC_ITEM, SUMMARY
from schanger_edge.products.journal import FOLDER
from schanger_edge.run.options import RunOptions

TABLE, COLLECTION = "results.parquet", "collection.json"
_LOCK = f"{PREFIX}batch.lock"
_RESERVED = (TABLE, "results.csv", POLYGONS, COLLECTION)
_SEEN_WITHIN = 60.0
"""Seconds after which a shared disk shows what another machine has written; NFS remembers that a folder was absent."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """What came of a list of pairs.

    Attributes:
        folder: where all results are.
        outcomes: one for each pair, in the order of the list.
        polygons: in the merged changes.gpkg.
        crs: of the merged polygons; None where no image has one.
        items: pairs in the STAC collection; 0 where there is none.
        notes: what the user should hear of, in sentences.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]
    polygons: int
    crs: str | None
    items: int
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Pairs that were given up."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == FAILED)


def batch(
    pairs: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    retries: int = 2,
    split: bool = False,
    restart: bool = False,
    options: RunOptions | None = None,
    on_cluster: Callable[[int, str | None], None] | None = None,
    on_outcome: Callable[[Outcome, BaseException | None], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        scheduler: address of a Dask scheduler; None starts workers on this machine.
        workers: processes on this machine; None takes one for each GPU, else for each `threads` cores.
        retries: how often a pair that fails, or whose worker dies, is tried again.
        split: divide each scene over all workers by bands of sections, one scene after the other.
        restart: forget what earlier calls have done.
        options: of each run; a pair's row stands above them. The model must be a file that all workers see; threads
            are those of each worker's engine, None shares the cores of this machine evenly.
        keywords: any option by name.
        on_cluster: told the number of workers and the dashboard's address once.
        on_outcome: told of each pair that is done or given up, and of the error.
        progress: told how many pairs are done, and how many there are.

    Raises:
        SchangerError: one sentence on what is wrong with the list, the options or the cluster. A pair that fails
            raises nothing: see `Batch.failed`.
    """
    options = (options or RunOptions()).replace(**keywords)
    _check(retries)
    options = options.replace(stac=True)
    listed = read_pairs(Path(pairs), _RESERVED)
    engine = options.engine
    if engine.model is not None and os.path.exists(engine.model):  # workers of other machines start in other folders
        engine = dataclasses.replace(engine, model=os.path.abspath(engine.model))
    sha256 = sha256_of(model_path(engine.model))
    size = None if scheduler else local_size(workers, engine.threads, engine.device)
    folder = Path(output).absolute()
    with _held(folder):
        if restart:
            for pair in listed:
                _forget(folder / pair.id)
        if size is None:
            warm = WarmSession(engine)
        else:
            warm = WarmSession(dataclasses.replace(engine, threads=size.threads), local=True, gpus=size.gpus)
        outcomes, works, changed = _sort(listed, folder, sha256, options, warm.name)
        total = len(listed)
        if progress:
            progress(len(outcomes), total)
        if works:
            opened = remote_cluster(str(scheduler)) if size is None else local_cluster(size, retries)
            with opened as client, _warm(client, warm):
                if on_cluster:
                    on_cluster(len(client.nthreads()), dashboard_of(client))
                _prepare(client, warm.name, alike=split)
                for outcome, error in Queue(client, retries=retries, split=split).run(works):
                    told = outcome if error else dataclasses.replace(outcome, reason=changed.get(outcome.id))
                    outcomes[told.id] = told if size else _visible(told, folder)
                    if on_outcome:
                        on_outcome(outcomes[told.id], error)
                    if progress:
                        progress(len(outcomes), total)
        return _sum_up(folder, tuple(outcomes[pair.id] for pair in listed))


def _check(retries: int) -> None:
    """Before anything is read: what would fail with every pair."""
    for package, extra in (("pyarrow", "products"), ("pystac", "products")):
        require(package, extra)
    if retries < 0:
        raise SchangerError(f"--retries must be at least 0, not {retries}.")


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


@contextlib.contextmanager
def _warm(client: Client, session: WarmSession) -> Iterator[None]:
    """Workers keep the session until the block ends, however it ends."""
    client.register_plugin(session)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # workers or the scheduler are gone, and the session with them
            client.unregister_worker_plugin(session.name)


def _prepare(client: Client, session: str, *, alike: bool) -> None:
    """Open the session of one worker before the others want theirs: what takes a build or a trial is made once.

    Args:
        client: of the cluster.
        session: its name.
        alike: then open it on all of them, which must compute alike: they will share a scene.

    Raises:
        SchangerError: the model cannot be opened, or workers differ.
    """
    first = client.submit(prepare, session, pure=False).result()
    for address in client.nthreads() if alike else ():
        other = client.submit(prepare, session, workers=[address], pure=False).result()
        if other != first:
            what = f"{first[0]}; {other[0]}" if first[0] != other[0] else "each has a plan of its own"
            raise SchangerError(
                f"--split needs workers that compute alike, and these differ ({what}): give --threads, and to all of "
                "them one SCHANGER_EDGE_CACHE on the shared disk; or leave --split out."
            )


def _sort(
    listed: list[ListedPair], folder: Path, model: str, options: RunOptions, session: str
) -> tuple[dict[str, Outcome], list[Work], dict[str, str]]:
    """(outcomes of pairs that are done already, work on the others, why those are run again that were done)."""
    outcomes: dict[str, Outcome] = {}
    works: list[Work] = []
    changed: dict[str, str] = {}
    for pair in listed:
        own = options.replace(**pair.options)
        known_by = identity(pair, model, own)
        outcome, reason = read_record(folder / pair.id, known_by)
        if outcome is not None:
            outcomes[pair.id] = outcome
            continue
        if reason:
            changed[pair.id] = reason
        works.append(Work(pair, folder / pair.id, own, known_by, session))
    return outcomes, works, changed


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


def _sum_up(folder: Path, outcomes: tuple[Outcome, ...]) -> Batch:
    """What all pairs together give."""
    good = [outcome for outcome in outcomes if outcome.status != FAILED]
    write_table(folder / TABLE, [dataclasses.asdict(outcome) for outcome in outcomes])
    crs_of = {outcome.id: outcome.crs for outcome in good}
    merged = merge_polygons({name: folder / name / POLYGONS for name in crs_of}, crs_of, folder / POLYGONS)
    items = {name: folder / name / STAC_ITEM for name in crs_of if (folder / name / STAC_ITEM).exists()}
    write_collection(folder / COLLECTION, items)
    notes = []
    if merged.left_out:
        notes.append(
            f"{POLYGONS} is without {', '.join(merged.left_out)}: their images have no CRS, those of others have."
        )
    if len(items) < len(good):
        notes.append(
            f"{len(good) - len(items)} of {len(good)} pairs are not in {COLLECTION}: the dates or the place of their "
            "images are not known; the list may have the columns before_date and after_date."
        )
    return Batch(folder, outcomes, merged.polygons, merged.crs, len(items), tuple(notes))
