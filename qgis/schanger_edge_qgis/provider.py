"""The Processing provider: its algorithms and its settings, which Processing keeps with those of QGIS."""

from __future__ import annotations

import os

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .find_changes import FindChanges
from .score_area import ScoreArea
from .settings import DEVICE, MODEL, PROGRAM

ICON = os.path.join(os.path.dirname(__file__), "icon.svg")


class SchangerEdgeProvider(QgsProcessingProvider):
    """`schanger-edge` in the toolbox, and in Settings > Options > Processing > Providers."""

    def id(self) -> str:
        """Its name in scripts and for qgis_process."""
        return "schanger-edge"

    def name(self) -> str:
        """Its name in the toolbox."""
        return "schanger-edge"

    def icon(self) -> QIcon:
        """Our own drawing."""
        return QIcon(ICON)

    def svgIconPath(self) -> str:
        """The same."""
        return ICON

    def load(self) -> bool:
        """Show the settings and the algorithms."""
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        for setting in (
            Setting(
                self.name(), PROGRAM, "Python that has schanger-edge, or its executable", "", valuetype=Setting.FILE
            ),
            Setting(self.name(), MODEL, "Model: an .onnx file or a name (empty: the bundled one)", ""),
            Setting(self.name(), DEVICE, "Device, such as cpu or cuda (empty: the best that is there)", ""),
        ):
            ProcessingConfig.addSetting(setting)
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Take the settings out of the list; their values stay."""
        for name in (PROGRAM, MODEL, DEVICE):
            ProcessingConfig.removeSetting(name)

    def loadAlgorithms(self) -> None:
        """What the toolbox lists."""
        for algorithm in (FindChanges(), ScoreArea()):
            self.addAlgorithm(algorithm)
