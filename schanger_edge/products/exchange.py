"""The GeoPackage's polygons in other formats, streamed from it so that rows and fields are the same."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schanger_edge.files import writing
from schanger_edge.geo.crs import horizontal_crs
from schanger_edge.geo.grid import Grid
from schanger_edge.products import FLATGEOBUF, GEOPARQUET

BATCH = 20_000
"""Rows that are held at a time."""
_BOX = ("xmin", "ymin", "xmax", "ymax")


def write_flatgeobuf(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write FlatGeobuf; its spatial index sets the order of the rows.

    Args:
        package: the GeoPackage.
        layer: its layer of polygons.
        grid: of the scene, for the CRS.
        target: file to write; replaced where it exists.

    Raises:
        ProductError: the file could not be written.
    """
    import pyogrio.errors
    import pyogrio.raw

    errors = [kind for kind in vars(pyogrio.errors).values() if isinstance(kind, type) and kind is not RuntimeError]
    with writing(target, sqlite3.Error, *errors), warnings.catch_warnings(), _opened(package, layer) as (info, stream):
        warnings.filterwarnings("ignore", message="'crs' was not provided")  # plain images have none
        target.unlink(missing_ok=True)
        pyogrio.raw.write_arrow(
            stream, target, layer=layer, driver="FlatGeobuf", geometry_name=info["geometry_name"],
            geometry_type="Polygon", crs=None if grid.crs is None else grid.crs.to_wkt(),
        )  # fmt: skip
        written = pyogrio.read_info(target, force_feature_count=True)["features"]
        if written != pyogrio.read_info(package, layer=layer, force_feature_count=True)["features"]:
            raise OSError("parts of the file are missing")


def write_geoparquet(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write GeoParquet 1.1: WKB with the box of each polygon; needs the `products` extra. See `write_flatgeobuf`.

    Source: https://geoparquet.org/releases/v1.1.0/
    """
    import pyarrow
    import pyarrow.parquet

    with writing(target, pyarrow.ArrowException), _opened(package, layer) as (info, stream):
        reader = pyarrow.RecordBatchReader.from_stream(stream)
        fields = [field for field in reader.schema if field.name != info["geometry_name"]]
        box = pyarrow.struct([(name, pyarrow.float64()) for name in _BOX])
        schema = pyarrow.schema([*fields, ("geometry", pyarrow.binary()), ("bbox", box)])
        schema = schema.with_metadata({"geo": json.dumps(_geo(package, layer, grid))})
        with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
            for batch in reader:
                columns = [batch.column(field.name) for field in fields]
                wkb = batch.column(info["geometry_name"]).cast(pyarrow.binary())
                writer.write_batch(pyarrow.record_batch([*columns, wkb, _boxes(wkb, box)], schema=schema))


WRITERS: dict[str, tuple[str, Callable[[Path, str, Grid, Path], None]]] = {
    "geoparquet": (GEOPARQUET, write_geoparquet),
    "flatgeobuf": (FLATGEOBUF, write_flatgeobuf),
}
"""Format to the product's name and what writes it."""


@contextmanager
def _opened(package: Path, layer: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """(what pyogrio says of the layer, its rows as a stream of Arrow batches)."""
    import pyogrio.raw

    with pyogrio.raw.open_arrow(package, layer=layer, use_pyarrow=False, batch_size=BATCH) as opened:
        yield opened


def _geo(package: Path, layer: str, grid: Grid) -> dict[str, Any]:
    """GeoParquet's metadata of the file."""
    import pyogrio

    info = pyogrio.read_info(package, layer=layer, force_total_bounds=True)
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": None if grid.crs is None else horizontal_crs(grid.crs).to_json_dict(),
        "covering": {"bbox": {name: ["bbox", name] for name in _BOX}},
    }
    if info["features"]:
        column["bbox"] = list(info["total_bounds"])
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _boxes(wkb: Any, box: Any) -> Any:
    import pyarrow
    import shapely

    bounds = shapely.bounds(shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))).reshape(-1, len(_BOX))
    return pyarrow.StructArray.from_arrays([pyarrow.array(side) for side in bounds.T.copy()], fields=list(box))
