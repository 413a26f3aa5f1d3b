"""Coordinate reference systems as pyproj knows them, and the transformers between them."""

from __future__ import annotations

import functools
import re
import warnings
from typing import Any, NamedTuple

import numpy as np
from rasterio.crs import CRS

_CYLINDRICAL = ("mercator", "equidistant cylindrical", "plate carr")
_NOT_NORMAL = ("transverse", "oblique")


def horizontal_crs(crs: CRS) -> Any:
    """A CRS for pyproj, without heights or a datum shift tied to it."""
    import pyproj

    epsg = crs.to_epsg()  # the code says more than the text: WKT 1 hides that Web Mercator is spherical
    found: Any = pyproj.CRS.from_epsg(epsg) if epsg else pyproj.CRS.from_wkt(crs.to_wkt())
    while found.is_bound or found.is_compound:
        found = found.source_crs if found.is_bound else found.sub_crs_list[0]
    return found


def is_cylindrical(crs: Any) -> bool:
    """True for normal cylindrical projections (of a pyproj CRS).

    They stretch the ground by 1 / cos(latitude): planar lengths and areas are badly wrong in them.
    """
    method = "" if crs.coordinate_operation is None else crs.coordinate_operation.method_name.lower()
    return any(word in method for word in _CYLINDRICAL) and not any(word in method for word in _NOT_NORMAL)


def transformer(source: Any, target: Any) -> Any:
    """pyproj's transformer between two CRSs (of rasterio, or anything pyproj takes), x or longitude first.

    Points that cannot be projected become infinite.

    Raises:
        pyproj.exceptions.ProjError: there is no way from one to the other.
    """
    from pyproj import Transformer

    first, second = (horizontal_crs(crs) if isinstance(crs, CRS) else crs for crs in (source, target))
    return Transformer.from_crs(first, second, always_xy=True)


def geodetic(crs: Any) -> Any:
    """From (x, y) of a pyproj CRS to degrees east and north on its own datum and meridian; None where it has no Earth.

    PROJ gives longitudes and latitudes in the CRS's own unit, which may be grads.

    Raises:
        pyproj.exceptions.ProjError: there is no way.
    """
    own = crs.geodetic_crs
    if own is None or not own.is_geographic:
        return None
    convert, degrees = transformer(crs, own), np.degrees(own.axis_info[0].unit_conversion_factor)

    def to_degrees(x: Any, y: Any) -> tuple[Any, Any]:
        lon, lat = convert.transform(np.asarray(x, float), np.asarray(y, float))
        return lon * degrees, lat * degrees

    return to_degrees


class Operation(NamedTuple):
    """How two CRSs are laid on each other.

    Attributes:
        name: PROJ's description.
        accuracy: metres; None where it is not known.
        ballpark: whether the datums were taken for one, for want of a better operation.
        missing: files of a better operation that is not installed.
    """

    name: str
    accuracy: float | None
    ballpark: bool
    missing: tuple[str, ...]


def operation(source: CRS, target: CRS, bounds: tuple[float, float, float, float] | None) -> Operation | None:
    """PROJ's best operation that is installed, for an area of interest (west, south, east, north); None without one."""
    from pyproj.aoi import AreaOfInterest
    from pyproj.exceptions import ProjError
    from pyproj.transformer import TransformerGroup

    area: Any = None if bounds is None else AreaOfInterest(*bounds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of missing grids, which `missing` tells
            first, second = horizontal_crs(source), horizontal_crs(target)
            group = TransformerGroup(first, second, always_xy=True, area_of_interest=area)
    except ProjError:
        return None
    if not group.transformers:
        return None
    best = group.transformers[0]
    missing: list[str] = []
    if not group.best_available:
        missing = [grid.short_name for grid in group.unavailable_operations[0].grids if not grid.available]
    ballpark = "ballpark" in best.description.lower()
    accuracy = best.accuracy if best.accuracy >= 0 else None
    own = first.geodetic_crs
    if own is not None and own.equals(second.geodetic_crs, ignore_axis_order=True):
        accuracy = 0.0  # a conversion within one datum, of which PROJ 9.8 says that its accuracy is unknown
    return Operation(best.description, accuracy, ballpark, tuple(missing))


def lonlat(crs: CRS | None, x: Any, y: Any) -> tuple[Any, Any] | None:
    """Degrees east and north (WGS 84) of points, NaN where they lie nowhere on Earth.

    None without a CRS, or where it has no known place on Earth.
    """
    from pyproj.exceptions import ProjError

    if crs is None:
        return None
    try:
        lon, lat = _to_wgs84(crs).transform(np.asarray(x, float), np.asarray(y, float))
    except ProjError:
        return None
    found = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
    return np.where(found, lon, np.nan), np.where(found, lat, np.nan)


def beyond_the_antimeridian(crs: CRS) -> CRS | None:
    """A geographic CRS whose longitudes count from 180 degrees; None where it doesn't count degrees from Greenwich.

    PROJ gives longitudes from -180 to 180, so what lies across the antimeridian is in one piece only there.
    """
    text = crs.to_wkt()
    degrees = 'UNIT["degree",0.0174532925' in text
    if not text.startswith("GEOGCS[") or not degrees or _GREENWICH.search(text) is None:
        return None
    turned = _GREENWICH.sub('PRIMEM["antimeridian",180]', text)
    return CRS.from_wkt(_LAST_CODE.sub("]", turned))


@functools.lru_cache(maxsize=16)
def _to_wgs84(crs: CRS) -> Any:
    return transformer(crs, "OGC:CRS84")


_GREENWICH = re.compile(r'PRIMEM\["Greenwich",0(,AUTHORITY\["EPSG","8901"\])?\]')
_LAST_CODE = re.compile(r',AUTHORITY\["[^"]*","[^"]*"\]\]$')
