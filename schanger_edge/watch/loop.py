"""The loop of a watch: look into the inbox, take in what has settled, pair it, run one pair, and again."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable

from schanger_edge.errors import DiskFullError, ProductError, SchangerError, StoppedError
from schanger_edge.sessions import Session
from schanger_edge.watch.inbox import Arrival, Settling, scan
from schanger_edge.watch.intake import Intake
from schanger_edge.watch.keep import candidate, expire, remove_expired
from schanger_edge.watch.ledger import HOOK_DUE, LOOKING, QUARANTINED, READY, Job, Ledger, Scene
from schanger_edge.watch.metrics import metrics, write_metrics
from schanger_edge.watch.notify import Pulse, notify
from schanger_edge.watch.pairing import earlier_one
from schanger_edge.watch.quarantine import Quarantine
from schanger_edge.watch.results import Results, plain_name
from schanger_edge.watch.settings import Settings
from schanger_edge.watch.wakeup import Wakeup
from schanger_edge.watch.worker import Worker

RESCAN = 30.0
"""Seconds after which the inbox is looked through even if no event came, where `poll` does not say otherwise."""
LULL = 1.0
"""Seconds between two looks, at least: a file that is copied makes many events."""
RETRY = 30.0
"""Seconds until what failed for a reason that may pass is tried again."""
PAUSE = 10.0
"""Seconds until a disk that was full is tried again."""
BEAT = 15.0
"""Seconds between two notes on how far a pair is, and between two files of metrics."""


class Loop:
    """Keeps going until it is asked to stop, or, with `once`, until all that can be done now is done.

    Args:
        session: opens the session, or gives the one that is open.
        wakeup: by which the loop is woken, and asked to stop.
        say: told in a sentence what happens.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, session: Callable[[], Session], wakeup: Wakeup,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._settings, self._ledger, self._wakeup, self._say = settings, ledger, wakeup, say
        self._quarantine, self._results = Quarantine(settings.output), Results(settings.output)
        self._intake = Intake(settings, ledger, self._quarantine, self._alive, say)
        self._worker = Worker(
            settings, ledger, self._results, self._quarantine, self._intake, open_session=session,
            progress=self._progress, stop=lambda: wakeup.stopping, say=say,
        )  # fmt: skip
        self._settling = Settling(settings.settle)
        self._listing: dict[str, Arrival] = {}
        self._looked = -math.inf  # when it was listed
        self._due: dict[object, float] = {}  # when what failed is tried again, by arrival or by a pair's name
        self._put_aside: set[int] = set()  # bad scenes that this process has tried to move
        self._candidates: set[int] = set()  # good scenes, when pairs were last made
        self._alone: set[int] = set()  # those of them for which there was no earlier one
        self._said: dict[str, str] = {}
        self._pulse = Pulse()
        self._paused = False
        self._noted = self._measured = -math.inf
        self._running = ""

    def run(self) -> None:
        """See the class.

        Raises:
            SchangerError: the engine or the ledger failed; with `once` also that the disk is full, or what is left.
        """
        notify("READY=1")
        first = math.inf
        while not self._wakeup.stopping:
            try:
                did = self._round()
                self._paused = False
            except StoppedError:
                break
            except DiskFullError as error:
                if self._settings.once:
                    raise
                self._pause(error)
                continue
            first = min(first, time.monotonic())
            if did:
                continue
            if self._settings.once and self._settling.remaining(self._looked, first) is None:
                break  # what has come or changed since the first look is for the next time
            self._note("waiting for scenes")
            self._wait(self._until_next())
        notify("STOPPING=1")
        self._end()

    def _round(self) -> bool:
        """Whether there was anything to do."""
        self._alive()
        if not self._list_inbox():
            return False
        self._finish_halves()
        took = self._take_in()
        self._drop_gone()
        self._pair()
        job = self._next_job()
        if job is not None:
            self._run(job)
        self._after_results(job)
        self._measure(force=took or job is not None)
        return took or job is not None

    def _list_inbox(self) -> bool:
        try:
            self._listing = {arrival.name: arrival for arrival in scan(self._settings.inbox)}
        except OSError as error:
            reason = f"{self._settings.inbox} cannot be listed ({error.strerror}): mount it again."
            if self._settings.once:
                raise SchangerError(reason) from error
            self._say_once("inbox", reason)
            return False
        finally:
            self._looked = time.monotonic()
        self._said.pop("inbox", None)
        return True

    def _finish_halves(self) -> None:
        """What a power cut or a full disk left half done: bad and old scenes that still lie in the inbox."""
        for scene in self._ledger.scenes(QUARANTINED):
            if scene.is_in(self._listing) and scene.id not in self._put_aside:
                self._intake.reject_again(scene, self._listing[scene.name])
                self._put_aside.add(scene.id)
        if self._settings.keep is not None:
            try:
                for name in remove_expired(self._ledger, self._results, self._listing):
                    self._say(f"removed {name}: its place has {self._settings.keep} newer ones.")
            except DiskFullError:
                raise
            except ProductError as error:
                self._say_once("keep", str(error))

    def _take_in(self) -> bool:
        """Whether anything new had settled."""
        new = self._ledger.unknown(self._listing.values())
        settled = [arrival for arrival in self._settling.settled(new, self._looked) if self._is_due(arrival)]
        settled.sort(key=lambda arrival: (arrival.main.mtime_ns, arrival.name))  # a copy is younger
        for arrival in settled:
            self._note(f"looking at {arrival.name}")
            if not self._intake.take(arrival, self._listing):
                self._due[arrival] = time.monotonic() + RETRY
        return bool(settled)

    def _pair(self) -> None:
        """Queue each good scene that has no partner, if by now there is an earlier one of its place."""
        ready = {
            scene.id: scene for scene in self._ledger.scenes(READY) if not self._ledger.is_gone(scene, self._listing)
        }
        unpaired = {scene.id for scene in self._ledger.unpaired()} & ready.keys()
        new = ready.keys() - self._candidates
        if new or unpaired - self._alone:
            candidates = [candidate(scene) for scene in ready.values()]
            for after in candidates:
                if after.id in unpaired:
                    among = [other for other in candidates if other.id in new or after.id not in self._alone]
                    before = earlier_one(after, among, self._settings.min_overlap)
                    if before is not None:
                        self._queue(ready[before.id], ready[after.id])
                        unpaired.discard(after.id)
        self._candidates, self._alone = set(ready), unpaired

    def _queue(self, before: Scene, after: Scene) -> None:
        taken = self._ledger.has_name(plain_name(before, after))
        name = self._results.free_name(before, after, taken)
        self._ledger.queue(after, before, name)
        self._say(f"queued {name}")

    def _drop_gone(self) -> None:
        """Take pairs from the queue one of whose files has gone, and forget files that went while they were read."""
        if not self._listing:  # it may be a share that is away
            return
        for job in self._ledger.queued():
            gone = any(self._ledger.is_gone(scene, self._listing) for scene in (job.before, job.after))
            if gone and not self._is_published(job):
                self._ledger.unqueue(job)
                self._results.remove(job.name)
        for scene in self._ledger.scenes(LOOKING):
            if not scene.is_in(self._listing):
                self._ledger.forget(scene)

    def _next_job(self) -> Job | None:
        """The oldest pair that can be run now."""
        for job in self._ledger.queued():
            present = job.before.is_in(self._listing) and job.after.is_in(self._listing)
            if self._is_due(job.name) and (present or self._is_published(job)):
                return job
        return None

    def _is_published(self, job: Job) -> bool:
        """Whether the watch was killed before its ledger knew."""
        return self._results.is_of(job.name, job.before, job.after)

    def _run(self, job: Job) -> None:
        free, wanted = self._worker.free(), self._settings.min_free
        if free < wanted:
            raise DiskFullError(
                f"{self._settings.output} has {free / 1e6:.0f} MB free, less than the {wanted / 1e6:.0f} MB of "
                "--min-free: make room there."
            )
        self._running = job.name
        self._note(f"running {job.name}")
        if not self._worker.run(job, self._listing):
            self._due[job.name] = time.monotonic() + RETRY

    def _after_results(self, job: Job | None) -> None:
        for published in self._ledger.jobs("WHERE hook = ?", (HOOK_DUE,)):
            self._note(f"hook on {published.name}")
            self._worker.run_hook(published)
        if job is not None and self._settings.keep is not None:
            expire(job.after, self._settings, self._ledger)

    def _is_due(self, what: object) -> bool:
        return self._due.get(what, -math.inf) <= time.monotonic() and not (self._settings.once and what in self._due)

    def _until_next(self) -> float:
        """Seconds until there may be something to do."""
        now = time.monotonic()
        waits = [self._settings.poll or RESCAN, *(due - now for due in self._due.values() if due > now)]
        settles = self._settling.remaining(self._looked)
        return min(waits if settles is None else [*waits, settles - (now - self._looked)])

    def _wait(self, seconds: float) -> None:
        self._wakeup.wait(seconds)
        if not self._wakeup.stopping:
            time.sleep(max(min(LULL, self._settings.settle / 4) - (time.monotonic() - self._looked), 0))

    def _pause(self, error: DiskFullError) -> None:
        if not self._paused:
            self._say(f"paused: {error}")
        self._paused = True
        with contextlib.suppress(DiskFullError):  # the ledger may lie on that disk
            self._note(f"paused: {error}")
        self._measure(force=False)
        self._pulse.beat()
        self._wakeup.wait(PAUSE)

    def _end(self) -> None:
        """Say what is left; with `once` it is an error that something is that could have been done."""
        queued = len(self._ledger.queued())
        stuck = [job.reason for job in self._ledger.queued()] + [scene.reason for scene in self._ledger.scenes(LOOKING)]
        with contextlib.suppress(DiskFullError):
            self._ledger.note(state=f"stopped, {queued} queued")
        self._measure(force=True)
        if self._settings.once and stuck and not self._wakeup.stopping:
            reason = next((reason for reason in stuck if reason), "the inbox is empty, is its share mounted?")
            raise SchangerError(f"{len(stuck)} are left for the next time: {reason}")
        self._say(f"stopped: {queued} pairs are queued, and kept." if queued else "stopped: no pair is queued.")

    def _alive(self) -> None:
        self._pulse.beat()
        if self._wakeup.stopping:
            raise StoppedError("the watch was asked to stop: what is known is kept.")

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._pulse.beat()
        if stage == "predict" and time.monotonic() - self._noted > BEAT:
            self._note(f"running {self._running}, {done / total:.0%}")

    def _note(self, state: str) -> None:
        """What `status` and systemd are told."""
        if self._said.get("state") != state or time.monotonic() - self._noted > BEAT:
            self._said["state"], self._noted = state, time.monotonic()
            self._ledger.note(state=state)
            notify(f"STATUS={state}")

    def _say_once(self, topic: str, text: str) -> None:
        if self._said.get(topic) != text:
            self._said[topic] = text
            self._say(text)

    def _measure(self, *, force: bool) -> None:
        path = self._settings.metrics
        if path is None or not (force or time.monotonic() - self._measured > BEAT):
            return
        self._measured = time.monotonic()
        try:
            write_metrics(path, metrics(self._ledger, paused=self._paused, free=self._worker.free()))
        except ProductError as error:
            self._say_once("metrics", str(error))
