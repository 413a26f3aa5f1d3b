"""Latency against F1 as a PNG, a panel per dataset and a line per device; needs matplotlib (the `bench` extra)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from schanger_edge.bench.tables import device_name, rows_of
from schanger_edge.drawing import draw

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of devices; told apart with every kind of colour blindness."""
MARKERS = {"fp32": "o", "fp16": "s", "int8": "^", "int8+fp16": "D"}
LEAST_SPAN, WIDE = 10.0, 8.0
"""The F1 axis shows at least so many points; latencies that differ by a greater factor take a log scale."""
_INK = "#333333"


class Point(NamedTuple):
    """One model on one device."""

    device: str
    model: str
    precision: str
    milliseconds: float
    low: float
    high: float
    f1: float


def draw_pareto(path: Path, document: Mapping[str, Any]) -> str:
    """Draw p50 of the smallest batch, with the range of its rounds, against F1 on each dataset.

    Filled points on the line are those of the device that no other dominates; the others are hollow.

    Where there is no F1 to draw, none is made, and an earlier one goes. Returns as `drawing.draw`.
    """
    panels = points(document)
    if not panels:
        path.unlink(missing_ok=True)
        return ""
    columns = 1 if len(panels) <= 2 else 2  # narrow, for phones
    rows = -(-len(panels) // columns)

    def paint(figure: Any) -> None:
        grid = figure.subplots(rows, columns, squeeze=False)
        every = [point for found in panels.values() for point in found]
        colors = dict(zip(dict.fromkeys(point.device for point in every), cycle(COLORS), strict=False))
        for axes, (name, found) in zip(grid.ravel(), panels.items(), strict=False):
            _draw_panel(axes, name, found, colors)
        for axes in grid.ravel()[len(panels) :]:
            axes.set_axis_off()
        _draw_legend(figure, colors, {point.precision for point in every})
        batch = min(document["options"]["batches"])
        figure.suptitle(f"Latency of a batch of {batch} against F1", fontsize=12, color=_INK)

    return draw(path, paint, figsize=(1.2 + 5.2 * columns, 4.8 * rows), dpi=150, layout="constrained")


def points(document: Mapping[str, Any]) -> dict[str, list[Point]]:
    """By dataset and split."""
    found: dict[str, list[Point]] = {}
    batch = min(document["options"]["batches"])
    for row in rows_of((document, *document.get("others", ())), "accuracy"):
        run, key = row["run"], (row["device"], row["model"], batch)
        speed = next((s for s in run["speed"] if (s["device"], s["model"], s["batch"]) == key), None)
        if speed is not None and speed["latency_ms"] is not None:
            name, latency, rounds = device_name(run, key[0]), speed["latency_ms"], speed["latency_ms"]["p50_of_rounds"]
            times = latency["p50"], rounds["low"], rounds["high"]
            point = Point(name, key[1], row["facts"]["precision"], *times, f1=100 * row["f1"])
            found.setdefault(f"{row['dataset']} {row['split']}, n {row['tiles']:,} tiles", []).append(point)
    return found


def front(found: Sequence[Point]) -> list[Point]:
    """Those that no other dominates, being as fast with a better F1 or as good and faster; the fastest first."""
    best: list[Point] = []
    for point in sorted(found, key=lambda one: (one.milliseconds, -one.f1)):
        if not best or point.f1 > best[-1].f1:
            best.append(point)
    return best


def _draw_panel(axes: Any, name: str, found: Sequence[Point], colors: Mapping[str, str]) -> None:
    for device, color in colors.items():
        own = [point for point in found if point.device == device]
        best = front(own)
        axes.plot([p.milliseconds for p in best], [p.f1 for p in best], color=color, linewidth=1.6, zorder=2)
        for rank, point in enumerate(sorted(own, key=lambda one: one.milliseconds)):
            _draw_point(axes, point, color, rank, point in best)
    axes.set_title(name, fontsize=10, color=_INK, loc="left")
    axes.set(xlabel="p50, ms (bars: medians of the rounds)", ylabel="F1, %")
    _set_limits(axes, found)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eeeeee", zorder=0)


def _draw_point(axes: Any, point: Point, color: str, rank: int, on_front: bool) -> None:
    """The marker, its bar and its name; names of neighbours go up and down in turns."""
    at = (point.milliseconds, point.f1)
    error = [[max(0, point.milliseconds - point.low)], [max(0, point.high - point.milliseconds)]]
    marker = {"fmt": MARKERS.get(point.precision, "P"), "markersize": 8, "capsize": 3, "zorder": 3}
    marker |= {"color": color, "markerfacecolor": color if on_front else "white", "ecolor": "#999999"}
    axes.errorbar([at[0]], [at[1]], xerr=error, **marker)
    height = (-1 if rank % 2 else 1) * (22 + 16 * (rank // 2))
    place = {"xytext": (0, height), "textcoords": "offset points", "ha": "center", "va": "center"}
    arrow = {"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.8}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    axes.annotate(point.model, at, **place, fontsize=8, color=_INK, arrowprops=arrow, bbox=box)


def _set_limits(axes: Any, found: Sequence[Point]) -> None:
    """Never zoomed in so far that noise looks like a difference; a log scale for devices far apart."""
    scores = [point.f1 for point in found]
    middle, half = (min(scores) + max(scores)) / 2, max(LEAST_SPAN, 1.6 * (max(scores) - min(scores))) / 2
    axes.set_ylim(max(-1.0, middle - half), middle + half)
    slowest, fastest = max(point.high for point in found), min(point.low for point in found)
    if slowest > WIDE * fastest:
        axes.set_xscale("log")
        axes.set_xlim(fastest / 2, slowest * 2)
    else:
        axes.set_xlim(0, 1.25 * slowest)


def _draw_legend(figure: Any, colors: Mapping[str, str], precisions: set[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, linewidth=2, label=device) for device, color in colors.items()]
    named = {name: MARKERS.get(name, "P") for name in (*MARKERS, *sorted(precisions)) if name in precisions}
    for label, marker in named.items():
        handles.append(Line2D([], [], color=_INK, linestyle="", marker=marker, label=label))
    handles.append(Line2D([], [], color=_INK, linestyle="", marker="o", markerfacecolor="white", label="dominated"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
