"""What every threshold would score: precision, recall, F1 and false-alarm objects, gathered tile by tile; its curve."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.drawing import draw
from schanger_edge.evaluation.scores import Counts
from schanger_edge.geo.grid import Window
from schanger_edge.model.decision import thresholds_passed

THRESHOLDS = tuple(k / 100 for k in range(101))
_INK, _LINE = "#333333", "#0072b2"
_MARKS = ("#d55e00", "o", 11), ("#009e73", "D", 7)
OBJECT_THRESHOLDS = tuple(k / 10 for k in range(1, 10))


@dataclasses.dataclass(frozen=True)
class SweepPoint:
    """Scores at one threshold, 0-1."""

    threshold: float
    precision: float
    recall: float
    f1: float


@dataclasses.dataclass(frozen=True)
class FalseAlarms:
    """Connected areas (4-connected) of predicted change that hold no labelled pixel, at one threshold.

    `per_km2` is None where the ground sample distance is unknown.
    """

    threshold: float
    objects: int
    per_km2: float | None


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Scores of one model on one split at every threshold.

    Attributes:
        points: at 0.00, 0.01 ... 1.00.
        best: the point of the greatest F1, of several the one nearest to 0.5; None where nothing is labelled.
        at_model_threshold: at the threshold of the model card.
        average_precision: sum of precision times the step in recall over the thresholds and over "all is change".
        false_alarms: at 0.1, 0.2 ... 0.9.
        gsd: metres per pixel; None where unknown.
        gsd_source: where that figure is from.
        area_km2: ground of all images.
        labelled_share: share of labelled pixels.
    """

    points: tuple[SweepPoint, ...]
    best: SweepPoint | None
    at_model_threshold: SweepPoint
    average_precision: float
    false_alarms: tuple[FalseAlarms, ...]
    gsd: float | None
    gsd_source: str
    area_km2: float | None
    labelled_share: float


