"""The plugin: it gives Processing its provider, and takes it away."""

from __future__ import annotations

from qgis.core import QgsApplication

from .provider import SchangerEdgeProvider


class SchangerEdgePlugin:
    """What QGIS loads; qgis_process calls `initProcessing` alone."""

    def __init__(self) -> None:
        self._provider: SchangerEdgeProvider | None = None

    def initProcessing(self) -> None:
        """Give Processing the provider, once."""
        if self._provider is None:
            self._provider = SchangerEdgeProvider()
            QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """The toolbox is all there is of a user interface."""
        self.initProcessing()

    def unload(self) -> None:
        """Take the provider away; its settings stay."""
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
