"""Where plans and what was found out about engines are kept: the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from schanger_edge.errors import SessionError

CACHE_VARIABLE = "SCHANGER_EDGE_CACHE"
OTHER_CACHE = f"set {CACHE_VARIABLE} to a writable folder."


def engine_cache() -> Path:
    """The user's own folder: in SCHANGER_EDGE_CACHE, else where the system keeps caches (Linux: ~/.cache).

    Raises:
        SessionError: this user has no home folder.
    """
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own) / "engines"
    try:
        folder = user_cache_path("schanger-edge", appauthor=False)
    except RuntimeError:
        folder = Path("~")  # as older versions leave it
    if folder.parts[0] == "~":
        raise SessionError(f"there is no home folder for the engine cache: {OTHER_CACHE}")
    return folder / "engines"
