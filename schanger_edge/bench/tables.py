"""The tables of a benchmark, from bench.json: the same ones for the screen, bench.md and bench.html."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from schanger_edge.model.published import DATASETS

NOT_MEASURED, NOT_HERE, NONE = "not measured", "not measured here", "-"

Row = Mapping[str, Any]
Columns = dict[str, Callable[[Row], str]]
"""Head of each column, and its cell of a row."""


@dataclasses.dataclass(frozen=True)
class Table:
    """One table in words.

    Attributes:
        title: one line.
        head: of each column.
        rows: as many words as the head has.
        note: below it; may be empty.
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def tables(document: Row) -> list[Table]:
    """All tables that have rows. A figure stands beside its n; a range is from the lowest to the highest."""
    runs = [document, *document.get("others", ())]
    several = sum(len(run["options"]["devices"]) for run in runs) > 1
    first: Columns = {"device": lambda row: device_name(row["run"], row["device"])} if several else {}
    scores, speeds, whole_runs, engines = (rows_of(runs, key) for key in ("accuracy", "speed", "end_to_end", "engines"))
    scales = _each(f"{row['gsd']:g} m" for row in speeds if row["gsd"])
    scale = f"km2 at a GSD of {scales}." if scales else "km2/s: GSD unknown, use --gsd."
    alone = f"{scale} Peak memory: n 1, in a separate process."
    pair = _each(f"{row['megapixels']:.1f} megapixels" for row in whole_runs)
    found = (
        _table("Accuracy, in percent", scores, first | _ACCURACY, _ACCURACY_NOTE),
        _table("Latency of one batch, in milliseconds", speeds, first | _LATENCY, _LATENCY_NOTE),
        _table("Network alone", speeds, first | _NETWORK_ALONE | _joules(speeds), alone),
        _table(f"End to end on a pair of {pair}", whole_runs, first | _WHOLE_RUNS | _joules(whole_runs), _WHOLE_NOTE),
        _table("Models", engines, first | _MODELS),
        _published(document["published"], scores),
    )
    return [table for table in found if table.rows]


def device_name(run: Row, device: str) -> str:
    """The hardware, and how it was asked for."""
    return f"{run['machine']['devices'][device]} ({device})"


def _each(words: Iterable[str], between: str = ", ") -> str:
    """All different ones."""
    return between.join(sorted(set(words)))


def rows_of(runs: Iterable[Row], key: str) -> list[Row]:
    """One part of all documents; each row with its document as `run` and the facts of its model as `facts`."""
    return [
        {**row, "run": run, "facts": next(model for model in run["models"] if model["name"] == row["model"])}
        for run in runs
        for row in run[key]
    ]


def _table(title: str, rows: Sequence[Row], columns: Columns, note: str = "") -> Table:
    """A row of cells for each row; columns in which nothing was measured become a note."""
    cells = {head: [cell(row) for row in rows] for head, cell in columns.items()}
    known = {head: texts for head, texts in cells.items() if set(texts) != {NOT_MEASURED}}
    if len(known) < len(cells):
        names = ", ".join(head for head in cells if head not in known)
        note = f"{note} {NOT_MEASURED.capitalize()} without a sensor: {names}.".strip()
    return Table(title, tuple(known), list(zip(*known.values(), strict=True)), note)


def _published(entries: Sequence[Row], scores: Sequence[Row]) -> Table:
    """The six benchmark datasets, measured here or not."""

    def here(entry: Row) -> str:
        found = [row for row in scores if _is_official(row) and row["dataset"] == entry["dataset"]]
        same = [f"{row['model']} {_percent(row['f1'])}" for row in found if row["facts"]["size"] == entry["size"]]
        return ", ".join(same) or NOT_HERE

    title = "Published F1 of the authors' weights, in percent"
    return _table(title, entries, _PUBLISHED | {"here": here}, _PUBLISHED_NOTE)


def _published_f1(row: Row) -> str:
    for entry in row["run"]["published"]:
        if (entry["dataset"], entry["size"]) == (row["dataset"], row["facts"]["size"]):
            return f"{entry['paper_f1']:.2f} / {entry['checkpoint_f1']:.2f}"
    return NONE


def _is_official(row: Row) -> bool:
    """Whether the score is of the split that the published ones are of."""
    return row["official_tiles"] is not None and row["official_tiles"] == row["tiles"]


def _official(row: Row) -> str:
    return NONE if row["dataset"] not in DATASETS else "yes" if _is_official(row) else "no"


