"""What runs on a Dask worker: a session that stays warm, a pair, a part of a large one.

What goes wrong with a pair, or with the model, is a SchangerError of one sentence.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from schanger_edge.batch.outcome import Outcome, succeeded, write_record
from schanger_edge.batch.pairs import ListedPair
from schanger_edge.errors import BusyError, OtherRunError, SchangerError
from schanger_edge.files import PREFIX
from schanger_edge.products.journal import join, unfinished
from schanger_edge.run.control import Control
from schanger_edge.run.detect import Detection, detect, detect_part, open_for
from schanger_edge.run.options import Engine, RunOptions
from schanger_edge.run.predict import Flow
from schanger_edge.sessions import Session
from schanger_edge.tiling.partition import Part

PARTS = f"{PREFIX}parts"
"""In the folder of a pair that is split: an output folder for each part."""
BUSY_SECONDS = 300.0
"""How long a worker waits for another run that writes to the same folder, such as one whose scheduler was lost."""
_LOOK_AGAIN = 2.0


class WarmSession(WorkerPlugin):
    """Keeps one session open on each worker, also on those that come later; it is closed when the worker ends.

    Args:
        engine: what each session is opened for; its model is the same on all workers.
        gpus: None for a cluster that is there already. Otherwise workers are children of this process: they ignore the
            Ctrl-C that the terminal sends to all of them, and take one of so many GPUs each.

    Attributes:
        name: by which a worker knows it; no other has it, also where several batches share a cluster.
        ending: on a worker, whether work is to end soon.
    """

    def __init__(self, engine: Engine, gpus: int | None = None) -> None:
        self._engine, self._gpus = engine, gpus
        self.name = f"schanger-edge session {secrets.token_hex(8)}"

    def setup(self, worker: Any) -> None:
        """Called by Dask. The session is opened by the first pair, so that its errors are that pair's."""
        self._session: Session | None = None
        self._busy = threading.Lock()
        self.ending = False
        if self._gpus is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._gpus:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(self._gpus)))
            os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(worker.name) % self._gpus]

    def teardown(self, worker: Any) -> None:
        """Called by Dask: the worker ends, or the batch does. A pair under way stops after the section it is at."""
        self.ending = True
        if self._busy.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._busy.release()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """The worker's session, for one pair at a time."""
        with self._busy:
            if self._session is None:
                self._session = open_for(self._engine)
            try:
                yield self._session
            finally:
                if self.ending:
                    self._close()

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


@dataclasses.dataclass(frozen=True)
class Work:
    """A pair as a worker needs it.

    Attributes:
        pair: from the list.
        folder: for its results, seen by all workers.
        options: of its run.
        known_by: by which a later batch recognizes it, see `outcome.identity`.
        session: name of the `WarmSession` it runs on.
        reason: why it is run again; None where it is run for the first time.
    """

    pair: ListedPair
    folder: Path
    options: RunOptions
    known_by: Mapping[str, Any]
    session: str
    reason: str | None = None


@contextlib.contextmanager
def _portable() -> Iterator[None]:
    """Errors travel between processes without what caused them, for errors of GDAL cannot."""
    try:
        yield
    except SchangerError as error:
        error.__cause__ = error.__context__ = None
        raise


@_portable()
def prepare(session: str) -> tuple[str, str | None]:
    """Open the session of a worker; what it computes with: its device in words, and the plan."""
    with _plugin(session).session() as opened:
        return opened.device, opened.identity()["plan"]


@_portable()
def run_part(work: Work, part: Part) -> float:
    """Predict a part of a scene, or what is left of it; seconds it took."""
    began = time.perf_counter()
    if not unfinished(work.folder):  # else its parts are joined already, and the worker that did it was lost
        _detect(work, work.folder / PARTS / f"{part.number}-of-{part.count}", part)
    return time.perf_counter() - began


@_portable()
def run_pair(work: Work, parts: Sequence[float] = ()) -> Outcome:
    """Run a pair, or what is left of it; results as `schanger-edge run` leaves them.

    Where it is split, its parts, which took so many seconds each, are joined first.
    """
    began = time.perf_counter()
    folders = sorted((work.folder / PARTS).glob("*-of-*"))
    if folders:
        try:
            join(folders, work.folder)
        except OtherRunError:
            if parts:
                raise
        shutil.rmtree(work.folder / PARTS)  # parts that an earlier batch left, with other options, are of no use
    detection = _detect(work, work.folder)
    assert isinstance(detection, Detection)
    summary = detection.summary
    seconds, worker = time.perf_counter() - began + sum(parts), str(get_worker().name)
    outcome = succeeded(work.pair, summary, seconds=seconds, worker=worker)
    write_record(work.folder, work.known_by, outcome)
    return outcome


def _detect(work: Work, folder: Path, part: Part | None = None) -> Detection | Flow:
    """Continue this run; what is left there of one with other options or on another device is dropped."""
    plugin, waited, restart = _plugin(work.session), 0.0, False
    while True:
        control = Control(resume=not restart, restart=restart, stop=lambda: plugin.ending)
        images = work.pair.before, work.pair.after
        try:
            with plugin.session() as session:
                if part is not None:
                    return detect_part(*images, folder, part, work.options, session=session, control=control)
                return detect(*images, folder, work.options, session=session, control=control)
        except OtherRunError:
            restart = True
        except BusyError:
            if waited >= BUSY_SECONDS or plugin.ending:
                raise
            time.sleep(_LOOK_AGAIN)
            waited += _LOOK_AGAIN


def _plugin(name: str) -> WarmSession:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, WarmSession)
    return plugin
