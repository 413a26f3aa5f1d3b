"""A watch from its beginning to its end: `schanger-edge watch`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

from schanger_edge.errors import DiskFullError
from schanger_edge.files import held
from schanger_edge.progress import Tell
from schanger_edge.run.detect import open_for
from schanger_edge.sessions import Session
from schanger_edge.watch.ledger import Ledger
from schanger_edge.watch.loop import PAUSE, Loop
from schanger_edge.watch.settings import Settings
from schanger_edge.watch.station import Station
from schanger_edge.watch.status import Status, status
from schanger_edge.watch.wakeup import Wakeup, ringing


def watch(
    settings: Settings,
    *,
    wakeup: Wakeup | None = None,
    report: Callable[[str], None] = print,
    tell: Tell | None = None,
) -> Status:
    """Run pairs as their scenes arrive, until `wakeup.stop()` is called, or with `once` until all is done.

    Args:
        settings: what to watch, and how.
        wakeup: by which the watch is asked to stop.
        report: called with a sentence whenever something happens.
        tell: told how far each pair is, as `progress.Tell`, with its name as the fact `pair`.

    Returns:
        How things stand at the end.

    Raises:
        SchangerError: an option makes no sense, another watch works on the folder, the engine failed, or, with
            `once`, something is left undone.
    """
    settings.check()
    wakeup = wakeup or Wakeup()
    paused = False
    while True:
        try:
            _watch(settings, wakeup, report, tell)
            return status(settings.output)
        except DiskFullError as error:  # before the loop, which pauses by itself
            if settings.service.once or wakeup.stopping:
                raise
            if not paused:
                report(f"paused: {error}")
            paused = True
            wakeup.wait(PAUSE)


def _watch(settings: Settings, wakeup: Wakeup, report: Callable[[str], None], tell: Tell | None) -> None:
    with contextlib.ExitStack() as stack:
        refusal = f"another watch is using {settings.output}: leave it running, or choose another folder."
        stack.enter_context(held(settings.output, "watch.lock", refusal))
        ledger = stack.enter_context(contextlib.closing(Ledger(settings.output)))

        @functools.cache
        def session() -> Session:
            opened = stack.enter_context(open_for(settings.options.engine))
            report(f"{opened.device}, model {opened.card.name}")
            return opened

        loop = Loop(Station(settings, ledger, wakeup, session, report, tell))
        if not settings.service.once:
            session()  # what is wrong with the model shows now, not when the first pair has come
            if settings.service.poll is None:
                stack.enter_context(ringing(wakeup, settings.inbox, report))
        loop.run()
