"""The GeoPackage's polygons in pieces, from which other formats are written with the same rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BATCH = 20_000
"""Rows that are held at a time."""


@contextmanager
def opened(package: Path, layer: str, fields: str = "*") -> Iterator[tuple[dict[str, Any], Any]]:
    """(what pyogrio says of the layer, its rows as a stream of Arrow batches); `fields` as SQL names them."""
    import pyogrio.raw

    rows = {"layer": layer} if fields == "*" else {"sql": f'SELECT {fields} FROM "{layer}"'}
    with pyogrio.raw.open_arrow(package, **rows, use_pyarrow=False, batch_size=BATCH) as opened:
        yield opened


def rows(package: Path, layer: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(WKB, columns by name: `id`, `area_m2`, `pixels` and the others), `BATCH` rows at a time, at least once."""
    import pyogrio.raw

    for start in range(0, max(count(package, layer), 1), BATCH):
        between = f"fid > {start} AND fid <= {start + BATCH}"  # rows are numbered from 1, and found by their number
        about, _, wkb, columns = pyogrio.raw.read(package, layer=layer, where=between)
        yield wkb, dict(zip(about["fields"], columns, strict=True))


def count(path: Path, layer: str | None = None) -> int:
    """Rows of a layer, or of the only one."""
    import pyogrio

    return int(pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"])


def field_names(package: Path, layer: str) -> list[str]:
    """Of the layer, without its geometry."""
    import pyogrio

    return list(pyogrio.read_info(package, layer=layer)["fields"])


def torn() -> OSError:
    """On a full disk GDAL may close a torn file without a word."""
    return OSError("parts of the file are missing")


def errors() -> tuple[type[Exception], ...]:
    """What pyogrio and SQLite raise where a file cannot be written."""
    import pyogrio.errors

    kinds = [kind for kind in vars(pyogrio.errors).values() if isinstance(kind, type) and kind is not RuntimeError]
    return (sqlite3.Error, *kinds)
