"""What ends a watch's waiting: a file that arrives, or a request to stop."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from schanger_edge.errors import extra

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

RESCAN = 30.0
"""Seconds after which the inbox is listed even if no event came, where `poll` does not say otherwise."""


class Wakeup:
    """A bell for threads and signal handlers: unlike an Event, a lock alone may be used in both at once.

    A SimpleQueue may too, but before Python 3.13 it waits for ever where the time is up before it has begun to wait.

    Attributes:
        stopping: whether the watch was asked to stop.
    """

    def __init__(self) -> None:
        self._quiet = threading.Lock()
        self._quiet.acquire()
        self.stopping = False

    def ring(self) -> None:
        """End the waiting, now or when it begins."""
        with contextlib.suppress(RuntimeError):  # it has been rung already
            self._quiet.release()

    def stop(self) -> None:
        """Ask the watch to stop."""
        self.stopping = True
        self.ring()

    def wait(self, seconds: float) -> None:
        """Wait until it is rung, at most so long."""
        self._quiet.acquire(timeout=max(seconds, 0))


@contextlib.contextmanager
def ringing(wakeup: Wakeup, inbox: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Ring whenever something changes below the inbox, by the system's own events.

    A folder below it that may not be read is left out. Where the system gives no events at all, such as where it has
    no room for more, that is reported: the inbox is listed from time to time anyway.

    Raises:
        SchangerError: watchdog is not installed.
    """
    with extra("station"):
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):  # type: ignore[misc, unused-ignore]
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type not in ("opened", "closed_no_write"):  # the watch itself reads
                wakeup.ring()

    observer = Observer()
    try:
        observer.schedule(Handler(), str(inbox), recursive=True)
        observer.start()
    except OSError as error:
        reason = f"{inbox} cannot be watched for events ({error.strerror})"
        report(f"{reason}: it is listed every {RESCAN:.0f} seconds instead.")
    try:
        yield
    finally:
        observer.stop()
        if observer.is_alive():
            observer.join()
