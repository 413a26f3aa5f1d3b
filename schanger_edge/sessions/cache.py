"""Where plans and what was found out about engines are kept: the user's cache folder."""

from __future__ import annotations

from pathlib import Path

from schanger_edge.errors import SessionError
from schanger_edge.files import OTHER_CACHE, cache_folder

__all__ = ["OTHER_CACHE", "engine_cache"]


def engine_cache() -> Path:
    """The folder, which may not exist yet.

    Raises:
        SessionError: this user has no home folder.
    """
    return cache_folder("engine", SessionError)