def _joules(rows: Iterable[Row]) -> Columns:
    """The column of energy; its head says what it is of."""
    covered = _each((row["energy_of"] for row in rows if row["energy_of"]), "; ")
    return _cells(_spread, {f"J/km2 ({covered})" if covered else "J/km2": "joules_per_km2"}, NOT_MEASURED)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def _range(value: Row) -> str:
    return f"{_number(value['low'])}-{_number(value['high'])}"


def _spread(value: Row) -> str:
    return f"{_number(value['median'])} ({_range(value)})"


def _p50(row: Row) -> str:
    """The median, or why there is none."""
    return _number(row["latency_ms"]["p50"]) if row["latency_ms"] else row["failed"] or NOT_MEASURED


def _cells(form: Callable[[Any], str], keys: Mapping[str, str], absent: str = NONE) -> Columns:
    """Columns of one form: head to key of the row, or of its model where the row has none of that name.

    A key such as `seconds.n` leads to a value within a value; `absent` stands for None.
    """

    def cell(key: str) -> Callable[[Row], str]:
        first, *others = key.split(".")

        def text(row: Row) -> str:
            value = row[first] if first in row else row["facts"][first]
            for name in others:
                value = value and value[name]
            return absent if value is None else form(value)

        return text

    return {head: cell(key) for head, key in keys.items()}


_MODEL_AND_BATCH = _cells(str, {"model": "model", "batch": "batch"})
_RATES = {
    **_cells(_spread, {"megapixels/s": "megapixels_per_second"}),
    **_cells(_number, {"km2/s": "km2_per_second.median"}),
}
_ACCURACY: Columns = {
    "dataset": lambda row: f"{row['dataset']} {row['split']}",
    **_cells(str, {"model": "model"}),
    **_cells(_percent, {"F1": "f1", "precision": "precision", "recall": "recall", "IoU": "iou"}),
    **_cells("{:,}".format, {"n tiles": "tiles"}),
    "paper / checkpoint F1": _published_f1,
    "official split": _official,
}
_ACCURACY_NOTE = (
    "Paper and checkpoint: published F1 of the authors' weights of that size, of the whole official test split. Only "
    "a score on that split is comparable."
)
_LATENCY: Columns = {
    **_cells(str, {"model": "model", "precision": "precision", "tile": "tile", "batch": "batch"}),
    "p50": _p50,
    **_cells(_range, {"rounds": "latency_ms.p50_of_rounds"}),
    **_cells(_number, {"p95": "latency_ms.p95", "p99": "latency_ms.p99"}),
    **_cells("{:,}".format, {"n calls": "latency_ms.n"}, "0"),
}
_LATENCY_NOTE = "rounds: lowest and highest median of a round. A percentile that n cannot support is omitted (-)."
_NETWORK_ALONE: Columns = {
    **_MODEL_AND_BATCH,
    **_RATES,
    **_cells(str, {"n rounds": "megapixels_per_second.n"}, "0"),
    **_cells(lambda size: f"{size / 1e6:,.0f}", {"host MB": "host_bytes", "device MB": "device_bytes"}, NOT_MEASURED),
}
_WHOLE_RUNS: Columns = {
    **_MODEL_AND_BATCH,
    **_cells(_spread, {"seconds": "seconds"}),
    **_cells(_number, {"read": "read_busy.median", "infer": "infer_busy.median", "write": "write_busy.median"}),
    **_RATES,
    **_cells(str, {"n runs": "seconds.n"}),
}
_WHOLE_NOTE = (
    "seconds: opening the model, reading, inference, maps, polygons, report. read, infer, write: busy seconds of "
    "each; they overlap."
)
_MODELS: Columns = {
    **_cells(str, {"model": "model", "network": "size", "precision": "precision", "tile": "tile", "halo": "halo"}),
    **_cells("{:g} m".format, {"GSD": "gsd"}, "unknown"),
    **_cells(lambda size: f"{size / 1e6:.2f}", {"file MB": "bytes"}),
    **_cells("{:.12}".format, {"sha256": "sha256"}),
    **_cells(str, {"engine": "engine"}),
}
_PUBLISHED: Columns = {
    "dataset": lambda entry: f"{entry['dataset']} test",
    **_cells(str, {"network": "size"}),
    **_cells("{:,}".format, {"n tiles": "tiles"}),
    **_cells("{:.2f}".format, {"paper F1": "paper_f1", "checkpoint F1": "checkpoint_f1"}),
}
_PUBLISHED_NOTE = (
    "Article: Zhou, Hu, Fang, Rui, IEEE JSTARS 18 (2025), doi 10.1109/JSTARS.2025.3555849; checkpoints: measured "
    "again by the authors. Here: scores of the whole official test split."
)