class SweepCounter:
    """Counts what a sweep needs; memory is that of one image (two bytes a pixel), not of the split.

    The threshold of the model card is scored besides the even steps.
    """

    def __init__(self, model_threshold: float) -> None:
        self._model_threshold = model_threshold
        self._thresholds = np.unique(np.array([*THRESHOLDS, model_threshold], np.float32))
        self._histograms = np.zeros((2, self._thresholds.size + 1), np.int64)
        self._objects = np.zeros(len(OBJECT_THRESHOLDS), np.int64)
        self._levels = self._labels = np.zeros((0, 0), np.uint8)

    def add(
        self,
        scene: Window,
        owned: Window,
        probability: NDArray[np.float32],
        label: NDArray[np.bool_],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take the owned pixels (h, w) of one tile of the image `scene`; its tiles come one after another.

        Pixels that are not valid don't count; their probability must be 0, so that they belong to no object.
        """
        passed = thresholds_passed(probability, self._thresholds)
        for row, chosen in enumerate((label, ~label)):
            counted = chosen if valid is None else chosen & valid
            self._histograms[row] += np.bincount(passed[counted], minlength=self._histograms.shape[1])
        if self._levels.shape != (scene.height, scene.width):
            self._levels = np.zeros((scene.height, scene.width), np.uint8)
            self._labels = np.zeros_like(self._levels)
        at = owned.slices_in(scene)
        self._levels[at] = thresholds_passed(probability, OBJECT_THRESHOLDS)
        self._labels[at] = label

    def end_image(self) -> None:
        """All tiles of the image came: find its objects."""
        label = self._labels.astype(bool)
        for level in range(len(OBJECT_THRESHOLDS)):
            self._objects[level] += false_alarm_objects(self._levels > level, label)

    def result(self, gsd: float | None = None, gsd_source: str = "unknown") -> Sweep:
        """The sweep over all images; `gsd` in metres per pixel."""
        # counts[k]: pixels whose probability is greater than threshold k
        labelled, other = (int(histogram.sum()) for histogram in self._histograms)
        hits, alarms = (histogram[::-1].cumsum()[::-1][1:] for histogram in self._histograms)
        points = {
            float(threshold): _point(float(threshold), int(hit), int(alarm), labelled)
            for threshold, hit, alarm in zip(self._thresholds, hits, alarms, strict=True)
        }
        even = tuple(_renamed(points, threshold) for threshold in THRESHOLDS)
        area = None if gsd is None else (labelled + other) * gsd**2 / 1e6
        return Sweep(
            points=even,
            best=max(even, key=lambda point: (point.f1, -abs(point.threshold - 0.5))) if labelled else None,
            at_model_threshold=_renamed(points, self._model_threshold),
            average_precision=_average_precision(list(points.values()), labelled, other),
            false_alarms=tuple(
                FalseAlarms(threshold, int(objects), objects / area if area else None)
                for threshold, objects in zip(OBJECT_THRESHOLDS, self._objects, strict=True)
            ),
            gsd=gsd,
            gsd_source=gsd_source,
            area_km2=area,
            labelled_share=labelled / max(labelled + other, 1),
        )


def false_alarm_objects(change: NDArray[np.bool_], label: NDArray[np.bool_]) -> int:
    """How many connected areas (4-connected) of change (H, W) share no pixel with the label (H, W)."""
    count, areas = cv2.connectedComponents(change.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    touched = np.zeros(count, bool)
    touched[areas[label]] = True
    return int(np.count_nonzero(~touched[1:]))  # area 0 is all that is no change


def _point(threshold: float, hits: int, alarms: int, labelled: int) -> SweepPoint:
    counts = Counts(hits, alarms, labelled - hits, 0)
    return SweepPoint(threshold, counts.precision, counts.recall, counts.f1)


def _renamed(points: dict[float, SweepPoint], threshold: float) -> SweepPoint:
    """The point of a threshold under its own number, not the nearest float32."""
    return dataclasses.replace(points[float(np.float32(threshold))], threshold=threshold)


def _average_precision(points: list[SweepPoint], labelled: int, other: int) -> float:
    if not labelled:
        return 0.0
    everything = SweepPoint(-1.0, labelled / (labelled + other), 1.0, 0.0)
    total, recall = 0.0, 0.0
    for point in (*reversed(points), everything):
        total, recall = total + (point.recall - recall) * point.precision, point.recall
    return total


def draw_curve(path: Path, sweep: Sweep, title: str) -> str:
    """Write the precision-recall curve as a PNG, which needs matplotlib; returns as `drawing.draw`.

    It leaves out thresholds at which nothing is predicted, and marks the best and the model's own.
    """
    drawn = [point for point in sweep.points if point.precision or point.recall]
    marks = {"best": sweep.best} if sweep.best else {}
    marks["model's own"] = sweep.at_model_threshold

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        _draw_f1_lines(axes)
        axes.plot([one.recall for one in drawn], [one.precision for one in drawn], color=_LINE, linewidth=2.2, zorder=3)
        for (name, point), (color, shape, size) in zip(marks.items(), _MARKS, strict=False):
            text = f"{name}: {point.threshold:.2f}, F1 {100 * point.f1:.1f} %"
            style = {"color": color, "markersize": size, "markeredgecolor": "white", "zorder": 4}
            axes.plot([point.recall], [point.precision], shape, label=text, **style)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel="precision", aspect="equal")
        axes.set_title(f"{title}: average precision {sweep.average_precision:.3f}", fontsize=11, color=_INK, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eeeeee", zorder=0)
        axes.legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="#dddddd", fontsize=9)

    return draw(path, paint, figsize=(6.4, 6.0), dpi=150, layout="constrained")


def _draw_f1_lines(axes: Any) -> None:
    """Faint lines of equal F1, so that the curve can be read without a table."""
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recall = [f1 / (2 - f1) + k / 200 * (1 - f1 / (2 - f1)) for k in range(201)]
        precision = [f1 * r / (2 * r - f1) for r in recall]
        axes.plot(recall, precision, color="#cccccc", linewidth=0.8, linestyle="--", zorder=1)
        axes.annotate(
            f"F1 {f1:.1f}",
            (1.01, precision[-1]),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="#888888",
            annotation_clip=False,
        )
