"""Ctrl-C ends a run within two seconds, whatever it is doing, and says what is finished and how to continue."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from schanger_edge.cli.app import INTERRUPTED, err
from schanger_edge.errors import SchangerError
from schanger_edge.products import SUMMARY

ORDERLY = 1.5
"""Seconds that an orderly end may take."""


@contextlib.contextmanager
def interruptible(output: Path) -> Iterator[None]:
    """Around a run that keeps what it has finished in `output`.

    Python acts on a signal only between two steps of its own, and one inference may take long. So a thread hears of it
    by signal.set_wakeup_fd, and ends the process where the orderly way takes longer than `ORDERLY`; what is finished is
    on the disk by then.
    """
    hears, rings = socket.socketpair()
    rings.setblocking(False)
    before = signal.set_wakeup_fd(rings.fileno(), warn_on_full_buffer=False)
    ended = threading.Event()
    outcome = Outcome(output)
    threading.Thread(target=_watch, args=(hears, ended, outcome), name="interrupt", daemon=True).start()
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        ended.set()
        err.print(outcome.interrupted())
        if isinstance(error, SystemExit):
            raise
        raise SystemExit(INTERRUPTED) from None
    except SchangerError:
        ended.set()
        if kept := outcome.kept():
            err.print(kept)
        raise
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        rings.close()


class Outcome:
    """What a run leaves in its output folder, read from the disk whenever it is stopped.

    Args:
        output: the folder, before the run.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._before = self._summary()

    def interrupted(self) -> str:
        """The sentence after an interruption."""
        now = self._summary()
        if now is not None and now != self._before:  # it gets its name last
            return f"interrupted, but all results are complete in {self._output}."
        return f"interrupted: {self.kept() or 'no result was written.'}"

    def kept(self) -> str | None:
        """How to go on with what is finished; None where nothing is."""
        from schanger_edge.products.journal import unfinished

        state = unfinished(self._output)
        return None if state is None else f"the run is kept, {state}: repeat the command with --resume to continue."

    def _summary(self) -> tuple[int, int] | None:
        """What distinguishes the summary of one run from that of another."""
        try:
            stat = (self._output / SUMMARY).stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns


def _watch(hears: socket.socket, ended: threading.Event, outcome: Outcome) -> None:
    with hears:
        while number := hears.recv(1):
            if number[0] in (signal.SIGINT, signal.SIGTERM) and not ended.wait(ORDERLY):
                err.show_cursor(True)
                err.print(f"\n{outcome.interrupted()}")
                os._exit(128 + number[0])
