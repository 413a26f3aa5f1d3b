"""Run by QGIS's own Python: what QGIS says of a run's folder, as JSON on standard output, and pictures of its map.

qgis_look.py FOLDER MAP.png [ALL.png]    # the project as it opens; with all of its layers switched on
"""

import json
import os
import sys

os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qgis.core import (
    QgsApplication,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize


def about(layer):
    """How a layer is drawn."""
    renderer = layer.renderer()
    told = {
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "renderer": renderer.type(),
        "source": layer.source(),
    }
    if isinstance(layer, QgsVectorLayer):
        told["names"] = [layer.attributeDisplayName(index) for index in range(layer.fields().count())]
        told["labels"] = layer.labeling().settings().fieldName if layer.labelsEnabled() else None
        told["map_tip"] = layer.mapTipTemplate()
    else:
        told["legend"] = [(label, color.alpha()) for label, color in renderer.legendSymbologyItems()]
    if renderer.type() == "multibandcolor" and renderer.redContrastEnhancement():
        stretch = renderer.redContrastEnhancement()
        told["red"] = [stretch.minimumValue(), stretch.maximumValue()]
    return told


def picture(layers, crs, target):
    """The project's map as a picture."""
    settings = QgsMapSettings()
    settings.setOutputSize(QSize(600, 600))
    settings.setDestinationCrs(crs)
    settings.setExtent(layers[-1].extent())
    settings.setLayers(layers)
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(target)


def main(folder, target, everything=None):
    application = QgsApplication([], False)
    application.initQgis()
    warnings = []
    QgsApplication.messageLog().messageReceived.connect(lambda text, tag, level: warnings.append(f"{tag}: {text}"))
    project = QgsProject.instance()
    found = {"read": project.read(os.path.join(folder, "result.qgz")), "crs": project.crs().authid()}
    found["layers"] = {layer.name(): about(layer) for layer in project.mapLayers().values()}
    root = project.layerTreeRoot()
    found["order"] = [node.name() for node in root.children()]
    found["shown"] = [layer.name() for layer in root.checkedLayers()]
    package = QgsVectorLayer(f"{os.path.join(folder, 'changes.gpkg')}|layername=changes", "changes", "ogr")
    maps = {name: QgsRasterLayer(os.path.join(folder, name), name) for name in ("change.tif", "probability.tif")}
    found["alone"] = {name: about(layer) for name, layer in {"changes.gpkg": package, **maps}.items()}
    found["warnings"] = warnings
    picture(root.checkedLayers(), project.crs(), target)
    if everything:
        picture(root.layerOrder(), project.crs(), everything)
    print(json.dumps(found))


main(*sys.argv[1:])
