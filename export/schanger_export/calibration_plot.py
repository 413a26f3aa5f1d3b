"""The picture beside a calibration's report: what each part loses, and loss against share of work in INT8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schanger_edge.drawing import draw
from schanger_edge.evaluation.agreement import Agreement
from schanger_export.int8_search import Step


def draw_report(
    path: Path, title: str, parts: Mapping[str, Agreement], steps: Sequence[Step], max_f1_loss: float
) -> str:
    """Write the picture as PNG; returns as `drawing.draw`."""

    def paint(figure: Any) -> None:
        figure.suptitle(title)
        left, right = figure.subplots(1, 2)
        names = list(parts)[::-1]
        left.barh(names, [parts[name].mean_difference for name in names], color="#3b6fb6")
        left.set_xlabel("mean difference of probability, only this part in INT8")
        shares, losses = [100 * step.macs_share for step in steps], [step.agreement.worst_f1_loss for step in steps]
        right.plot([0, *shares[::-1]], [0, *losses[::-1]], "o-", color="#3b6fb6")
        right.axhline(max_f1_loss, color="#b03a2e", linestyle="--", label=f"limit {max_f1_loss:g}")
        right.annotate("this model", (shares[-1], losses[-1]), textcoords="offset points", xytext=(-6, 8), ha="right")
        right.set_xlabel("share of multiply-adds in INT8, %")
        right.set_ylabel("points of F1 lost, the worse of labels and own map")
        right.legend()

    return draw(path, paint, figsize=(11, 4.5), dpi=110, layout="constrained")
