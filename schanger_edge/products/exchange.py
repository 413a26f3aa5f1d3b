"""The GeoPackage's polygons as a stream, from which other formats are written with the same rows and fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BATCH = 20_000
"""Rows that are held at a time."""


@contextmanager
def opened(package: Path, layer: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """(what pyogrio says of the layer, its rows as a stream of Arrow batches)."""
    import pyogrio.raw

    with pyogrio.raw.open_arrow(package, layer=layer, use_pyarrow=False, batch_size=BATCH) as opened:
        yield opened
