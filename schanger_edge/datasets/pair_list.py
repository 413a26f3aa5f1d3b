"""A table of pairs with labels: CSV, one pair a row, read and checked before any image is opened.

Whatever is wrong with a table is a DatasetError that names the line.
"""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from schanger_edge.errors import DatasetError

NEEDED = ("before", "after", "label")
OPTIONAL = ("layer", "area", "split", "name")
_FILES = ("before", "after", "label", "area")
_FORBIDDEN = set('/\\:*?"<>|')
_MOST_LETTERS = 100  # of a name, so that names of tiles fit every file system


@dataclasses.dataclass(frozen=True)
class PairRow:
    """One row of the table; paths are absolute, or such that GDAL alone knows.

    Attributes:
        line: line of the file, from 1.
        before: image of the first date.
        after: image of the second date.
        label: polygons or raster of what changed; empty where there is none.
        layer: layer of the label's file; None for its only one.
        area: polygons of the ground that was looked at; None for all of it.
        split: train, val or test for all its tiles; None deals them by ground.
        name: how its tiles' names begin; no other row has it.
    """

    line: int
    before: str
    after: str
    label: str
    layer: str | None
    area: str | None
    split: str | None
    name: str


def read_pair_list(path: Path, splits: tuple[str, ...], *, label_needed: bool = True) -> list[PairRow]:
    """The rows of a table with the columns before, after, label and maybe layer, area, split, name.

    UTF-8, separated by comma or semicolon; paths are relative to the table's folder. Names not given are those of the
    before images. The column split holds one of the words given. Where no label is needed, its column or cells may be
    left out.
    """
    rows: list[PairRow] = []
    taken: set[str] = set()
    needed = NEEDED if label_needed else NEEDED[:2]
    optional = [name for name in (*NEEDED, *OPTIONAL) if name not in needed]
    for line, cells in read_cells(path, needed, optional):
        where = f"{path} line {line}"
        for column in needed:
            if not cells.get(column):
                raise DatasetError(f"{where} has no {column}: fill it in or remove the line.")
        split = cells.get("split")
        if split and split not in splits:
            raise DatasetError(f"{where} has the split {split!r}: write {', '.join(splits)} or leave it empty.")
        files = {column: absolute(cells[column], path.parent) for column in _FILES if cells.get(column)}
        name = name_of(cells.get("name"), files["before"], taken, where)
        taken.add(name.lower())
        layer, area = cells.get("layer") or None, files.get("area")
        row = PairRow(line, files["before"], files["after"], files.get("label", ""), layer, area, split or None, name)
        rows.append(row)
    if not rows:
        raise DatasetError(f"{path} lists no pairs: write one row per pair below the header before,after,label.")
    return rows


def read_cells(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, column -> text) of each row of a CSV table that is not empty, under a line with these columns."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=";" if ";" in head and "," not in head else ",", strict=True)
            columns = [column.strip().lower() for column in next(reader, [])]
            _check_columns(path, columns, needed, optional)
            for row in reader:
                texts = [text.strip() for text in row]
                if not any(texts):
                    continue
                if len(texts) > len(columns):
                    raise DatasetError(
                        f"{path} line {reader.line_num} has {len(texts)} cells for {len(columns)} columns: quote "
                        "paths that contain commas."
                    )
                yield reader.line_num, dict(zip(columns, texts, strict=False))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"{path} cannot be read as a CSV table ({reason}): it must be UTF-8 text, one pair per line."
        ) from error


def _check_columns(path: Path, columns: list[str], needed: Sequence[str], optional: Sequence[str]) -> None:
    missing = [column for column in needed if column not in columns]
    unknown = [column for column in columns if column not in (*needed, *optional)]
    twice = {column for column in columns if columns.count(column) > 1}
    if missing or unknown or twice:
        odd = "".join([*unknown, *sorted(twice)][:1])
        what = f"lacks the column {missing[0]}" if missing else f"has the unexpected column {odd!r}"
        raise DatasetError(
            f"{path} {what}: the header must be {','.join(needed)}, optionally with {','.join(optional)}."
        )


def absolute(text: str, folder: Path) -> str:
    """A path of a table, relative to the folder of the table; what GDAL alone knows stays as it is."""
    if "://" in text or text.startswith("/vsi"):
        return text
    return os.path.abspath(folder / os.path.expanduser(text))  # `~nobody` stays as it is, and does not exist


def name_of(given: str | None, before: str, taken: set[str], where: str, column: str = "name") -> str:
    """The name of a row: as given, else that of its before image with a number where it is taken."""
    if given:
        if given.startswith(".") or set(given) & _FORBIDDEN or len(given) > _MOST_LETTERS or not given.isprintable():
            raise DatasetError(
                f"{where} has the {column} {given!r}, which cannot start a file name: use letters and digits."
            )
        if given.lower() in taken:
            raise DatasetError(f"{where} repeats the {column} {given!r} of an earlier line: each pair needs its own.")
        return given
    stem = os.path.splitext(os.path.basename(before))[0].lstrip(".")
    stem = "".join("_" if letter in _FORBIDDEN or not letter.isprintable() else letter for letter in stem)
    stem = stem[:_MOST_LETTERS] or "pair"
    name, number = stem, 2
    while name.lower() in taken:
        name, number = f"{stem}-{number}", number + 1
    return name
