"""A watch from its beginning to its end: `schanger-edge watch`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from schanger_edge.errors import DiskFullError
from schanger_edge.files import locked, writing
from schanger_edge.run.detect import open_for
from schanger_edge.sessions import Session
from schanger_edge.watch.ledger import Ledger
from schanger_edge.watch.loop import PAUSE, Loop
from schanger_edge.watch.settings import Settings
from schanger_edge.watch.status import Status, status
from schanger_edge.watch.wakeup import Wakeup, ringing


def watch(
    settings: Settings,
    *,
    wakeup: Wakeup | None = None,
    say: Callable[[str], None] = print,
) -> Status:
    """Run pairs as their scenes arrive, until `wakeup.stop()` is called, or with `once` until all is done.

    Args:
        settings: what to watch, and how.
        wakeup: by which the watch is asked to stop.
        say: told in a sentence what happens.

    Returns:
        How things stand at the end.

    Raises:
        SchangerError: an option cannot be meant, another watch works on the folder, the engine failed, or, with
            `once`, something is left undone.
    """
    settings.check()
    wakeup = wakeup or Wakeup()
    paused = False
    while True:
        try:
            _watch(settings, wakeup, say)
            return status(settings.output)
        except DiskFullError as error:  # before the loop, which pauses by itself
            if settings.once or wakeup.stopping:
                raise
            if not paused:
                say(f"paused: {error}")
            paused = True
            wakeup.wait(PAUSE)


def _watch(settings: Settings, wakeup: Wakeup, say: Callable[[str], None]) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(settings.output))
        ledger = Ledger(settings.output)
        stack.callback(ledger.close)
        opened: list[Session] = []

        def session() -> Session:
            if not opened:
                opened.append(stack.enter_context(open_for(settings.options.engine)))
                say(f"{opened[0].device}, model {opened[0].card.name}")
            return opened[0]

        loop = Loop(settings, ledger, session, wakeup, say)
        if not settings.once:
            session()  # what is wrong with the model shows now, not when the first pair has come
            if settings.poll is None:
                stack.enter_context(ringing(wakeup, settings.inbox))
        loop.run()


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[None]:
    """The output folder, made where it is absent, held by this process alone until it ends."""
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        lock = locked(output / "watch.lock", f"another watch works on {output}: let it, or choose another folder.")
    try:
        yield
    finally:
        lock.release()
