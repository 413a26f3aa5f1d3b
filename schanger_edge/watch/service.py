"""A watch from its beginning to its end: `schanger-edge watch`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from schanger_edge.errors import DiskFullError
from schanger_edge.model.bundled import model_path
from schanger_edge.products.staging import locked, writing
from schanger_edge.run.options import check_engine
from schanger_edge.sessions import Session, open_session
from schanger_edge.watch.ledger import Ledger
from schanger_edge.watch.loop import PAUSE, Loop
from schanger_edge.watch.settings import Settings
from schanger_edge.watch.station import Station
from schanger_edge.watch.status import Status, status
from schanger_edge.watch.wakeup import Wakeup, ringing


def watch(
    settings: Settings,
    *,
    model: str | Path | None = None,
    wakeup: Wakeup | None = None,
    report: Callable[[str], None] = print,
    **engine: Any,
) -> Status:
    """Run pairs as their scenes arrive, until `wakeup.stop()` is called, or with `once` until all is done.

    Args:
        settings: what to watch, and how.
        model: an .onnx file, a plan, or the name of a bundled model; None takes `schanger-small`.
        wakeup: by which the watch is asked to stop.
        report: called with a sentence whenever something happens.
        engine: `device`, `threads` and `binding` of `open_session`.

    Returns:
        How things stand at the end.

    Raises:
        SchangerError: an option makes no sense, another watch works on the folder, the engine failed, or, with
            `once`, something is left undone.
    """
    settings.check()
    check_engine(None, None, engine.get("threads"))
    wakeup = wakeup or Wakeup()
    paused = False
    while True:
        try:
            _watch(settings, model, wakeup, report, engine)
            return status(settings.output)
        except DiskFullError as error:  # before the loop, which pauses by itself
            if settings.once or wakeup.stopping:
                raise
            if not paused:
                report(f"paused: {error}")
            paused = True
            wakeup.wait(PAUSE)


def _watch(
    settings: Settings, model: str | Path | None, wakeup: Wakeup, report: Callable[[str], None], engine: dict[str, Any]
) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(_held(settings.output))
        ledger = stack.enter_context(contextlib.closing(Ledger(settings.output)))

        @functools.cache
        def session() -> Session:
            opened = stack.enter_context(open_session(model_path(model), **engine))
            report(f"{opened.device}, model {opened.card.name}")
            return opened

        loop = Loop(Station(settings, ledger, wakeup, report), session)
        if not settings.once:
            session()  # what is wrong with the model shows now, not when the first pair has come
            if settings.poll is None:
                stack.enter_context(ringing(wakeup, settings.inbox))
        loop.run()


@contextlib.contextmanager
def _held(output: Path) -> Iterator[None]:
    """The output folder, made where it is absent, held by this process alone until it ends."""
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        lock = locked(output / "watch.lock", f"another watch works on {output}: let it, or choose another folder.")
    try:
        yield
    finally:
        lock.release()
