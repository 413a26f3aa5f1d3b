"""Change maps from two georeferenced images: `from schanger_edge import detect`."""

import contextlib
import importlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schanger_edge._version import __version__
from schanger_edge.errors import SchangerError

if TYPE_CHECKING:
    from schanger_edge.evaluation.evaluate import Evaluation, evaluate
    from schanger_edge.run.control import Control
    from schanger_edge.run.detect import Detection, detect
    from schanger_edge.run.options import RunOptions
    from schanger_edge.scene import open_pair
    from schanger_edge.sessions import open_session

__all__ = [
    "Control",
    "Detection",
    "Evaluation",
    "RunOptions",
    "SchangerError",
    "__version__",
    "detect",
    "evaluate",
    "open_pair",
    "open_session",
]

_HOMES = {
    "Control": "run.control",
    "Detection": "run.detect",
    "Evaluation": "evaluation.evaluate",
    "RunOptions": "run.options",
    "detect": "run.detect",
    "evaluate": "evaluation.evaluate",
    "open_pair": "scene",
    "open_session": "sessions",
}


def _leave_foreign_data() -> None:
    """Have rasterio use the data that it brings, not those of QGIS, conda or PostGIS that the environment names.

    Versions of PROJ don't read each other's databases: every CRS would be unknown. A folder whose database rasterio's
    PROJ reads is left, because it may hold grids. A rasterio that brings none, such as Debian's, keeps what is named.
    """
    named = [name for name in ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA") if name in os.environ]
    found = importlib.util.find_spec("rasterio") if named else None
    if found is None or found.origin is None:
        return
    home = Path(found.origin).parent
    wanted = _layout_of(home / "proj_data")
    for name in named:
        if name == "GDAL_DATA":
            foreign = (home / "gdal_data").is_dir()
        else:
            theirs = _layout_of(Path(os.environ[name]))
            foreign = bool(wanted) and (theirs[:1] != wanted[:1] or theirs < wanted)
        if foreign:
            del os.environ[name]


def _layout_of(folder: Path) -> list[int]:
    """Major and minor version of a PROJ database's layout; empty where there is none."""
    import sqlite3

    asked = "SELECT value FROM metadata WHERE key LIKE 'DATABASE.LAYOUT.VERSION.%' ORDER BY key"
    address = f"{(folder / 'proj.db').absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as file:
            return [int(value) for (value,) in file.execute(asked)]
    except (sqlite3.Error, ValueError):
        return []


_leave_foreign_data()
# ONNX Runtime 1.32 tells its maker of every session, whatever disable_telemetry_events() says. Nothing leaves here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Loaded on first use, so that `schanger-edge --help` need not load GDAL and an engine."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
