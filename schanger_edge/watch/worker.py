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
from collections.abc import Sequence
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
from schanger_edge.watch.intake import reject
from schanger_edge.watch.ledger import DONE, FAILED, HOOK_DUE, HOOK_FAILED, HOOK_RAN, NO_HOOK, Job
from schanger_edge.watch.output import is_made
from schanger_edge.watch.pairing import time_of_change
from schanger_edge.watch.station import ATTEMPTS, STARTS, Station


def run(station: Station, job: Job) -> None:
    """Run and publish a queued pair, whose scenes are listed, once, or try it again later.

    A scene that turns out to be bad is put aside.

    Raises:
        DiskFullError: there is no room for the result.
        StoppedError: the watch is to stop.
        SessionError, ModelError: the engine failed.
    """
    if _lacks_room(station):
        raise DiskFullError(
            f"{station.settings.output} has {station.output.free() / 1e6:.0f} MB free, less than the "
            f"{station.settings.service.min_free / 1e6:.0f} MB of --min-free: free some space there."
        )
    station.running = job.name
    station.note(f"running {job.name}")
    if job.starts >= STARTS:
        _fail(station, job, f"the process died {STARTS} times while running this pair: see the system log.")
        return
    try:
        if not station.output.is_published(job):
            station.ledger.set(job, starts=job.starts + 1)
            _detect(station, job)
            station.output.publish(job.name)
        _finish(station, job)
    except (StoppedError, DiskFullError):
        _was_no_crash(station, job)
        raise
    except SceneError as error:
        _blame(station, job, error)
    except (SessionError, ModelError) as error:
        _try_again(station, job, error)
        raise
    except Exception as error:  # the other pairs must not suffer
        if isinstance(error, ProductError) and _lacks_room(station):
            _was_no_crash(station, job)
            raise DiskFullError(str(error)) from error
        if not isinstance(error, SchangerError):
            traceback.print_exc()
        _try_again(station, job, error)


def run_hooks(station: Station) -> None:
    """Run the hook on the results for which it is due; one that is killed meanwhile runs again."""
    wanted, inbox, reason = station.settings.notification, station.settings.inbox, None
    for job in station.ledger.jobs(hook=HOOK_DUE):
        station.note(f"hook on {job.name}")
        if wanted.command:
            reason = run_hook(wanted.command, job, station.output.results / job.name, inbox, wanted.hook_timeout)
        station.ledger.set(job, hook=HOOK_FAILED if reason else HOOK_RAN, hook_reason=reason)
        if reason:
            station.report(f"{job.name}: {reason}")


def _detect(station: Station, job: Job) -> None:
    session, options, scenes = station.session(), station.settings.options, (job.before, job.after)
    known_by = ("size", "mtime_ns", "sha256", "taken")
    files = [{"file": scene.name, **{name: getattr(scene, name) for name in known_by}} for scene in scenes]
    made_of = {"before": files[0], "after": files[1], "schanger_edge": __version__, "options": options.as_json()}
    made_of |= {"model": session.model_sha256, "device": session.device}
    folder = station.output.prepare(job.name, made_of, afresh=job.attempts > 0)
    if not is_made(folder):
        before, after = (station.listing[scene.name].main.path for scene in scenes)
        control = Control(resume=True, stop=lambda: station.wakeup.stopping, progress=station.progress)
        detect(before, after, folder, _dated(options, job), session=session, control=control)


def _finish(station: Station, job: Job) -> None:
    summary = json.loads((station.output.results / job.name / SUMMARY).read_text(encoding="utf-8"))
    figures = {"pixels": summary["pixels"]["total"], "seconds": summary["seconds"]["total"]}
    hook = HOOK_DUE if station.settings.notification.command else NO_HOOK
    station.ledger.set(job, state=DONE, ended=time.time(), reason=None, hook=hook, **figures)
    station.output.remove_reason(job.name)
    size = f"{figures['pixels'] / 1e6:.2f} megapixels"
    station.report(f"published {job.name} ({size}, {figures['seconds']:.1f} s)")


def _blame(station: Station, job: Job, error: SceneError) -> None:
    """Find out why a pair cannot be read: a file has gone, a file is bad, or the two do not match."""
    arrivals = {scene: station.listing[scene.name] for scene in (job.before, job.after)}
    if not all(arrival.is_unchanged() for arrival in arrivals.values()):
        station.ledger.unqueue(job)
        return
    for scene, arrival in arrivals.items():
        try:
            probe(str(arrival.main.path), **station.settings.reading)
        except SceneError as reason:
            reject(station, scene, arrival, str(reason))
            station.ledger.unqueue(job)
            return
    _fail(station, job, str(error))


def _try_again(station: Station, job: Job, error: Exception) -> None:
    reason = str(error) or type(error).__name__
    if not station.retry(job, job.name, reason):
        _fail(station, job, f"{reason} (tried {ATTEMPTS} times)")


def _fail(station: Station, job: Job, reason: str) -> None:
    station.output.write_reason(job.name, reason)
    station.ledger.set(job, state=FAILED, ended=time.time(), reason=reason)
    station.output.remove(job.name)
    station.report(f"failed {job.name}: {reason}")


def _lacks_room(station: Station) -> bool:
    return station.output.free() < station.settings.service.min_free


def _was_no_crash(station: Station, job: Job) -> None:
    with contextlib.suppress(DiskFullError):
        station.ledger.set(job, starts=job.starts)


def run_hook(command: Sequence[str], job: Job, result: Path, inbox: Path, timeout: float) -> str | None:
    """Run the hook on a result and wait for it. There is no shell.

    Args:
        command: program and arguments, in which `{result}`, `{before}`, `{after}` and `{name}` are replaced.
        job: the pair.
        result: its folder.
        inbox: where its scenes are.
        timeout: seconds after which the hook and all that it started is killed.

    Returns:
        Why it failed, in a sentence; None where it did not.
    """
    values = (result.absolute(), (inbox / job.before.name).absolute(), (inbox / job.after.name).absolute(), job.name)
    filled = dict(zip(("{result}", "{before}", "{after}", "{name}"), map(str, values), strict=True))
    pattern = "|".join(map(re.escape, filled))
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
