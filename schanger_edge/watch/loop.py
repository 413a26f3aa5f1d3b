"""The loop of a watch: list the inbox, take in what has settled, pair it, run one pair, and again."""

from __future__ import annotations

import contextlib
import math
import time
import traceback

from schanger_edge.errors import DiskFullError, SchangerError, StoppedError
from schanger_edge.files import writing
from schanger_edge.watch.inbox import Settling, scan
from schanger_edge.watch.intake import put_aside, take
from schanger_edge.watch.ledger import EXPIRED, HOOK_DUE, LOOKING, QUARANTINED, QUEUED, READY, Job, Scene
from schanger_edge.watch.output import plain_name
from schanger_edge.watch.pairing import best_overlap, earlier_one, same_place, superseded
from schanger_edge.watch.station import RETRY, Station, notify
from schanger_edge.watch.wakeup import RESCAN
from schanger_edge.watch.worker import run, run_hooks

LULL = 1.0
"""Seconds between two listings, at least: a file that is copied causes many events."""
PAUSE = 10.0
"""Seconds until a disk that was full is tried again."""


class Loop:
    """Keeps going until it is asked to stop, or, with `once`, until all that can be done now is done."""

    def __init__(self, station: Station) -> None:
        self._station, self._settings, self._service = station, station.settings, station.settings.service
        self._ledger, self._output, self._wakeup = station.ledger, station.output, station.wakeup
        self._settling = Settling(self._service.settle)
        self._listed = -math.inf  # when
        self._put_aside: set[int] = set()  # bad scenes that this process has tried to move
        self._candidates: set[int] = set()  # good scenes, when pairs were last made
        self._alone: set[int] = set()  # those of them for which there was no earlier one
        self._best: dict[int, float] = {}  # by scene, the largest overlap with an earlier one that was too small

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
                self._station.paused = False
            except StoppedError:
                break
            except DiskFullError as error:
                if self._service.once:
                    raise
                self._station.pause(error)
                self._wakeup.wait(PAUSE)
                continue
            first = min(first, time.monotonic())
            if did:
                continue
            if self._service.once and self._settling.remaining(self._listed, first) is None:
                break  # what has come or changed since the first listing is for the next time
            self._station.note("waiting for scenes")
            self._wait()
        notify("STOPPING=1")
        self._end()

    def _round(self) -> bool:
        """Whether there was anything to do."""
        self._station.alive()
        if not self._list_inbox():
            return False
        self._finish_halves()
        did = self._take_in()
        self._drop_gone()
        self._pair()
        job = self._next_job()
        if job is not None:
            did = True
            run(self._station, job)
        run_hooks(self._station)
        if job is not None and self._service.keep is not None:
            self._expire(job.after, self._service.keep)
        self._station.measure(force=did)
        return did

    def _list_inbox(self) -> bool:
        try:
            self._station.listing = {arrival.name: arrival for arrival in scan(self._settings.inbox, self._refused)}
        except OSError as error:
            reason = f"{self._settings.inbox} cannot be listed ({error.strerror}): remount it."
            if self._service.once:
                raise SchangerError(reason) from error
            self._station.report_once("inbox", reason)
            return False
        finally:
            self._listed = time.monotonic()
        self._station.report_once("inbox", None)
        return True

    def _refused(self, name: str, reason: str) -> None:
        self._station.report_once(f"refused {name}", f"{name} cannot be read ({reason}): it is left alone.")

    def _finish_halves(self) -> None:
        """What a power cut or a full disk left half done: bad and expired scenes that are still in the inbox."""
        for scene in self._ledger.scenes(state=QUARANTINED):
            if scene.is_in(self._station.listing) and scene.id not in self._put_aside:
                put_aside(self._station, scene, self._station.listing[scene.name])
                self._put_aside.add(scene.id)
        if self._service.keep is not None:
            with self._station.surviving("keep"):
                for scene in self._ledger.scenes(state=EXPIRED):
                    self._remove(scene)

    def _remove(self, scene: Scene) -> None:
        """Delete an expired scene with its sidecars, and the result whose later date it is."""
        for job in self._ledger.jobs(after=scene.id):
            self._output.remove(job.name)
        if scene.is_in(self._station.listing):
            for file in reversed(self._station.listing[scene.name].files):
                with writing(file.path):
                    file.path.unlink(missing_ok=True)
            self._station.report(f"removed {scene.name}: its place has {self._service.keep} newer ones.")

    def _take_in(self) -> bool:
        """Whether anything new had settled."""
        new = self._ledger.unknown(self._station.listing.values())
        settled = [arrival for arrival in self._settling.settled(new, self._listed) if self._station.is_due(arrival)]
        settled.sort(key=lambda arrival: (arrival.main.mtime_ns, arrival.name))  # a copy is younger
        for arrival in settled:
            self._station.note(f"checking {arrival.name}")
            try:
                take(self._station, arrival)
            except (SchangerError, MemoryError):
                raise
            except Exception as error:  # the intake's own errors must not end the service
                traceback.print_exc()
                self._station.report(f"{arrival.name} will be tried again: {error or type(error).__name__}.")
                self._station.due[arrival] = time.monotonic() + RETRY
        return bool(settled)

    def _drop_gone(self) -> None:
        """Take pairs from the queue one of whose files has gone, and forget files that went while they were read."""
        if not self._station.listing:  # it may be a share that is away
            return
        for job in self._ledger.jobs(state=QUEUED):
            gone = any(self._ledger.is_gone(scene, self._station.listing) for scene in (job.before, job.after))
            if gone and not self._output.is_published(job):
                self._ledger.unqueue(job)
                self._output.remove(job.name)
        for scene in self._ledger.scenes(state=LOOKING):
            if not scene.is_in(self._station.listing):
                self._ledger.forget(scene)

    def _pair(self) -> None:
        """Queue each good scene that has no partner, if by now there is an earlier one of its place."""
        present = (s for s in self._ledger.scenes(state=READY) if not self._ledger.is_gone(s, self._station.listing))
        ready = {scene.id: scene for scene in present}
        unpaired = ready.keys() - self._ledger.paired()
        new = ready.keys() - self._candidates
        for number in [number for number in ready if number in unpaired and (new or number not in self._alone)]:
            among = [other for other in ready.values() if other.id in new or number not in self._alone]
            before = earlier_one(ready[number], among, self._settings.pairing.min_overlap)
            if before is not None:
                self._queue(before, ready[number])
                unpaired.discard(number)
            else:
                self._say_why(ready[number], among)
        self._candidates, self._alone = set(ready), unpaired

    def _say_why(self, scene: Scene, among: list[Scene]) -> None:
        """A scene that overlaps an earlier one too little to be compared with it: in the log, and by `status`."""
        best = best_overlap(scene, among)
        if best is None or best[1] <= self._best.get(scene.id, 0.0):
            return
        other, share = best
        self._best[scene.id] = share
        reason = (
            f"not compared: {other.name}, the earlier scene that overlaps it most, has {math.floor(100 * share)} % of "
            f"the smaller one in common, and --min-overlap asks for {self._settings.pairing.min_overlap:.0%}."
        )
        if reason != scene.reason:
            self._ledger.set(scene, reason=reason)
            self._station.report(f"{scene.name} is {reason}")

    def _queue(self, before: Scene, after: Scene) -> None:
        name = self._output.free_name(before, after, bool(self._ledger.jobs(name=plain_name(before, after))))
        self._ledger.queue(after, before, name)
        self._ledger.set(after, reason=None)
        self._station.report(f"queued {name}")

    def _next_job(self) -> Job | None:
        """The oldest pair that can be run now."""
        for job in self._ledger.jobs(state=QUEUED):
            present = job.before.is_in(self._station.listing) and job.after.is_in(self._station.listing)
            if self._station.is_due(job.name) and (present or self._output.is_published(job)):
                return job
        return None

    def _expire(self, newest: Scene, keep: int) -> None:
        """Mark the scenes of this place that have `keep` newer ones, unless a pair or a hook still needs them."""
        share = self._settings.pairing.min_overlap
        near = [scene for scene in self._ledger.scenes(state=READY) if same_place(newest, scene, share)]
        waiting = self._ledger.jobs(state=QUEUED) + self._ledger.jobs(hook=HOOK_DUE)
        needed = {scene.id for job in waiting for scene in (job.before, job.after)}
        for old in superseded(near, keep, share):
            if old.id not in needed:
                self._ledger.set(old, state=EXPIRED)

    def _wait(self) -> None:
        """Until there may be something to do."""
        now = time.monotonic()
        waits = [self._service.poll or RESCAN, *(due - now for due in self._station.due.values() if due > now)]
        settles = self._settling.remaining(self._listed)
        self._wakeup.wait(min(waits if settles is None else [*waits, settles - (now - self._listed)]))
        if not self._wakeup.stopping:
            time.sleep(max(min(LULL, self._service.settle / 4) - (time.monotonic() - self._listed), 0))

    def _end(self) -> None:
        """Report what is left; with `once` it is an error that something is that could have been done."""
        queued = self._ledger.jobs(state=QUEUED)
        stuck = [job.reason for job in queued] + [scene.reason for scene in self._ledger.scenes(state=LOOKING)]
        with contextlib.suppress(DiskFullError):
            self._ledger.note(f"stopped, {len(queued)} queued")
        self._station.measure(force=True)
        if self._service.once and stuck and not self._wakeup.stopping:
            reason = next((reason for reason in stuck if reason), "the inbox is empty; is its share mounted?")
            raise SchangerError(f"{len(stuck)} are left for the next start: {reason}")
        self._station.report(f"stopped: {f'{len(queued)} pairs stay queued.' if queued else 'no pair is queued.'}")
