"""Ctrl-C ends a run within two seconds, whatever it is doing, and says how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from schanger_edge.cli.app import err
from schanger_edge.errors import SchangerError

ORDERLY = 1.5
"""Seconds that an orderly end may take."""


@contextlib.contextmanager
def interruptible(output: Path) -> Iterator[None]:
    """Around a run that keeps what it has finished in `output`.

    Python acts on a signal only between two steps of its own, and one inference may take long. So a thread hears of it
    by signal.set_wakeup_fd, and ends the process where the orderly way takes longer than `ORDERLY`; what is finished is
    on the disk by then.
    """
    hears, told = socket.socketpair()
    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(hears, ended, output), name="interrupt", daemon=True).start()
    try:
        yield
    except (KeyboardInterrupt, SystemExit, SchangerError):
        ended.set()
        _say_how_to_go_on(output)
        raise
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        told.close()


def _watch(hears: socket.socket, ended: threading.Event, output: Path) -> None:
    with hears:
        while number := hears.recv(1):
            if number[0] in (signal.SIGINT, signal.SIGTERM) and not ended.wait(ORDERLY):
                err.show_cursor(True)
                err.print("\ninterrupted")
                _say_how_to_go_on(output)
                os._exit(128 + number[0])


def _say_how_to_go_on(output: Path) -> None:
    from schanger_edge.products.journal import unfinished

    state = unfinished(output)
    if state:
        err.print(f"the run is kept, {state}: the same command with --resume goes on.")
