"""The record of a run: `history.jsonl`, `training.png`, and TensorBoard events on request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schanger_edge.drawing import draw
from schanger_edge.errors import ProductError, SchangerError
from schanger_edge.files import replacing

Record = dict[str, Any]
HISTORY, CURVES = "history.jsonl", "training.png"

_SHOWN = ("loss", "rate", "f1", "precision", "recall")


class History:
    """Records by step in the folder of a run, one JSON object a line; events for TensorBoard on request.

    Records after the given step are dropped: those of an interrupted run beyond its last checkpoint. SchangerError
    where TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False) -> None:
        self.path = folder / HISTORY
        self.records = [record for record in read_history(self.path) if record["step"] <= step]
        with replacing(self.path, ProductError) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in self.records))
        self.writer = _writer(folder, step) if tensorboard else None

    def add(self, record: Record) -> None:
        """Append a record; numbers go to TensorBoard too."""
        self.records.append(record)
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            sentence = f"{self.path} cannot be written ({error.strerror}): free some space and use --resume."
            raise ProductError(sentence) from error
        if self.writer:
            for name in _SHOWN:
                if name in record:
                    self.writer.add_scalar(name, record[name], record["step"])
            self.writer.flush()

    def close(self) -> str:
        """Draw the curves; returns as `drawing.draw`."""
        if self.writer:
            self.writer.close()
        return draw_curves(self.records, self.path.parent / CURVES)


def read_history(path: Path) -> list[Record]:
    """The records of a file; a line cut off by a kill, or damaged, is left out."""
    records = []
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            drawable = isinstance(record, dict) and all(isinstance(record.get(one, 0), int | float) for one in _SHOWN)
            if drawable and isinstance(record.get("step"), int):
                records.append(record)
    return records


def draw_curves(records: list[Record], path: Path) -> str:
    """Loss and rate above, scores of the validation below, over the steps; returns as `drawing.draw`."""
    scored = [record for record in records if "f1" in record]
    rows = 1 + bool(scored)

    def paint(figure: Any) -> None:
        from matplotlib import ticker

        axes = figure.subplots(rows, 1, sharex=True, squeeze=False)
        above = axes[0, 0]
        above.plot(*_series(records, "loss"), color="tab:blue", linewidth=1)
        above.set(ylabel="loss", yscale="log")
        above.yaxis.set_major_formatter(ticker.LogFormatter())
        above.yaxis.set_minor_formatter(ticker.LogFormatter())
        rate = above.twinx()
        rate.plot(*_series(records, "rate"), color="tab:gray", linestyle="--", linewidth=1)
        rate.set_ylabel("learning rate (dashed)", color="tab:gray")
        if scored:
            _draw_scores(axes[1, 0], scored)
        above.grid(alpha=0.3)
        axes[-1, 0].set_xlabel("step")

    return draw(path, paint, figsize=(9, 3.2 * rows), dpi=110, layout="tight")


def _draw_scores(axes: Any, scored: list[Record]) -> None:
    for name, style in (("f1", "-o"), ("precision", ":"), ("recall", "--")):
        axes.plot(*_series(scored, name), style, markersize=3, linewidth=1.5 if name == "f1" else 1, label=name)
    best = max(scored, key=lambda record: float(record["f1"]))
    axes.axvline(best["step"], color="tab:green", linewidth=0.8)
    axes.set(ylabel="validation", ylim=(0, 1), title=f"best F1 {100 * best['f1']:.1f} at step {best['step']:,}")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)


def _series(records: list[Record], name: str) -> tuple[list[int], list[float]]:
    chosen = [record for record in records if name in record]
    return [record["step"] for record in chosen], [record[name] for record in chosen]


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SchangerError("--tensorboard needs TensorBoard: pip install tensorboard.") from error
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)
