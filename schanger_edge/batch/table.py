"""The results of many pairs as a table: Parquet, and the same as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schanger_edge.errors import ProductError
from schanger_edge.files import replacing

_TEXT = ("id", "status", "reason", "before", "after", "crs", "warnings", "worker")
_NUMBERS = ("valid_m2", "changed_m2", "changed_share", "seconds")


def write_table(target: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one row for each pair; needs the `products` extra.

    Args:
        target: .parquet file; a .csv is written beside it. Both are replaced where they exist.
        rows: of the columns of `batch.outcome.Outcome`.

    Raises:
        ProductError: a file could not be written.
    """
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    fields = {name: pyarrow.string() for name in _TEXT} | {name: pyarrow.float64() for name in _NUMBERS}
    fields["polygons"] = pyarrow.int64()
    schema = pyarrow.schema([(name, fields[name]) for name in rows[0]])
    plain = [{**row, "warnings": " ".join(row["warnings"]) or None} for row in rows]
    table = pyarrow.Table.from_pylist(plain, schema)
    with replacing(target, ProductError, pyarrow.ArrowException) as path:
        pyarrow.parquet.write_table(table, path)
    with replacing(target.with_suffix(".csv"), ProductError, pyarrow.ArrowException) as path:
        pyarrow.csv.write_csv(table, path)
