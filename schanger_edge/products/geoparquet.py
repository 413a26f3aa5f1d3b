"""The polygons as GeoParquet, which data frames and warehouses read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schanger_edge.files import writing
from schanger_edge.geo.crs import horizontal_crs
from schanger_edge.geo.grid import Grid
from schanger_edge.products.exchange import opened
from schanger_edge.products.product import PolygonFormat, Product

_BOX = ("xmin", "ymin", "xmax", "ymax")


def write_geoparquet(package: Path, layer: str, grid: Grid, target: Path) -> None:
    """Write GeoParquet 1.1: WKB with the box of each polygon; needs the `products` extra. See `write_flatgeobuf`.

    Source: https://geoparquet.org/releases/v1.1.0/
    """
    import pyarrow
    import pyarrow.parquet

    with writing(target, pyarrow.ArrowException), opened(package, layer) as (info, stream):
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


FORMAT = PolygonFormat(
    Product("changes.parquet", "Changed areas as polygons", "polygons_geoparquet", "application/vnd.apache.parquet"),
    write_geoparquet,
    package="pyarrow",
)
