"""Change maps from two georeferenced images: `from schanger_edge import detect`."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from schanger_edge._version import __version__
from schanger_edge.errors import SchangerError

if TYPE_CHECKING:
    from schanger_edge.evaluation.evaluate import Evaluation, evaluate
    from schanger_edge.run.control import Control
    from schanger_edge.run.detect import Detection, detect
    from schanger_edge.run.options import RunOptions

# ONNX Runtime 1.32 tells its maker of every session, whatever disable_telemetry_events() says. Nothing leaves here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Control",
    "Detection",
    "Evaluation",
    "RunOptions",
    "SchangerError",
    "__version__",
    "detect",
    "evaluate",
]

_HOMES = {
    "Control": "run.control",
    "Detection": "run.detect",
    "Evaluation": "evaluation.evaluate",
    "RunOptions": "run.options",
    "detect": "run.detect",
    "evaluate": "evaluation.evaluate",
}


def __getattr__(name: str) -> Any:
    """Loaded on first use, so that `schanger-edge --help` need not load GDAL and an engine."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
