"""What a batch writes about all its pairs: a table, one GeoPackage of polygons, a STAC collection.

A file that cannot be read or written is a ProductError.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.batch.outcome import FAILED, RECORD, Outcome
from schanger_edge.errors import ProductError
from schanger_edge.files import replacing, to_json
from schanger_edge.geo.crs import transformer
from schanger_edge.products import POLYGONS, STAC_ITEM
from schanger_edge.products.exchange import BATCH
from schanger_edge.products.polygons import GEOPACKAGE, LAYER
from schanger_edge.products.stac import parse_date
from schanger_edge.products.staging import SIDECARS
from schanger_edge.products.style import add_style

TABLE, COLLECTION, _CSV = "results.parquet", "collection.json", "results.csv"
RESULTS = (TABLE, _CSV, POLYGONS, COLLECTION)
"""Names of what a batch writes beside the folders of its pairs."""
COMMON = "EPSG:4326"
"""CRS of the merged polygons where the pairs have several."""
FIELD = "pair"
_ID = "changes"
_RELATIONS = ("root", "parent", "collection")


@dataclasses.dataclass(frozen=True)
class Batch:
    """What came of a list of pairs.

    Attributes:
        folder: where all results are.
        outcomes: one for each pair, in the order of the list.
        polygons: in the merged changes.gpkg.
        crs: of the merged polygons; None where no image has one.
        items: pairs in the STAC collection; 0 where there is none.
        notes: what the user should know, in sentences.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]
    polygons: int
    crs: str | None
    items: int
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Pairs that were given up."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == FAILED)


def check_place(folder: Path, inputs: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse, with a ProductError, to replace what no batch wrote, and what this batch reads.

    The inputs are the list of pairs, and all files it names.
    """
    ours = _is_ours(folder)
    for target in (folder / name for name in RESULTS):
        if not os.path.lexists(target):
            continue
        for given in inputs:
            with contextlib.suppress(OSError, ValueError):  # no file of this machine
                if os.path.samefile(given, target):
                    raise ProductError(f"{target} is an input of this batch: choose another output folder.")
        if not ours or not target.is_file() or target.is_symlink():
            raise ProductError(
                f"{target} is no result of an earlier batch, and one would replace it: move it or choose another "
                "output folder."
            )


def _is_ours(folder: Path) -> bool:
    """Whether an earlier batch wrote into a folder: by the record of a pair, or the head of its table."""
    if any(folder.glob(f"*/{RECORD}")):
        return True
    try:
        with open(folder / _CSV, encoding="utf-8") as file:
            head = file.readline(1000).strip().split(",")
    except (OSError, UnicodeDecodeError):
        return False
    return [name.strip('"') for name in head] == [field.name for field in dataclasses.fields(Outcome)]


def sum_up(folder: Path, outcomes: tuple[Outcome, ...]) -> Batch:
    """Write the three summaries beside the folders of the pairs."""
    good = [outcome for outcome in outcomes if outcome.status != FAILED]
    write_table(folder / TABLE, [dataclasses.asdict(outcome) for outcome in outcomes])
    polygons, crs, left_out = merge_polygons(folder, {outcome.id: outcome.crs for outcome in good})
    items = [outcome.id for outcome in good if (folder / outcome.id / STAC_ITEM).exists()]
    write_collection(folder, items)
    notes = []
    if left_out:
        notes.append(f"{POLYGONS} omits {', '.join(left_out)}: their images have no CRS, while others have one.")
    if len(items) < len(good):
        notes.append(
            f"{len(good) - len(items)} of {len(good)} pairs are not in {COLLECTION}: the dates or the location of "
            "their images are unknown; add the columns before_date and after_date to the list."
        )
    return Batch(folder, outcomes, polygons, crs, len(items), tuple(notes))


def write_table(target: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one row for each pair, of the columns of `batch.outcome.Outcome`; needs the `products` extra.

    Beside the .parquet file goes results.csv, see `_harmless`; both are replaced where they exist.
    """
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    numbers = {"float | None": pyarrow.float64(), "int | None": pyarrow.int64()}
    types = {field.name: numbers.get(str(field.type), pyarrow.string()) for field in dataclasses.fields(Outcome)}
    plain = [{**row, "warnings": " ".join(row["warnings"]) or None} for row in rows]
    harmless = [{name: _harmless(value) for name, value in row.items()} for row in plain]
    with replacing(target, ProductError, pyarrow.ArrowException) as path:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(plain, pyarrow.schema(types)), path)
    with replacing(target.with_name(_CSV), ProductError, pyarrow.ArrowException) as path:
        pyarrow.csv.write_csv(pyarrow.Table.from_pylist(harmless, pyarrow.schema(types)), path)


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula begins with an apostrophe, which it shows as plain text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def merge_polygons(folder: Path, crs_of: Mapping[str, str | None]) -> tuple[int, str | None, list[str]]:
    """Write all polygons to one layer, with the name of their pair in the field `pair` and the fields they have.

    The layer has the CRS that all pairs share, and EPSG:4326 where they have several. Pairs without a CRS (None) are
    left out where others have one. 20,000 polygons are held at a time. Where there is no pair, changes.gpkg is removed.

    Returns:
        (polygons written, their CRS, pairs that are left out).
    """
    import pyogrio.errors
    import pyogrio.raw

    target, found = folder / POLYGONS, {crs for crs in crs_of.values() if crs is not None}
    crs = next(iter(found), None) if len(found) < 2 else COMMON
    left_out = [name for name, own in crs_of.items() if found and own is None]
    taken = {name: str(own) for name, own in crs_of.items() if name not in left_out}
    if not taken:
        target.unlink(missing_ok=True)
        return 0, crs, left_out
    written = 0
    errors = [kind for kind in vars(pyogrio.errors).values() if isinstance(kind, type) and kind is not RuntimeError]
    with replacing(target, ProductError, sqlite3.Error, *errors) as path, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")  # plain images have none
        path.unlink()
        for name, own in taken.items():
            for fields, wkb, columns in _chunks(folder / name / POLYGONS):
                names = np.full(len(wkb), name, object)
                layout = {"layer": LAYER, "driver": "GPKG", "geometry_type": "Polygon", "crs": crs}
                table = {"fields": [FIELD, *fields], "field_data": [names, *columns], "append": path.exists()}
                pyogrio.raw.write(path, _onto(wkb, own, str(crs)), VERSION=GEOPACKAGE, **layout, **table)
                written += len(wkb)
        add_style(path, LAYER)
        for sidecar in SIDECARS:
            target.with_name(target.name + sidecar).unlink(missing_ok=True)
    return written, crs, left_out


