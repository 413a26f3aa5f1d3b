"""The settings of the provider by name."""

from __future__ import annotations

from processing.core.ProcessingConfig import ProcessingConfig

PROGRAM = "SCHANGER_EDGE_PROGRAM"
MODEL = "SCHANGER_EDGE_MODEL"
DEVICE = "SCHANGER_EDGE_DEVICE"


def setting(name: str) -> str:
    """What the user chose; empty where nothing."""
    return str(ProcessingConfig.getSetting(name) or "").strip()
