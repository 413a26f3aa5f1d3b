"""The polygons of many pairs in one GeoPackage, streamed from theirs."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import ProductError
from schanger_edge.files import replacing
from schanger_edge.geo.crs import transformer
from schanger_edge.products.exchange import BATCH
from schanger_edge.products.polygons import LAYER
from schanger_edge.products.staging import SIDECARS
from schanger_edge.products.style import add_style

COMMON = "EPSG:4326"
"""CRS where the pairs have several."""
FIELD = "pair"


class Merged(NamedTuple):
    """Polygons written, their CRS (None: plain images), and the pairs that could not be laid beside the others."""

    polygons: int
    crs: str | None
    left_out: tuple[str, ...]


def merge_polygons(packages: Mapping[str, Path], crs_of: Mapping[str, str | None], target: Path) -> Merged:
    """Write all polygons to one layer, with the name of their pair in the field `pair` and the fields they have.

    The layer has the CRS that all pairs share, and EPSG:4326 where they have several. Pairs without a CRS are left out
    where others have one. 20,000 polygons are held at a time.

    Args:
        packages: changes.gpkg of each pair, by its name.
        crs_of: CRS of each, as text; None for plain images.
        target: GeoPackage to write; replaced where it exists, removed where there is no pair.

    Raises:
        ProductError: a file could not be read or written.
    """
    import pyogrio.errors
    import pyogrio.raw

    found = {crs for crs in crs_of.values() if crs is not None}
    crs = None if not found else found.copy().pop() if len(found) == 1 else COMMON
    left_out = tuple(name for name in packages if found and crs_of[name] is None)
    taken = [name for name in packages if name not in left_out]
    if not taken:
        target.unlink(missing_ok=True)
        return Merged(0, crs, left_out)
    written = 0
    errors = [kind for kind in vars(pyogrio.errors).values() if isinstance(kind, type) and kind is not RuntimeError]
    with replacing(target, ProductError, sqlite3.Error, *errors) as path, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")  # plain images have none
        path.unlink()
        for name in taken:
            onto = None if crs_of[name] == crs else _onto(str(crs_of[name]), str(crs))
            for fields, wkb, columns in _chunks(packages[name]):
                pyogrio.raw.write(
                    path, wkb if onto is None else onto(wkb), fields=[FIELD, *fields],
                    field_data=[np.full(len(wkb), name, object), *columns], layer=LAYER, driver="GPKG",
                    geometry_type="Polygon", crs=crs, append=path.exists(),
                )  # fmt: skip
                written += len(wkb)
        add_style(path, LAYER)
        for sidecar in SIDECARS:
            target.with_name(target.name + sidecar).unlink(missing_ok=True)
    return Merged(written, crs, left_out)


def _chunks(package: Path) -> Iterator[tuple[list[str], NDArray[np.object_], list[NDArray[Any]]]]:
    """(names of fields, WKB, columns) of some rows at a time; at least once, so that the layer gets its fields."""
    import pyogrio
    import pyogrio.raw

    count = pyogrio.read_info(package, layer=LAYER, force_feature_count=True)["features"]
    for start in range(0, max(count, 1), BATCH):
        meta, _, wkb, columns = pyogrio.raw.read(package, layer=LAYER, skip_features=start, max_features=BATCH)
        yield list(meta["fields"]), wkb, columns


def _onto(own: str, target: str) -> Callable[[NDArray[np.object_]], NDArray[np.object_]]:
    """Brings WKB from one CRS to another, longitude first."""
    import shapely

    forth = transformer(own, target)

    def onto(wkb: NDArray[np.object_]) -> NDArray[np.object_]:
        moved: NDArray[np.object_] = shapely.to_wkb(
            shapely.transform(shapely.from_wkb(wkb), forth.transform, interleaved=False)
        )
        return moved

    return onto
