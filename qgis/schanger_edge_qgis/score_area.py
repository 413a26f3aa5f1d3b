"""The algorithm that scores a model on ground the user has labelled: `schanger-edge dataset make` and `evaluate`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
)

from .algorithm import CommandAlgorithm, Parameters
from .command import SPLIT, arguments, write_pairs

BEFORE, AFTER, LABELS, AREA, GSD = "BEFORE", "AFTER", "LABELS", "AREA", "GSD"
SCORES, GALLERY = "SCORES", "GALLERY"
_OTHER_SPLITS = ("train has no tiles.", "val has no tiles.")
NUMBERS = {"F1": "f1", "PRECISION": "precision", "RECALL": "recall", "IOU": "iou"}


class ScoreArea(CommandAlgorithm):
    """`schanger-edge evaluate` on tiles that are made for it."""

    about = """Compares a model with labels that you drew: polygons of all that changed between two images.

    Within the area you looked at, whatever lies outside the labels counts as unchanged. The area is cut into tiles of
    256 pixels; those that don't lie in it as a whole are left out, so it should be a few tiles wide, such as 400 m at
    0.5 m per pixel.

    The page shows the tiles with most errors. Don't score a model on ground that it was trained on."""

    def name(self) -> str:
        """Its name in scripts."""
        return "scorearea"

    def displayName(self) -> str:
        """Its name in the toolbox."""
        return "Score a labelled area"

    def shortDescription(self) -> str:
        """What it does."""
        return "Compares a model with polygons of what changed."

    def tags(self) -> list[str]:
        """Words by which the toolbox finds it."""
        return ["change detection", "accuracy", "evaluate", "validation", "F1", "labels"]

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Parameters and outputs."""
        polygons = [QgsProcessing.TypeVectorPolygon]
        self.add(QgsProcessingParameterRasterLayer(BEFORE, "Before: image of the first date"))
        self.add(QgsProcessingParameterRasterLayer(AFTER, "After: image of the second date"))
        self.add(QgsProcessingParameterFeatureSource(LABELS, "Labels: polygons of what changed", polygons))
        self.add(
            QgsProcessingParameterFeatureSource(AREA, "Area that you looked at: polygons", polygons, optional=True),
            "Not set: both images as a whole.",
        )
        self.add(
            QgsProcessingParameterNumber(
                GSD,
                "Pixel size to read with, in metres",
                QgsProcessingParameterNumber.Double,
                optional=True,
                minValue=0,
            ),
            "Not set: that of the first image.",
        )
        self.add_engine()
        self.add(QgsProcessingParameterFileDestination(SCORES, "Scores", "JSON (*.json)"))
        self.add(QgsProcessingParameterFileDestination(GALLERY, "Page of the worst tiles", "HTML (*.html)"))
        for name, word in NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, word))

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        """Make the tiles, score the model on them."""
        images = [self.image(parameters, name, context) for name in (BEFORE, AFTER)]
        label, layer = self.parameterAsCompatibleSourceLayerPathAndLayerName(
            parameters, LABELS, context, ["gpkg", "geojson", "shp"], "gpkg", feedback
        )
        area = ""
        if parameters.get(AREA):  # always a copy: the table has no column for its layer
            area = self.parameterAsCompatibleSourceLayerPath(parameters, AREA, context, [], "gpkg", feedback)
        scores, gallery = (self.parameterAsFileOutput(parameters, name, context) for name in (SCORES, GALLERY))
        with tempfile.TemporaryDirectory() as folder:
            table, tiles = Path(folder, "pairs.csv"), Path(folder, "tiles")
            write_pairs(table, *images, label, layer, area)
            gsd = {"--output": str(tiles), "--gsd": self.number(parameters, GSD, context)}
            if self.command(["dataset", "make", str(table), *arguments(gsd)], feedback, _OTHER_SPLITS) is None:
                return {}
            flags = {
                "--split": SPLIT,
                **self.engine(parameters, context),
                "--output": scores,
                "--gallery": gallery,
            }
            ended = self.command(["evaluate", str(tiles), *arguments(flags)], feedback)
        if ended is None:
            return {}
        for line in ended.output.splitlines():
            feedback.pushInfo(line)
        found = json.loads(Path(scores).read_text(encoding="utf-8"))
        return {SCORES: scores, GALLERY: gallery, **{name: found[key] for name, key in NUMBERS.items()}}