def _chunks(package: Path) -> Iterator[tuple[list[str], NDArray[np.object_], list[NDArray[Any]]]]:
    """(names of fields, WKB, columns) of some rows at a time; at least once, so that the layer gets its fields."""
    import pyogrio
    import pyogrio.raw

    count = pyogrio.read_info(package, layer=LAYER, force_feature_count=True)["features"]
    for start in range(0, max(count, 1), BATCH):
        meta, _, wkb, columns = pyogrio.raw.read(package, layer=LAYER, skip_features=start, max_features=BATCH)
        yield list(meta["fields"]), wkb, columns


def _onto(wkb: NDArray[np.object_], own: str, target: str) -> NDArray[np.object_]:
    """WKB in another CRS, longitude first."""
    import shapely

    if own == target:
        return wkb
    forth = transformer(own, target).transform
    moved: NDArray[np.object_] = shapely.to_wkb(shapely.transform(shapely.from_wkb(wkb), forth, interleaved=False))
    return moved


def write_collection(folder: Path, pairs: Sequence[str]) -> None:
    """Write the collection, and its links into the items; needs the `products` extra.

    An item's id becomes the name of its pair: that of a single run is made of the names of its images, which pairs may
    share. The pairs are those whose folder has an item.json; where there is none, collection.json is removed.
    """
    import pystac

    if not pairs:
        (folder / COLLECTION).unlink(missing_ok=True)
        return
    items = [_adopt(folder / name / STAC_ITEM, name) for name in pairs]
    ends = ("start_datetime", "end_datetime")
    dates = sorted(parse_date(item["properties"][end]) for item in items for end in ends)
    boxes = pystac.SpatialExtent([_around([item["bbox"] for item in items])])
    extent = pystac.Extent(boxes, pystac.TemporalExtent([[dates[0], dates[-1]]]))
    collection = pystac.Collection(
        _ID, "Changes between two dates, one item per pair of images.", extent, "Changes", license="other"
    )
    collection.clear_links()
    collection.add_link(pystac.Link("root", f"./{COLLECTION}", pystac.MediaType.JSON))
    for name in pairs:
        collection.add_link(pystac.Link("item", f"./{name}/{STAC_ITEM}", pystac.MediaType.GEOJSON, title=name))
    _write(folder / COLLECTION, collection.to_dict(include_self_link=False, transform_hrefs=False))


def _adopt(path: Path, name: str) -> dict[str, Any]:
    """Make an item one of the collection."""
    item: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    own = [link for link in item["links"] if link["rel"] not in _RELATIONS]
    back = [{"rel": rel, "href": f"../{COLLECTION}", "type": "application/json"} for rel in _RELATIONS]
    item |= {"id": name, "collection": _ID, "links": [*back, *own]}
    _write(path, item)
    return item


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path, ProductError) as temporary:
        temporary.write_text(to_json(content) + "\n", encoding="utf-8")


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    """[west, south, east, north] around others; all longitudes where one of them crosses the antimeridian."""
    wests, souths, easts, norths = zip(*boxes, strict=True)
    west, east = (-180.0, 180.0) if any(w > e for w, e in zip(wests, easts, strict=True)) else (min(wests), max(easts))
    return [west, min(souths), east, max(norths)]
