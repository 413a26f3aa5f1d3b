"""schanger-edge in QGIS: a Processing provider that calls the command line in an environment of its own."""

from __future__ import annotations


def classFactory(iface: object) -> object:
    """What QGIS calls to get the plugin."""
    from .plugin import SchangerEdgePlugin

    return SchangerEdgePlugin()
