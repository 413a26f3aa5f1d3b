"""What several commands print: progress bars, scores in percent, a detection's result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from schanger_edge.cli.app import err, out

if TYPE_CHECKING:
    from schanger_edge.run.detect import Detection


BUILD = "build"  # the stage that `sessions.build` begins and ends with
BUILD_TAKES = (
    "building a TensorRT plan: this may take minutes, longest on small boards. The plan is kept for later runs."
)


def print_result(result: Detection) -> None:
    """What `run` and `demo` end with."""
    summary = result.summary
    area = summary["area_m2"]["changed"]
    size = f"{area:,.0f} m2" if area is not None else f"{result.changed:,} pixels"
    out.print(
        f"change: {size}, {result.changed_share:.2%} of the valid area, {result.polygons} polygons{_least(summary)}"
    )
    total = summary["pixels"]["total"]
    out.print(
        f"valid: {result.valid / total:.1%} of {total / 1e6:.1f} megapixels; {summary['tiles']['run']} tiles run, "
        f"{summary['tiles']['skipped']} skipped; {summary['seconds']['total']:.1f} s"
    )
    out.print(f"results: {result.folder}; open {result.report} in a browser")


def print_warnings(warnings: Iterable[str]) -> None:
    """What makes a result doubtful, in sentences."""
    for warning in warnings:
        err.print(Text(f"warning: {warning}"), style="yellow")


def _least(summary: Mapping[str, Any]) -> str:
    """From which size on areas count, and how many did not."""
    least, small = summary["options"]["min_area"], summary["too_small"]["areas"]
    unit = "pixels" if summary["grid"]["crs"] is None else "m2"
    return f" of {least:g} {unit} or more ({small} smaller left out; see --min-area)" if least else ""


def percent(scores: Any, *names: str) -> str:
    """Some of an object's scores, 0-1, in percent."""
    return "  ".join(f"{name} {100 * getattr(scores, name):.2f}" for name in names)


class _Rate(ProgressColumn):
    """Megapixels of scene per second."""

    def render(self, task: Task) -> Text:
        if not task.fields.get("pixels") or not task.speed:
            return Text("")
        return Text(f"{task.speed / 1e6:.2f} Mpx/s")


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar per stage on standard error, with throughput and time left."""
    columns = (TextColumn("{task.description:>9}"), BarColumn(40), TextColumn("{task.percentage:>4.0f} %"))
    bars = Progress(*columns, _Rate(), TimeRemainingColumn(), console=err, transient=False)
    tasks: dict[str, Any] = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage == BUILD and stage not in tasks:
            err.print(BUILD_TAKES)
        size = None if stage == BUILD and not done else total  # its end is unknown: the bar only moves
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=size, pixels=stage in ("render", "predict"))
        bars.update(tasks[stage], completed=done, total=size)

    with bars:
        yield update
