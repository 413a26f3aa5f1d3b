"""The list of pairs: CSV or Parquet, read and checked before anything is run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from schanger_edge.datasets.pair_list import absolute, name_of, read_cells
from schanger_edge.errors import DatasetError, SchangerError, require
from schanger_edge.options import Option
from schanger_edge.products.stac import parse_date
from schanger_edge.run.options import Engine, RunOptions
from schanger_edge.scene.remote import is_plain

NEEDED = ("before", "after")
_DATES = ("before_date", "after_date")
COLUMNS = {
    one.flag.removeprefix("--").replace("-", "_"): one
    for group in RunOptions.groups().values()
    for one in group.described()
    if group is not Engine and one.name != "dates"
}
"""Column to the option of the run that it stands for; the engine is that of a worker, for all pairs."""
OPTIONAL = ("id", *_DATES, *COLUMNS)
_PARQUET = (".parquet", ".geoparquet", ".pq")
_TOLD = 5  # defects that one sentence tells


@dataclasses.dataclass(frozen=True)
class ListedPair:
    """One row; paths are absolute, or such that GDAL alone knows.

    Attributes:
        id: names the folder of its results; no other row has it.
        before: image of the first date.
        after: image of the second date.
        options: of its run, above those of all runs: by name, see `RunOptions`.
    """

    id: str
    before: str
    after: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> dict[str, str]:
        """Column to path, of those that are given; numbered where an option names several."""
        found = {"before": self.before, "after": self.after}
        for column, one in COLUMNS.items():
            if one.is_path and one.name in self.options:
                paths = self.options[one.name] if one.many else (self.options[one.name],)
                found |= {column if number == 1 else f"{column} {number}": path for number, path in enumerate(paths, 1)}
        return found


def read_pairs(path: Path, reserved: tuple[str, ...] = ()) -> list[ListedPair]:
    """The rows of a table with the columns before, after and maybe those of `OPTIONAL`.

    Paths are relative to the table's folder. Ids not given are the names of the before images. A Parquet table may have
    further columns, such as a geometry; a CSV table may not, for they would be mistyped ones.

    Args:
        path: .csv (UTF-8, comma or semicolon), or .parquet.
        reserved: names that cannot be ids, in small letters.

    Raises:
        DatasetError: one sentence on all that is wrong, files that don't exist included.
    """
    lines = ((f"line {line}", cells) for line, cells in read_cells(path, NEEDED, OPTIONAL))
    rows = _parquet(path) if path.suffix.lower() in _PARQUET else lines
    pairs: list[ListedPair] = []
    taken, defects = set(reserved), list[str]()
    for where, cells in rows:
        try:
            pair = _pair(where, cells, path.parent, taken)
        except SchangerError as error:
            defects.append(str(error).rstrip("."))
            continue
        taken.add(pair.id.lower())
        pairs.append(pair)
        defects += [
            f"{where}: {name} {file} does not exist"
            for name, file in pair.files.items()
            if is_plain(file) and not os.path.exists(file)
        ]
    if defects:
        more = f"; and {len(defects) - _TOLD} more" if len(defects) > _TOLD else ""
        raise DatasetError(f"{path} cannot be run: {'; '.join(defects[:_TOLD])}{more}.")
    if not pairs:
        raise DatasetError(f"{path} lists no pairs: write one row per pair, with the columns before and after.")
    return pairs


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    require("pyarrow", "products")
    import pyarrow
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(path).names
        known = {name: name.lower() for name in names if name.lower() in (*NEEDED, *OPTIONAL)}
        rows = _in_microseconds(pyarrow.parquet.read_table(path, columns=list(known))).to_pylist()
    except (OSError, pyarrow.ArrowException, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{path} cannot be read as a Parquet table ({reason}): use .parquet or .csv.") from error
    missing = [name for name in NEEDED if name not in known.values()]
    if missing:
        raise DatasetError(f"{path} lacks the column {missing[0]}: it needs before and after.")
    for number, row in enumerate(rows, 1):
        yield f"row {number}", {known[name]: _text(value) for name, value in row.items()}


def _in_microseconds(table: Any) -> Any:
    """The table with times as Python has them: it knows no nanoseconds, which pandas writes."""
    import pyarrow

    def plain(kind: Any) -> Any:
        return pyarrow.timestamp("us", kind.tz) if pyarrow.types.is_timestamp(kind) else kind

    return table.cast(pyarrow.schema([field.with_type(plain(field.type)) for field in table.schema]), safe=False)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value).strip()  # a datetime is a date


def _pair(where: str, cells: dict[str, str], folder: Path, taken: set[str]) -> ListedPair:
    for column in NEEDED:
        if not cells.get(column):
            raise DatasetError(f"{where} has no {column}")
    before, after = (absolute(cells[column], folder) for column in NEEDED)
    given = [(one, cells[column]) for column, one in COLUMNS.items() if cells.get(column)]
    options = {one.name: _option(one, cell, where, folder) for one, cell in given}
    dates = tuple(cells[column] for column in _DATES if cells.get(column))
    if len(dates) == 1:
        raise DatasetError(f"{where} has only one of the two dates: give {' and '.join(_DATES)}, or neither")
    for text in dates:
        try:
            parse_date(text)
        except SchangerError:
            raise DatasetError(f"{where} has the date {text!r}: write it as 2021-06-03") from None
    name = name_of(cells.get("id"), before, taken, where, "id")
    return ListedPair(name, before, after, options | ({"dates": dates} if dates else {}))


def _option(one: Option, cell: str, where: str, folder: Path) -> Any:
    """The value of an option's cell, checked."""
    try:
        value = one.read(cell)
        one.check(value)
    except SchangerError as error:
        raise DatasetError(f"{where}: {error}") from None
    if not one.is_path:
        return value
    return tuple(absolute(path, folder) for path in value) if one.many else absolute(value, folder)
