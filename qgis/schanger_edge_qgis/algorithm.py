"""What the algorithms share: how they call the command line, and what they do with what it says."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtGui import QIcon

from .child import STEPS, Ended, Progress, call, problem
from .command import CommandError, program, shown
from .settings import DEVICE, MODEL, PROGRAM, setting

MODEL_PARAMETER, DEVICE_PARAMETER = "MODEL", "DEVICE"
_WARNING = "warning: "
Parameters = dict[str, Any]


class CommandAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is a command of schanger-edge.

    Attributes:
        about: its help, in paragraphs.
    """

    about = ""

    def createInstance(self) -> CommandAlgorithm:
        """Another one of its kind."""
        return type(self)()

    def icon(self) -> QIcon:
        """That of the provider."""
        return QIcon(self.svgIconPath())

    def svgIconPath(self) -> str:
        """The same."""
        return os.path.join(os.path.dirname(__file__), "icon.svg")

    def shortHelpString(self) -> str:
        """What stands beside the dialog."""
        return "".join(f"<p>{' '.join(part.split())}</p>" for part in self.about.split("\n\n"))

    def helpUrl(self) -> str:
        """The guide."""
        return "https://schanger-edge.github.io/schanger-edge/qgis/"

    def add(self, parameter: QgsProcessingParameterDefinition, tip: str = "", *, advanced: bool = False) -> None:
        """Add a parameter with what is shown when the mouse rests on it."""
        parameter.setHelp(tip)
        if advanced:
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
        self.addParameter(parameter)

    def add_engine(self) -> None:
        """The parameters for model and device, which the settings fill where they are empty."""
        self.add(
            QgsProcessingParameterString(MODEL_PARAMETER, "Model (empty: that of the settings)", optional=True),
            "An .onnx file, or a name that 'schanger-edge models' lists, such as levir-cd:base.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(DEVICE_PARAMETER, "Device (empty: that of the settings)", optional=True),
            "cpu, cpu:native, cuda, or any other that 'schanger-edge doctor' shows.",
            advanced=True,
        )

    def engine(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, str]:
        """Model and device as flags."""
        return {
            "--model": self.parameterAsString(parameters, MODEL_PARAMETER, context) or setting(MODEL),
            "--device": self.parameterAsString(parameters, DEVICE_PARAMETER, context) or setting(DEVICE),
        }

    def number(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> float | None:
        """An optional number; None where it is left empty."""
        given = parameters.get(name) not in (None, "")
        return self.parameterAsDouble(parameters, name, context) if given else None

    def image(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> str:
        """The file or the address of a raster layer."""
        layer = self.parameterAsRasterLayer(parameters, name, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, name))
        if layer.providerType() != "gdal":
            raise QgsProcessingException(
                f"{layer.name()} is no file that other programs can open: export it as a GeoTIFF and choose that."
            )
        return layer.source().split("|")[0]

    def command(
        self, arguments: list[str], feedback: QgsProcessingFeedback, hush: tuple[str, ...] = ()
    ) -> Ended | None:
        """Call schanger-edge; None if the user cancelled.

        Args:
            arguments: its command and flags.
            feedback: hears what it says.
            hush: warnings that mean nothing here.

        Raises:
            QgsProcessingException: it failed; one sentence.
        """

        shown_last: tuple[object, ...] = ()

        def hear(told: object) -> None:
            nonlocal shown_last
            if isinstance(told, Progress):
                if told.percent is not None and told.unit != STEPS:  # a few quick steps would fill the bar too soon
                    feedback.setProgress(told.percent)
                if shown_last != (told.stage, told.tenth):  # the dialog keeps each text in its log
                    shown_last = told.stage, told.tenth
                    feedback.setProgressText(str(told))
            elif not str(told).startswith(_WARNING):
                feedback.pushInfo(str(told))
            elif str(told)[len(_WARNING) :] not in hush:
                feedback.pushWarning(str(told)[len(_WARNING) :])

        try:
            command = [*program(setting(PROGRAM)), *arguments, "--progress", "json"]
            feedback.pushCommandInfo(shown(command))
            ended = call(command, hear, feedback.isCanceled)
        except CommandError as error:
            raise QgsProcessingException(str(error)) from None
        if feedback.isCanceled():
            return None
        if ended.code:
            raise QgsProcessingException(problem(ended, command))
        return ended
