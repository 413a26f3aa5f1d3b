"""The list of pairs, CSV or Parquet, read and checked before anything runs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from schanger_edge.datasets.pair_list import absolute, name_of, read_cells
from schanger_edge.errors import DatasetError, SchangerError, require
from schanger_edge.products.stac import parse_date
from schanger_edge.scene.remote import is_plain

NEEDED = ("before", "after")
_DATES = ("before_date", "after_date")
_FILES = ("before", "after", "clip", "valid_mask_before", "valid_mask_after")
OPTIONAL = ("id", *_DATES, *_FILES[2:])
_PARQUET = (".parquet", ".geoparquet", ".pq")
_LISTED = 5  # defects that one sentence names


@dataclasses.dataclass(frozen=True)
class ListedPair:
    """One row; paths are absolute, or ones that only GDAL understands.

    Attributes:
        id: names the folder of its results; no other row has it.
        before: image of the first date.
        after: image of the second date.
        dates: when they were taken; None: as far as the files say.
        clip: area of interest; None for all.
        valid_mask_before: raster that is not 0 where the first date is usable; None where there is none.
        valid_mask_after: the same of the second date.
    """

    id: str
    before: str
    after: str
    dates: tuple[str, str] | None = None
    clip: str | None = None
    valid_mask_before: str | None = None
    valid_mask_after: str | None = None

    @property
    def masks(self) -> dict[str, tuple[str, ...]]:
        """Its valid masks, as arguments of `detect`."""
        masks = {"valid_masks_before": self.valid_mask_before, "valid_masks_after": self.valid_mask_after}
        return {name: (path,) for name, path in masks.items() if path is not None}

    @property
    def files(self) -> dict[str, str]:
        """Paths that are given, by column."""
        given = {name: getattr(self, name) for name in _FILES}
        return {name: path for name, path in given.items() if path is not None}


def read_pairs(path: Path, reserved: tuple[str, ...] = ()) -> list[ListedPair]:
    """The rows of a table with the columns before, after and maybe those of `OPTIONAL`.

    Paths are relative to the table's folder. Ids not given are the names of the before images. A Parquet table may have
    further columns, such as a geometry; in a CSV table they are taken for typing errors.

    Args:
        path: .csv (UTF-8, comma or semicolon), or .parquet.
        reserved: names that cannot be ids, in small letters.

    Raises:
        DatasetError: one sentence on all that is wrong, files that don't exist included.
    """
    rows = _parquet(path) if path.suffix.lower() in _PARQUET else _csv(path)
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
        more = f"; and {len(defects) - _LISTED} more" if len(defects) > _LISTED else ""
        raise DatasetError(f"{path} cannot be run as it is: {'; '.join(defects[:_LISTED])}{more}.")
    if not pairs:
        raise DatasetError(f"{path} lists no pair: write one row for each, with the columns before and after.")
    return pairs


def _csv(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    return ((f"line {line}", cells) for line, cells in read_cells(path, NEEDED, OPTIONAL))


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    require("pyarrow", "products")
    import pyarrow
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(path).names
        known = {name: name.lower() for name in names if name.lower() in (*NEEDED, *OPTIONAL)}
        rows = pyarrow.parquet.read_table(path, columns=list(known)).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{path} cannot be read as a Parquet table ({reason}): give .parquet or .csv.") from error
    missing = [name for name in NEEDED if name not in known.values()]
    if missing:
        raise DatasetError(f"{path} lacks the column {missing[0]}: it needs before and after.")
    for number, row in enumerate(rows, 1):
        yield f"row {number}", {known[name]: _text(value) for name, value in row.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value).strip()  # a datetime is a date


def _pair(where: str, cells: dict[str, str], folder: Path, taken: set[str]) -> ListedPair:
    for column in NEEDED:
        if not cells.get(column):
            raise DatasetError(f"{where} has no {column}")
    files = {column: absolute(cells[column], folder) for column in _FILES if cells.get(column)}
    dates = [cells[column] for column in _DATES if cells.get(column)]
    if len(dates) == 1:
        raise DatasetError(f"{where} has one date of two: give {' and '.join(_DATES)}, or neither")
    for text in dates:
        try:
            parse_date(text)
        except SchangerError:
            raise DatasetError(f"{where} has the date {text!r}: write it as 2021-06-03") from None
    name = name_of(cells.get("id"), files["before"], taken, where, "id")
    return ListedPair(name, dates=(dates[0], dates[1]) if dates else None, **files)
