"""Runs one pair at a time: detect, publish, find out what went wrong, and run the hook."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from schanger_edge._version import __version__
from schanger_edge.errors import (
    DiskFullError,
    ModelError,
    ProductError,
    SceneError,
    SchangerError,
    SessionError,
    StoppedError,
)
from schanger_edge.products import SUMMARY
from schanger_edge.run.control import Control
from schanger_edge.run.detect import detect
from schanger_edge.run.options import RunOptions
from schanger_edge.scene.checking import probe
from schanger_edge.sessions import Session
from schanger_edge.watch.inbox import Arrival
from schanger_edge.watch.intake import Intake
from schanger_edge.watch.ledger import DONE, FAILED, HOOK_DUE, HOOK_FAILED, HOOK_RAN, NO_HOOK, Job
from schanger_edge.watch.output import is_made
from schanger_edge.watch.pairing import time_of_change
from schanger_edge.watch.station import ATTEMPTS, STARTS, Station

PLACEHOLDERS = ("{result}", "{before}", "{after}", "{name}")
"""In arguments of the hook."""


class Worker:
    """Runs queued pairs on the session that `session` opens, or gives where it is open.

    The intake puts aside a scene that turns out to be bad.
    """

    def __init__(self, station: Station, intake: Intake, session: Callable[[], Session]) -> None:
        self._station, self._intake, self._session = station, intake, session
        self._settings, self._ledger, self._output = station.settings, station.ledger, station.output

    def run(self, job: Job, listing: dict[str, Arrival]) -> None:
        """Run and publish a pair, once, or try it again later.

        Args:
            job: a queued pair.
            listing: all scenes in the inbox by name; those of the pair are among them.

        Raises:
            DiskFullError: there is no room for the result.
            StoppedError: the watch is to stop.
            SessionError, ModelError: the engine failed.
        """
        if self._lacks_room():
            raise DiskFullError(
                f"{self._settings.output} has {self._output.free() / 1e6:.0f} MB free, less than the "
                f"{self._settings.service.min_free / 1e6:.0f} MB of --min-free: free some space there."
            )
        self._station.running = job.name
        self._station.note(f"running {job.name}")
        if job.starts >= STARTS:
            self._fail(job, f"the process died {STARTS} times while running this pair: see the system log.")
            return
        try:
            if not self._output.is_published(job):
                self._ledger.set(job, starts=job.starts + 1)
                self._detect(job, listing)
                self._output.publish(job.name)
            self._finish(job)
        except (StoppedError, DiskFullError):
            self._was_no_crash(job)
            raise
        except SceneError as error:
            self._blame(job, listing, error)
        except (SessionError, ModelError) as error:
            self._try_again(job, error)
            raise
        except Exception as error:  # the other pairs must not suffer
            if isinstance(error, ProductError) and self._lacks_room():
                self._was_no_crash(job)
                raise DiskFullError(str(error)) from error
            if not isinstance(error, SchangerError):
                traceback.print_exc()
            self._try_again(job, error)

    def run_hooks(self) -> None:
        """Run the hook on the results for which it is due; one that is killed meanwhile runs again."""
        wanted, inbox, reason = self._settings.notification, self._settings.inbox, None
        for job in self._ledger.jobs(hook=HOOK_DUE):
            self._station.note(f"hook on {job.name}")
            if wanted.command:
                reason = run_hook(wanted.command, job, self._output.results / job.name, inbox, wanted.hook_timeout)
            self._ledger.set(job, hook=HOOK_FAILED if reason else HOOK_RAN, hook_reason=reason)
            if reason:
                self._station.report(f"{job.name}: {reason}")

    def _detect(self, job: Job, listing: dict[str, Arrival]) -> None:
        session, options, scenes = self._session(), self._settings.options, (job.before, job.after)
        known_by = ("size", "mtime_ns", "sha256", "taken")
        files = [{"file": scene.name, **{name: getattr(scene, name) for name in known_by}} for scene in scenes]
        made_of = {"before": files[0], "after": files[1], "schanger_edge": __version__, "options": options.as_json()}
        made_of |= {"model": session.model_sha256, "device": session.device}
        folder = self._output.prepare(job.name, made_of, afresh=job.attempts > 0)
        if not is_made(folder):
            before, after = (listing[scene.name].main.path for scene in scenes)
            wakeup = self._station.wakeup
            control = Control(resume=True, stop=lambda: wakeup.stopping, progress=self._station.progress)
            detect(before, after, folder, _dated(options, job), session=session, control=control)

    def _finish(self, job: Job) -> None:
        summary = json.loads((self._output.results / job.name / SUMMARY).read_text(encoding="utf-8"))
        figures = {"pixels": summary["pixels"]["total"], "seconds": summary["seconds"]["total"]}
        hook = HOOK_DUE if self._settings.notification.command else NO_HOOK
        self._ledger.set(job, state=DONE, ended=time.time(), reason=None, hook=hook, **figures)
        self._output.remove_reason(job.name)
        size = f"{figures['pixels'] / 1e6:.2f} megapixels"
        self._station.report(f"published {job.name} ({size}, {figures['seconds']:.1f} s)")

    def _blame(self, job: Job, listing: dict[str, Arrival], error: SceneError) -> None:
        """Find out why a pair cannot be read: a file has gone, a file is bad, or the two do not match."""
        arrivals = {scene: listing[scene.name] for scene in (job.before, job.after)}
        if not all(arrival.is_unchanged() for arrival in arrivals.values()):
            self._ledger.unqueue(job)
            return
        for scene, arrival in arrivals.items():
            try:
                probe(str(arrival.main.path), **self._settings.reading)
            except SceneError as reason:
                self._intake.reject(scene, arrival, str(reason))
                self._ledger.unqueue(job)
                return
        self._fail(job, str(error))

    def _try_again(self, job: Job, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if not self._station.retry(job, job.name, reason):
            self._fail(job, f"{reason} (tried {ATTEMPTS} times)")

    def _fail(self, job: Job, reason: str) -> None:
        self._output.write_reason(job.name, reason)
        self._ledger.set(job, state=FAILED, ended=time.time(), reason=reason)
        self._output.remove(job.name)
        self._station.report(f"failed {job.name}: {reason}")

    def _lacks_room(self) -> bool:
        return self._output.free() < self._settings.service.min_free

    def _was_no_crash(self, job: Job) -> None:
        with contextlib.suppress(DiskFullError):
            self._ledger.set(job, starts=job.starts)


def run_hook(command: Sequence[str], job: Job, result: Path, inbox: Path, timeout: float) -> str | None:
    """Run the hook on a result and wait for it. There is no shell.

    Args:
        command: program and arguments, in which each of `PLACEHOLDERS` is replaced.
        job: the pair.
        result: its folder.
        inbox: where its scenes are.
        timeout: seconds after which the hook and all that it started is killed.

    Returns:
        Why it failed, in a sentence; None where it did not.
    """
    values = (result.absolute(), (inbox / job.before.name).absolute(), (inbox / job.after.name).absolute(), job.name)
    filled = dict(zip(PLACEHOLDERS, map(str, values), strict=True))
    pattern = "|".join(map(re.escape, PLACEHOLDERS))
    arguments = [re.sub(pattern, lambda found: filled[found[0]], argument) for argument in command]
    own = {"start_new_session": True} if os.name == "posix" else {}
    try:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=2, **own)  # type: ignore[call-overload]
    except OSError as error:
        return f"the hook {command[0]} could not be started ({error.strerror}): make it executable."
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        return f"the hook {command[0]} took longer than {timeout:g} s and was killed: see --hook-timeout."
    return f"the hook {command[0]} exited with code {code}: see its output in the log." if code else None


def _dated(options: RunOptions, job: Job) -> RunOptions:
    """The options with the dates that the scenes' names may tell, for STAC; a file's time of change is none."""
    scenes = job.before, job.after
    dates = [scene.taken for scene in scenes if scene.taken != time_of_change(scene.mtime_ns)]
    if options.further.dates is not None or not options.further.stac or len(dates) < 2:
        return options
    return options.replace(dates=tuple(dates))
