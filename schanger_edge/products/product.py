"""What a product says of itself, for whoever names, stages, links or lists the files of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from schanger_edge.errors import require
from schanger_edge.geo.grid import Grid


@dataclasses.dataclass(frozen=True)
class Product:
    """A file that a run may write.

    Attributes:
        name: of the file.
        title: what it is, in words.
        key: of the asset in a STAC item.
        media_type: of the asset.
        role: of the asset: `data`, `thumbnail`, `overview` or `metadata`.
        band: what STAC says of its only band; None where it is no raster.
    """

    name: str
    title: str
    key: str
    media_type: str
    role: str = "data"
    band: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class PolygonFormat:
    """A further format of the polygons.

    Attributes:
        product: the file it makes.
        write: (the GeoPackage, its layer, the scene's grid, file to write).
        package: from the `products` extra, without which it cannot be written; empty where none is needed.
        on_earth: it holds longitudes and latitudes, so it cannot be written where the scene has none.
    """

    product: Product
    write: Callable[[Path, str, Grid, Path], None]
    package: str = ""
    on_earth: bool = False

    def check(self) -> None:
        """Raise a SchangerError where its package is missing."""
        if self.package:
            require(self.package, "products")
