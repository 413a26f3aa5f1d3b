"""What a watch says of itself: to people, in its ledger, to systemd, and to Prometheus."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import socket
import time
from collections.abc import Callable, Iterator

from schanger_edge.errors import DiskFullError, ProductError, StoppedError, printable
from schanger_edge.progress import Tell
from schanger_edge.sessions import Session
from schanger_edge.watch.inbox import Arrival
from schanger_edge.watch.ledger import Job, Ledger, Scene
from schanger_edge.watch.output import Output
from schanger_edge.watch.settings import Settings
from schanger_edge.watch.status import write_metrics
from schanger_edge.watch.wakeup import Wakeup

BEAT = 15.0
"""Seconds between two notes on how far a pair is, and between two files of metrics."""
PULSE = 1.0
"""Seconds between two signs of life, at least."""
ATTEMPTS, RETRY = 3, 30.0
"""At what fails for a reason that may pass, such as a share that is away; and the seconds between them."""
STARTS = 10
"""Silent ends of the process (it was killed, or crashed) after which a scene or pair is not tried again."""
_PATIENCE = 1.0


@dataclasses.dataclass
class Station:
    """What all parts of a watch share, and how they say what it is doing.

    Attributes:
        settings: what is watched, and how.
        ledger: of the output folder.
        wakeup: by which the watch is asked to stop.
        session: opens the session, or gives the one that is open.
        listener: called with a sentence whenever something happens.
        tell: told how far each pair is, with its name.
        listing: all scenes in the inbox by name.
        running: name of the pair that is being run.
        paused: whether it waits for room on the disk.
        due: when what failed is tried again, by arrival or by a pair's name.
        output: its folder.
    """

    settings: Settings
    ledger: Ledger
    wakeup: Wakeup
    session: Callable[[], Session]
    listener: Callable[[str], None]
    tell: Tell | None
    listing: dict[str, Arrival] = dataclasses.field(default_factory=dict)
    running: str = ""
    paused: bool = False
    due: dict[object, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.output = Output(self.settings.output)
        self._reported: dict[str, str] = {}
        self._beaten = self._noted = self._measured = -math.inf

    def report(self, text: str) -> None:
        """Something has happened: one line, whatever the names in it hold."""
        self.listener(printable(text))

    def alive(self) -> None:
        """The watch makes progress; StoppedError where it is to stop."""
        self.beat()
        if self.wakeup.stopping:
            raise StoppedError("the watch was asked to stop: its state is kept.")

    def beat(self) -> None:
        """Sign of life for systemd's watchdog, not more often than it needs."""
        if time.monotonic() - self._beaten >= PULSE:
            self._beaten = time.monotonic()
            notify("WATCHDOG=1")

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far the running pair is; see `stages.Progress`."""
        self.beat()
        if self.tell is not None:
            self.tell(stage, done, total, pair=self.running)
        if stage == "predict" and time.monotonic() - self._noted > BEAT:
            self.note(f"running {self.running}, {done / total:.0%}")

    def note(self, state: str) -> None:
        """What the watch does now, for `status` and systemd."""
        if self._reported.get("state") != state or time.monotonic() - self._noted > BEAT:
            self._reported["state"], self._noted = state, time.monotonic()
            self.ledger.note(state)
            notify(f"STATUS={printable(state)}")

    def retry(self, row: Scene | Job, known_as: object, reason: str) -> bool:
        """Try later what failed for a reason that may pass; False where it has been tried often enough."""
        if row.attempts + 1 >= ATTEMPTS:
            return False
        self.ledger.set(row, attempts=row.attempts + 1, starts=0, reason=reason)
        self.report(f"{row.name} will be retried: {reason}")
        self.due[known_as] = time.monotonic() + RETRY
        return True

    def is_due(self, known_as: object) -> bool:
        """Whether this may be tried now; with `once` nothing is tried twice."""
        return known_as not in self.due or not (self.settings.service.once or self.due[known_as] > time.monotonic())

    def report_once(self, topic: str, text: str | None) -> None:
        """Report unless the last report on this topic was the same; None ends the topic."""
        if text is not None and self._reported.get(topic) != text:
            self.report(text)
        self._reported[topic] = text or ""

    @contextlib.contextmanager
    def surviving(self, topic: str, prefix: str = "") -> Iterator[None]:
        """What cannot be written is reported once, and does not end the watch; but for want of room it waits."""
        try:
            yield
        except DiskFullError:
            raise
        except ProductError as error:
            self.report_once(topic, f"{prefix}{error}")

    def pause(self, error: DiskFullError) -> None:
        """The watch waits for room on the disk."""
        if not self.paused:
            self.report(f"paused: {error}")
        self.paused = True
        with contextlib.suppress(DiskFullError):  # the ledger may be on that disk
            self.note(f"paused: {error}")
        self.measure()
        self.beat()

    def measure(self, *, force: bool = False) -> None:
        """Write the metrics, not too often unless forced."""
        path = self.settings.notification.metrics
        if path is None or not (force or time.monotonic() - self._measured > BEAT):
            return
        self._measured = time.monotonic()
        with self.surviving("metrics"):
            write_metrics(path, self.ledger, paused=self.paused, free=self.output.free())


def notify(message: str) -> None:
    """Send a message such as `READY=1` to the socket in $NOTIFY_SOCKET, see sd_notify(3).

    Nothing happens where there is none, or where nobody reads it.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # a name without a file
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(_PATIENCE)
        sender.sendto(message.encode(), address)
