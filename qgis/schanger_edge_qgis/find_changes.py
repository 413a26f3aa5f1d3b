"""The algorithm that finds what changed between two raster layers: `schanger-edge run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingUtils,
)

from .algorithm import CommandAlgorithm, Parameters
from .command import CommandError, arguments, further
from .loading import add_result

BEFORE, AFTER, OUTPUT, CLIP, EXTENT = "BEFORE", "AFTER", "OUTPUT", "CLIP", "EXTENT"
THRESHOLD, MIN_AREA, GSD, ALIGN, FURTHER = "THRESHOLD", "MIN_AREA", "GSD", "ALIGN", "OPTIONS"
START_OVER, LOAD = "START_OVER", "LOAD"
FILES = {"CHANGES": "changes.gpkg", "CHANGE": "change.tif", "PROBABILITY": "probability.tif", "REPORT": "report.html"}
PROJECT = "result.qgz"


class FindChanges(CommandAlgorithm):
    """`schanger-edge run`."""

    about = """Finds new and vanished buildings between two images of one place, and adds the result to the project:
    polygons with area and probability, the change map, the probability, and both dates.

    The images may differ in CRS, extent, pixel size and data type. The bundled model knows buildings at about 0.5 m per
    pixel: read finer images with a pixel size of 0.5.

    Cancel keeps what is finished. The same run into the same folder goes on from there.

    Which schanger-edge is called is chosen in Settings > Options > Processing > Providers > schanger-edge."""

    def __init__(self) -> None:
        super().__init__()
        self._folder: Path | None = None
        self._title = ""

    def name(self) -> str:
        """Its name in scripts."""
        return "findchanges"

    def displayName(self) -> str:
        """Its name in the toolbox."""
        return "Find changes"

    def shortDescription(self) -> str:
        """What it does."""
        return "Finds what changed between two images of one place."

    def tags(self) -> list[str]:
        """Words by which the toolbox finds it."""
        return ["change detection", "buildings", "compare", "before", "after", "difference"]

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Parameters, as `run` has them, and outputs."""
        self.add(QgsProcessingParameterRasterLayer(BEFORE, "Before: image of the first date"))
        self.add(QgsProcessingParameterRasterLayer(AFTER, "After: image of the second date"))
        self.add(
            QgsProcessingParameterFeatureSource(
                CLIP, "Area of interest: polygons", [QgsProcessing.TypeVectorPolygon], optional=True
            ),
            "Only what lies in these polygons is mapped.",
        )
        self.add(
            QgsProcessingParameterExtent(EXTENT, "Or area of interest: extent", optional=True),
            "Only what lies in this rectangle is mapped.",
        )
        self._add_numbers()
        self.add(
            QgsProcessingParameterBoolean(ALIGN, "Correct the offset between the dates", False),
            "For images that lie a few pixels apart.",
        )
        self.add(QgsProcessingParameterBoolean(LOAD, "Add the result to the project", True))
        self.add_engine()
        self.add(
            QgsProcessingParameterString(FURTHER, "Further options of schanger-edge run", optional=True),
            "As on the command line, such as --match --also geojson.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(START_OVER, "Start over where a run was cancelled (--restart)", False),
            "Otherwise an unfinished run in the folder goes on.",
            advanced=True,
        )
        self.add(QgsProcessingParameterFolderDestination(OUTPUT, "Folder for the result"))
        self.addOutput(QgsProcessingOutputVectorLayer("CHANGES", "Changes", QgsProcessing.TypeVectorPolygon))
        self.addOutput(QgsProcessingOutputRasterLayer("CHANGE", "Change map"))
        self.addOutput(QgsProcessingOutputRasterLayer("PROBABILITY", "Probability"))
        self.addOutput(QgsProcessingOutputFile("REPORT", "Report"))
        self.addOutput(QgsProcessingOutputNumber("COUNT", "Number of changes"))
        self.addOutput(QgsProcessingOutputNumber("AREA", "Changed area in square metres"))

    def _add_numbers(self) -> None:
        real = QgsProcessingParameterNumber.Double
        self.add(
            QgsProcessingParameterNumber(MIN_AREA, "Smallest change, in square metres", real, 10, minValue=0),
            "Smaller areas of change don't count; 0 counts every pixel.",
        )
        self.add(
            QgsProcessingParameterNumber(
                THRESHOLD, "Threshold of probability", real, optional=True, minValue=0, maxValue=1
            ),
            "Change is where the probability is greater; not set: the model's own.",
        )
        self.add(
            QgsProcessingParameterNumber(GSD, "Pixel size to read with, in metres", real, optional=True, minValue=0),
            "Not set: that of the first image. The bundled model knows about 0.5 m.",
        )

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        """Run, and say where the results are."""
        self._folder = None
        folder = Path(self.parameterAsString(parameters, OUTPUT, context))
        images = [self.image(parameters, name, context) for name in (BEFORE, AFTER)]
        flags = {
            "--output": str(folder),
            "--min-area": self.parameterAsDouble(parameters, MIN_AREA, context),
            "--threshold": self.number(parameters, THRESHOLD, context),
            "--gsd": self.number(parameters, GSD, context),
            "--align": self.parameterAsBool(parameters, ALIGN, context),
            **self._area(parameters, context, feedback),
            **self.engine(parameters, context),
        }
        flags["--restart" if self.parameterAsBool(parameters, START_OVER, context) else "--resume"] = True
        try:
            extra = further(self.parameterAsString(parameters, FURTHER, context))
        except CommandError as error:
            raise QgsProcessingException(str(error)) from None
        ended = self.command(["run", *images, *arguments(flags), *extra], feedback)
        if ended is None:
            return {}
        for line in ended.output.splitlines():
            feedback.pushInfo(line)
        if self.parameterAsBool(parameters, LOAD, context):
            dates = (self.parameterAsRasterLayer(parameters, name, context).name() for name in (BEFORE, AFTER))
            self._folder, self._title = folder, "Changes from {} to {}".format(*dates)
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        return {
            OUTPUT: str(folder),
            **{name: str(folder / file) for name, file in FILES.items()},
            "COUNT": summary["polygons"],
            "AREA": summary["area_m2"]["changed"],
        }

    def _area(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, str]:
        """The area of interest as flags."""
        polygons, extent = (parameters.get(name) not in (None, "") for name in (CLIP, EXTENT))
        if polygons and extent:
            raise QgsProcessingException("both polygons and an extent are given as the area of interest: leave one.")
        if polygons:
            path, layer = self.parameterAsCompatibleSourceLayerPathAndLayerName(
                parameters, CLIP, context, ["gpkg", "geojson", "shp"], "gpkg", feedback
            )
            return {"--clip": path, "--clip-layer": layer}
        if not extent:
            return {}
        world = QgsCoordinateReferenceSystem("EPSG:4326")
        rectangle = json.loads(self.parameterAsExtentGeometry(parameters, EXTENT, context, world).asJson())
        path = QgsProcessingUtils.generateTempFilename("area.geojson")
        feature = {"type": "Feature", "properties": {}, "geometry": rectangle}
        Path(path).write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
        return {"--clip": path}

    def postProcessAlgorithm(self, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, object]:
        """Add the layers to the project, where this is asked for."""
        if self._folder is not None:
            add_result(self._folder / PROJECT, self._title, context.project(), feedback)
        return {}
