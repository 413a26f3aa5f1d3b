"""Run by QGIS's own Python: the plugin at work, as QGIS runs it, in a thread; what came of it as JSON.

qgis_plugin.py REQUEST.json, an object with `profile` (a folder), `settings` by name, and `runs`: each with `algorithm`,
`parameters`, and maybe `cancel_at` (percent of a stage, at which the user cancels), `picture` and `dialog` (files).
"""

import json
import os
import sys
import time

os.environ["QT_QPA_PLATFORM"] = "offscreen"
import qgis.utils
from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
    QgsSettings,
)
from qgis.PyQt.QtCore import QCoreApplication, QEventLoop, QSize

PLUGINS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "qgis")


class Told(QgsProcessingFeedback):
    """What QGIS's log and bar show."""

    def __init__(self, cancel_at):
        super().__init__(False)
        self.lines, self.shares, self._cancel_at = [], [], cancel_at
        self.progressChanged.connect(self._moved)

    def _moved(self, share):
        self.shares.append(share)
        if self._cancel_at and share >= self._cancel_at:
            self.cancel()

    def _say(self, kind, text):
        self.lines.append(f"{kind}: {text}")

    def setProgressText(self, text):
        self._say("progress", text)

    def pushInfo(self, text):
        self._say("info", text)

    def pushWarning(self, text):
        self._say("warning", text)

    def pushCommandInfo(self, text):
        self._say("command", text)

    def reportError(self, error, fatalError=False):
        self._say("error", error)


def run(request):
    """One algorithm in a thread, as its dialog runs it."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(request["algorithm"])
    context, feedback = QgsProcessingContext(), Told(request.get("cancel_at"))
    context.setProject(QgsProject.instance())
    context.setFeedback(feedback)
    ended = []
    task = QgsProcessingAlgRunnerTask(algorithm, request["parameters"], context, feedback)
    task.executed.connect(lambda good, results: ended.append((good, results)))
    begun = time.monotonic()
    QgsApplication.taskManager().addTask(task)
    while not ended:
        QCoreApplication.processEvents(QEventLoop.AllEvents, 100)
        time.sleep(0.02)
    root = QgsProject.instance().layerTreeRoot()
    groups = {
        group.name(): [
            (node.name(), node.itemVisibilityChecked(), node.layer().isValid()) for node in group.findLayers()
        ]
        for group in root.findGroups()
    }
    if request.get("picture"):
        picture(request["picture"])
    if request.get("dialog"):
        dialog(request)
    good, results = ended[0]
    return {
        "good": good,
        "results": results,
        "said": feedback.lines,
        "shares": feedback.shares,
        "seconds": time.monotonic() - begun,
        "groups": groups,
    }


def picture(target):
    """The map as the project shows it."""
    layers = QgsProject.instance().layerTreeRoot().checkedLayers()
    settings = QgsMapSettings()
    settings.setOutputSize(QSize(700, 700))
    settings.setDestinationCrs(layers[0].crs())
    settings.setExtent(layers[0].extent().buffered(10))
    settings.setLayers(layers)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(target)


def dialog(request):
    """The algorithm's dialog, filled in."""
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    shown = AlgorithmDialog(QgsApplication.processingRegistry().createAlgorithmById(request["algorithm"]))
    shown.setParameters(request["parameters"])
    shown.resize(1000, 760)
    shown.show()
    QCoreApplication.processEvents()
    shown.grab().save(request["dialog"])


def main(request):
    application = QgsApplication([], True, request["profile"])
    QCoreApplication.setOrganizationName("QGIS")
    QCoreApplication.setApplicationName("QGIS3")
    application.initQgis()
    warnings = []
    QgsApplication.messageLog().messageReceived.connect(lambda text, tag, level: warnings.append(f"{tag}: {text}"))
    qgis.utils.plugin_paths = [PLUGINS, os.path.join(application.pkgDataPath(), "python", "plugins")]
    sys.path[:0] = qgis.utils.plugin_paths
    from processing.core.Processing import Processing
    from processing.core.ProcessingConfig import ProcessingConfig

    Processing.initialize()
    plugin = sys.modules[__name__]
    import schanger_edge_qgis

    plugin = schanger_edge_qgis.classFactory(None)
    plugin.initProcessing()
    before = {name: ProcessingConfig.getSetting(name) for name in request["settings"]}
    for name, value in request["settings"].items():
        if value is not None:
            ProcessingConfig.setSettingValue(name, value)
    kept = {name: QgsSettings().value(f"Processing/Configuration/{name}") for name in request["settings"]}
    found = {"before": before, "kept": kept, "runs": [run(one) for one in request["runs"]], "warnings": warnings}
    found["imported"] = sorted(name for name in sys.modules if name.split(".")[0] in ("schanger_edge", "rasterio"))
    plugin.unload()
    found["left"] = [provider.id() for provider in QgsApplication.processingRegistry().providers()]
    print(json.dumps(found))


with open(sys.argv[1]) as file:
    main(json.load(file))
