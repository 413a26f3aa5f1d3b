"""Ctrl-C ends a run within two seconds, whatever it is doing, and says what is finished and how to continue."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from schanger_edge.cli.talk import INTERRUPTED, err, fail
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
    wakeup = signal.set_wakeup_fd(rings.fileno(), warn_on_full_buffer=False)
    ended, before = threading.Event(), _summary(output)

    def outcome() -> str:
        if _summary(output) not in (None, before):  # it gets its name last
            return f"interrupted, but all results are complete in {output}."
        return f"interrupted: {_kept(output) or 'no result was written.'}"

    def watch() -> None:
        with hears:
            while number := hears.recv(1):
                if number[0] in (signal.SIGINT, signal.SIGTERM) and not ended.wait(ORDERLY):
                    err.show_cursor(True)
                    fail(outcome())
                    os._exit(128 + number[0])

    threading.Thread(target=watch, name="interrupt", daemon=True).start()
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        ended.set()
        fail(outcome())
        if isinstance(error, SystemExit):
            raise
        raise SystemExit(INTERRUPTED) from None
    except SchangerError:
        ended.set()
        if kept := _kept(output):
            fail(kept)
        raise
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup)
        rings.close()


def _kept(output: Path) -> str | None:
    """How to go on with what is finished; None where nothing is."""
    from schanger_edge.products.journal import unfinished

    state = unfinished(output)
    return None if state is None else f"the run is kept, {state}: repeat the command with --resume to continue."


def _summary(output: Path) -> tuple[int, int] | None:
    """What distinguishes the summary of one run from that of another."""
    with contextlib.suppress(OSError):
        stat = (output / SUMMARY).stat()
        return stat.st_ino, stat.st_mtime_ns
    return None
