"""A result becomes a group of layers in the user's project."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingFeedback, QgsProject
from qgis.PyQt.QtCore import QCoreApplication, QThread


def add_result(path: Path, title: str, project: QgsProject | None, feedback: QgsProcessingFeedback) -> None:
    """Copy the layers of result.qgz, in its order and as it draws them, into a group at the top of a project.

    Nothing is added where there is no project, nor inside a model, which runs beside the main thread, where the project
    must not be touched; what a model adds is up to its author.
    """
    application = QCoreApplication.instance()
    if project is None or application is None or QThread.currentThread() != application.thread():
        return
    result = QgsProject()
    if not result.read(str(path)):
        feedback.reportError(f"{path} could not be read ({result.error()}): add change.tif and changes.gpkg yourself.")
        return
    group = project.layerTreeRoot().insertGroup(0, title)
    for node in result.layerTreeRoot().findLayers():
        layer = node.layer()
        if layer is None:
            continue
        copy = layer.clone()
        project.addMapLayer(copy, False)
        added = group.addLayer(copy)
        added.setItemVisibilityChecked(node.itemVisibilityChecked())
        added.setExpanded(False)
