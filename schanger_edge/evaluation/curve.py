"""The precision-recall curve of a threshold sweep as a PNG; needs matplotlib (the `bench` extra)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schanger_edge.drawing import draw

Mark = tuple[str, float, float]
"""Text, recall, precision."""
_INK, _LINE, _BEST, _OWN = "#333333", "#0072b2", "#d55e00", "#009e73"


def draw_curve(
    path: Path, recall: Sequence[float], precision: Sequence[float], marks: Sequence[Mark], title: str
) -> str:
    """Write the curve; returns as `drawing.draw`.

    Args:
        path: the PNG.
        recall: 0-1, by rising threshold; precision likewise.
        precision: points where nothing is predicted are left out by the caller.
        marks: up to two points with their legends: the best threshold, the model's own.
        title: one line.
    """

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        _draw_f1_lines(axes)
        axes.plot(recall, precision, color=_LINE, linewidth=2.2, zorder=3)
        for (text, x, y), color, marker, size in zip(marks, (_BEST, _OWN), ("o", "D"), (11, 7), strict=False):
            axes.plot([x], [y], marker, color=color, markersize=size, markeredgecolor="white", label=text, zorder=4)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel="precision", aspect="equal")
        axes.set_title(title, fontsize=11, color=_INK, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eeeeee", zorder=0)
        if marks:
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
