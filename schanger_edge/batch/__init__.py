"""Many pairs over Dask, on this machine or on a cluster: `schanger-edge batch`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schanger_edge.batch.options import Cluster
    from schanger_edge.batch.outcome import Outcome
    from schanger_edge.batch.results import Batch
    from schanger_edge.batch.service import batch

__all__ = ["Batch", "Cluster", "Outcome", "batch"]
_HOMES = {"Batch": "results", "Cluster": "options", "Outcome": "outcome", "batch": "service"}


def __getattr__(name: str) -> Any:
    """Loaded on first use: the flags of the command need no Dask."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
