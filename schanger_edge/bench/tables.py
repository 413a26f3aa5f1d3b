"""The tables of a benchmark, from bench.json: for the screen, bench.md and bench.html alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schanger_edge.datasets.benchmarks import DATASETS

NOT_MEASURED, NOT_HERE, NONE = "not measured", "not measured here", "-"

Row = Mapping[str, Any]


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
    where = _Where(runs, several=sum(len(run["options"]["devices"]) for run in runs) > 1)
    makers = (_accuracy, _latency, _throughput, _whole_runs, _models, _published)
    return [_without_unmeasured(table) for maker in makers if (table := maker(where)).rows]


def _without_unmeasured(table: Table) -> Table:
    """Columns in which nothing was measured become a note."""
    dropped = [index for index, cells in enumerate(zip(*table.rows, strict=True)) if set(cells) == {NOT_MEASURED}]
    if not dropped:
        return table
    names = ", ".join(table.head[index] for index in dropped)

    def kept(cells: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cell for index, cell in enumerate(cells) if index not in dropped)

    note = f"{table.note} {NOT_MEASURED.capitalize()}, for want of a sensor: {names}.".strip()
    return Table(table.title, kept(table.head), [kept(row) for row in table.rows], note)


def device_name(run: Row, device: str) -> str:
    """The hardware, and how it was asked for."""
    return f"{run['machine']['devices'][device]} ({device})"


@dataclasses.dataclass(frozen=True)
class _Where:
    """The documents, and a first column that names the device where there are several."""

    runs: Sequence[Row]
    several: bool

    def head(self, *names: str) -> tuple[str, ...]:
        return ("device", *names) if self.several else names

    def rows(self, key: str) -> Iterator[tuple[Row, Row, tuple[str, ...]]]:
        """(document, row of this part of it, first cells)."""
        for run in self.runs:
            for row in run[key]:
                yield run, row, ((device_name(run, row["device"]),) if self.several else ())


def _accuracy(where: _Where) -> Table:
    rows = []
    sizes = [{model["name"]: model["size"] for model in run["models"]} for run in where.runs]
    for run, row, first in where.rows("accuracy"):
        size = sizes[where.runs.index(run)][row["model"]]
        rows.append((
            *first, f"{row['dataset']} {row['split']}", row["model"], *(_percent(row[key]) for key in
            ("f1", "precision", "recall", "iou")), f"{row['tiles']:,}", _published_f1(run, row["dataset"], size),
            {True: "yes", False: "no"}[_is_official(row)] if row["dataset"] in DATASETS else NONE,
        ))  # fmt: skip
    head = where.head(
        "dataset", "model", "F1", "precision", "recall", "IoU", "n tiles", "paper / checkpoint F1", "official split"
    )
    return Table("Accuracy, in percent", head, rows, (
        "Paper and checkpoint: published F1 of the authors' weights of that size, of the whole official test split. "
        "Only a score of that split can be compared with it."
    ))  # fmt: skip


def _published(where: _Where) -> Table:
    """The six benchmark datasets, measured here or not."""
    sizes = [{model["name"]: model["size"] for model in run["models"]} for run in where.runs]
    rows = []
    for entry in where.runs[0]["published"]:
        here = [
            f"{row['model']} {_percent(row['f1'])}" for run, row, _ in where.rows("accuracy")
            if _is_official(row) and row["dataset"] == entry["dataset"]
            and sizes[where.runs.index(run)][row["model"]] == entry["size"]
        ]  # fmt: skip
        rows.append((
            f"{entry['dataset']} test", entry["size"], f"{entry['tiles']:,}", f"{entry['paper_f1']:.2f}",
            f"{entry['checkpoint_f1']:.2f}", ", ".join(here) or NOT_HERE,
        ))  # fmt: skip
    head = ("dataset", "network", "n tiles", "paper F1", "checkpoint F1", "here")
    return Table("Published F1 of the authors' weights, in percent", head, rows, (
        "Article: Zhou, Hu, Fang, Rui, IEEE JSTARS 18 (2025), doi 10.1109/JSTARS.2025.3555849; checkpoints: measured "
        "again by the authors. Here: scores of the whole official test split."
    ))  # fmt: skip


def _published_f1(run: Row, dataset: str, size: str) -> str:
    for entry in run["published"]:
        if (entry["dataset"], entry["size"]) == (dataset, size):
            return f"{entry['paper_f1']:.2f} / {entry['checkpoint_f1']:.2f}"
    return NONE


def _is_official(row: Row) -> bool:
    """Whether the score is of the split that the published ones are of."""
    return row["official_tiles"] is not None and row["official_tiles"] == row["tiles"]


def _latency(where: _Where) -> Table:
    rows = []
    for run, row, first in where.rows("speed"):
        latency, model = row["latency_ms"], _model(run, row)
        cells = (*first, row["model"], model["precision"], str(model["tile"]), str(row["batch"]))
        if latency is None:
            rows.append((*cells, row["failed"] or NOT_MEASURED, NONE, NONE, NONE, "0"))
            continue
        spread = latency["p50_of_rounds"]
        rows.append((
            *cells, _number(latency["p50"]), f"{_number(spread['low'])}-{_number(spread['high'])}",
            _number(latency["p95"]), _number(latency["p99"]), f"{latency['n']:,}",
        ))  # fmt: skip
    head = where.head("model", "precision", "tile", "batch", "p50", "rounds", "p95", "p99", "n calls")
    return Table("Latency of one batch, in milliseconds", head, rows, (
        "rounds: lowest and highest median of a round. A percentile that n cannot tell is left out (-)."
    ))  # fmt: skip


def _throughput(where: _Where) -> Table:
    rows = [
        (*first, row["model"], str(row["batch"]), _spread(row["megapixels_per_second"]),
         _middle(row["km2_per_second"]), _n(row["megapixels_per_second"]), _megabytes(row["host_bytes"]),
         _megabytes(row["device_bytes"]), _energy(row["joules_per_km2"]))
        for _, row, first in where.rows("speed")
    ]  # fmt: skip
    head = where.head(
        "model", "batch", "megapixels/s", "km2/s", "n rounds", "host MB", "device MB", f"J/km2{_of(where, 'speed')}"
    )
    scales = sorted({f"{row['gsd']:g} m" for _, row, _ in where.rows("speed") if row["gsd"]})
    note = f"km2 at a GSD of {', '.join(scales)}. " if scales else "km2/s: no GSD is known, give --gsd. "
    return Table("Network alone", head, rows, f"{note}Peak memory: n 1, a process of its own.")


def _whole_runs(where: _Where) -> Table:
    rows = []
    for _, row, first in where.rows("end_to_end"):
        busy = (_middle(row[stage]) for stage in ("read_busy", "infer_busy", "write_busy"))
        rows.append((
            *first, row["model"], str(row["batch"]), _spread(row["seconds"]), *busy,
            _spread(row["megapixels_per_second"]), _middle(row["km2_per_second"]), _n(row["seconds"]),
            _energy(row["joules_per_km2"]),
        ))  # fmt: skip
    head = where.head(
        "model", "batch", "seconds", "read", "infer", "write", "megapixels/s", "km2/s", "n runs",
        f"J/km2{_of(where, 'end_to_end')}",
    )  # fmt: skip
    sizes = sorted({f"{row['megapixels']:.1f} megapixels" for _, row, _ in where.rows("end_to_end")})
    return Table(f"End to end on a pair of {', '.join(sizes)}", head, rows, (
        "seconds: opening the model, reading, inference, maps, polygons, report. read, infer, write: seconds in which "
        "each was busy; they overlap."
    ))  # fmt: skip


def _models(where: _Where) -> Table:
    rows = []
    for run, row, first in where.rows("engines"):
        model = _model(run, row)
        scale = f"{model['gsd']:g} m" if model["gsd"] else "unknown"
        rows.append((
            *first, row["model"], model["size"], model["precision"], str(model["tile"]), str(model["halo"]), scale,
            f"{model['bytes'] / 1e6:.2f}", model["sha256"][:12], row["engine"],
        ))  # fmt: skip
    head = where.head("model", "network", "precision", "tile", "halo", "GSD", "file MB", "sha256", "engine")
    return Table("Models", head, rows)


def _model(run: Row, row: Row) -> Row:
    return next(model for model in run["models"] if model["name"] == row["model"])


def _of(where: _Where, key: str) -> str:
    """What the energy is of, for the head."""
    covered = sorted({row["energy_of"] for _, row, _ in where.rows(key) if row["energy_of"]})
    return f" ({'; '.join(covered)})" if covered else ""


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _number(value: float | None) -> str:
    """Three digits, or all before the point."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def _spread(value: Row | None) -> str:
    if value is None:
        return NONE
    return f"{_number(value['median'])} ({_number(value['low'])}-{_number(value['high'])})"


def _middle(value: Row | None) -> str:
    return NONE if value is None else _number(value["median"])


def _n(value: Row | None) -> str:
    return "0" if value is None else str(value["n"])


def _energy(value: Row | None) -> str:
    return NOT_MEASURED if value is None else _spread(value)


def _megabytes(value: int | None) -> str:
    return NOT_MEASURED if value is None else f"{value / 1e6:,.0f}"
