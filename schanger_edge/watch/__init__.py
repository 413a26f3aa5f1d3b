"""Scenes arrive in a folder, each is compared with the newest earlier one of its place: `schanger-edge watch`."""

from schanger_edge.watch.service import watch
from schanger_edge.watch.settings import Settings
from schanger_edge.watch.status import Status, status
from schanger_edge.watch.wakeup import Wakeup

__all__ = ["Settings", "Status", "Wakeup", "status", "watch"]
