"""What systemd hears of a service: ready, alive, stopping. See sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
import time

PULSE = 1.0
"""Seconds between two signs of life, at least."""
_PATIENCE = 1.0


def notify(message: str) -> None:
    """Send a message such as `READY=1` to the socket in $NOTIFY_SOCKET; nothing where there is none, or none reads."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # a name without a file
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(_PATIENCE)
        sender.sendto(message.encode(), address)


class Pulse:
    """Signs of life for systemd's watchdog, not more than it needs."""

    def __init__(self) -> None:
        self._last = -PULSE

    def beat(self) -> None:
        """The service is alive and gets on."""
        now = time.monotonic()
        if now - self._last >= PULSE:
            self._last = now
            notify("WATCHDOG=1")
