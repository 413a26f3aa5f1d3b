"""The engines there are. `--device`, its help, `auto` and doctor follow from this list; a new engine is one line here.

Where `auto` has a choice, it takes the first that will do. Modules of engines import their libraries when they open.
"""

from __future__ import annotations

from schanger_edge.sessions import ort, ov
from schanger_edge.sessions.engine import Engine
from schanger_edge.sessions.native import engine as native
from schanger_edge.sessions.tensorrt import engine as tensorrt

AUTO = "auto"
ENGINES: list[Engine] = [
    tensorrt.ENGINE,
    ort.CUDA,
    native.ENGINE,
    ov.ENGINE,
    ort.CPU,
]


def device_names() -> list[str]:
    """All values of `--device`."""
    return sorted([AUTO, *(device for engine in ENGINES for device in engine.devices)])


def device_help() -> str:
    """The values of `--device`, for its help."""
    each = sorted(engine.help or ", ".join(engine.devices) for engine in ENGINES)
    return f"{', '.join(each)}, or {AUTO}: the best that is there."
