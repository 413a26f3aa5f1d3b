"""One pair at a time: run, publish, and judge what went wrong."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import traceback
from collections.abc import Callable
from typing import Any

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
from schanger_edge.scene.checking import probe
from schanger_edge.sessions import Session
from schanger_edge.watch.hook import run_hook
from schanger_edge.watch.inbox import Arrival
from schanger_edge.watch.intake import ATTEMPTS, STARTS, Intake, is_unchanged
from schanger_edge.watch.ledger import DONE, FAILED, HOOK_DUE, HOOK_FAILED, HOOK_RAN, NO_HOOK, Job, Ledger, Scene
from schanger_edge.watch.quarantine import Quarantine
from schanger_edge.watch.results import Results
from schanger_edge.watch.settings import Settings


class Worker:
    """Runs queued pairs on one session.

    Args:
        intake: puts aside a scene that turns out to be bad.
        open_session: gives the session, which stays open.
        progress: see `stages.Progress`.
        stop: whether the watch is to stop.
        say: told in a sentence what became of a pair.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, results: Results, quarantine: Quarantine, intake: Intake,
        *, open_session: Callable[[], Session], progress: Callable[[str, int, int], None],
        stop: Callable[[], bool], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._settings, self._ledger, self._results = settings, ledger, results
        self._quarantine, self._intake, self._open_session = quarantine, intake, open_session
        self._progress, self._stop, self._say = progress, stop, say

    def run(self, job: Job, listing: dict[str, Arrival]) -> bool:
        """Run and publish a pair, once; False where it is to be tried again later.

        Args:
            job: a queued pair.
            listing: all scenes in the inbox by name; those of the pair are among them.

        Raises:
            DiskFullError: there is no room for the result.
            StoppedError: the watch is to stop.
            SessionError, ModelError: the engine failed.
        """
        if job.starts >= STARTS:
            return self._fail(job, f"the process ended {STARTS} times while it ran this pair: see the system's log.")
        try:
            if not self._results.is_of(job.name, job.before, job.after):
                self._ledger.set_job(job, starts=job.starts + 1)
                self._make(job, listing)
                self._results.publish(job.name)
            self._finish(job)
        except (StoppedError, DiskFullError):
            self._was_no_crash(job)
            raise
        except SceneError as error:
            return self._blame(job, listing, error)
        except (SessionError, ModelError) as error:
            self._try_again(job, error)
            raise
        except Exception as error:  # the other pairs are not to suffer
            if isinstance(error, ProductError) and self.free() < self._settings.min_free:
                self._was_no_crash(job)
                raise DiskFullError(str(error)) from error
            if not isinstance(error, SchangerError):
                traceback.print_exc()
            return self._try_again(job, error)
        return True

    def run_hook(self, job: Job) -> None:
        """Run the hook on a published result; if it is killed meanwhile it is run again."""
        settings = self._settings
        path = self._results.path(job.name)
        reason = run_hook(settings.hook, job, path, settings.inbox, settings.hook_timeout) if settings.hook else None
        self._ledger.set_job(job, hook=HOOK_FAILED if reason else HOOK_RAN, hook_reason=reason)
        if reason:
            self._say(f"{job.name}: {reason}")

    def free(self) -> int:
        """Bytes that are free for results."""
        return shutil.disk_usage(self._settings.output).free

    def _make(self, job: Job, listing: dict[str, Arrival]) -> None:
        session = self._open_session()
        inputs = {"before": job.before, "after": job.after}
        told: dict[str, Any] = {date: _identity(scene) for date, scene in inputs.items()}
        options = self._settings.options
        told |= {"schanger_edge": __version__, "options": options.as_json()}
        told |= {"model": session.model_sha256, "device": session.device}
        folder = self._results.prepare(job.name, told, afresh=job.attempts > 0)
        if not self._results.is_made(job.name):
            before, after = (listing[scene.name].main.path for scene in inputs.values())
            control = Control(resume=True, progress=self._progress, stop=self._stop)
            detect(before, after, folder, options, session=session, control=control)

    def _finish(self, job: Job) -> None:
        summary = json.loads((self._results.path(job.name) / SUMMARY).read_text(encoding="utf-8"))
        pixels, seconds = summary["pixels"]["total"], summary["seconds"]["total"]
        hook = HOOK_DUE if self._settings.hook else NO_HOOK
        self._ledger.set_job(
            job, state=DONE, ended=time.time(), seconds=seconds, pixels=pixels, reason=None, hook=hook
        )  # fmt: skip
        self._quarantine.withdraw(job.name)
        self._say(f"published {job.name} ({pixels / 1e6:.2f} megapixels, {seconds:.1f} s)")

    def _blame(self, job: Job, listing: dict[str, Arrival], error: SceneError) -> bool:
        """Whose fault it is that a pair cannot be read: a file that has gone, a bad file, or that they do not match."""
        scenes = (job.before, job.after)
        if not all(is_unchanged(listing[scene.name]) for scene in scenes):
            self._ledger.unqueue(job)
            return True
        for scene in scenes:
            try:
                probe(str(listing[scene.name].main.path), **self._settings.reading)
            except SceneError as reason:
                self._intake.reject(scene, listing[scene.name], str(reason))
                self._ledger.unqueue(job)
                return True
        return self._fail(job, str(error))

    def _try_again(self, job: Job, error: Exception) -> bool:
        reason = str(error) or type(error).__name__
        if job.attempts + 1 >= ATTEMPTS:
            return self._fail(job, f"{reason} (tried {ATTEMPTS} times)")
        self._ledger.set_job(job, attempts=job.attempts + 1, starts=0, reason=reason)
        self._say(f"{job.name} will be tried again: {reason}")
        return False

    def _fail(self, job: Job, reason: str) -> bool:
        self._quarantine.tell(job.name, reason)
        self._ledger.set_job(job, state=FAILED, ended=time.time(), reason=reason)
        self._results.remove(job.name)
        self._say(f"failed {job.name}: {reason}")
        return True

    def _was_no_crash(self, job: Job) -> None:
        with contextlib.suppress(DiskFullError):
            self._ledger.set_job(job, starts=job.starts)


def _identity(scene: Scene) -> dict[str, Any]:
    """What tells a scene from all others."""
    return {
        "file": scene.name, "size": scene.size, "mtime_ns": scene.mtime_ns,
        "sha256": scene.sha256, "taken": scene.taken,
    }  # fmt: skip
