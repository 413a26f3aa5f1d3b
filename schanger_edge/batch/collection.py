"""Many runs as a STAC collection: it links their items, and they link it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schanger_edge.errors import ProductError
from schanger_edge.files import replacing
from schanger_edge.products.stac import parse_date

ID = "changes"
_RELATIONS = ("root", "parent", "collection")


def write_collection(target: Path, items: Mapping[str, Path]) -> None:
    """Write the collection, and its links into the items; needs the `products` extra.

    An item's id becomes the name of its pair: that of a single run is made of the names of its images, which pairs may
    share.

    Args:
        target: file to write; replaced where it exists, removed where there is no item.
        items: item.json of each pair, by its name; in folders beside the collection.

    Raises:
        ProductError: a file could not be written.
    """
    import pystac

    if not items:
        target.unlink(missing_ok=True)
        return
    boxes, times = [], []
    for name, path in items.items():
        item = _adopt(path, name, target.name)
        boxes.append(item["bbox"])
        times += [item["properties"][end] for end in ("start_datetime", "end_datetime")]
    dates = sorted(map(parse_date, times))
    extent = pystac.Extent(pystac.SpatialExtent([_around(boxes)]), pystac.TemporalExtent([[dates[0], dates[-1]]]))
    collection = pystac.Collection(
        ID, "Changes between two dates, one item for each pair of images.", extent, "Changes", license="other"
    )
    collection.clear_links()
    collection.add_link(pystac.Link("root", f"./{target.name}", pystac.MediaType.JSON))
    for name, path in items.items():
        href = path.relative_to(target.parent).as_posix()
        collection.add_link(pystac.Link("item", f"./{href}", pystac.MediaType.GEOJSON, title=name))
    _write(target, collection.to_dict(include_self_link=False, transform_hrefs=False))


def _adopt(path: Path, name: str, collection: str) -> dict[str, Any]:
    """Make an item one of the collection."""
    item: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    own = [link for link in item["links"] if link["rel"] not in _RELATIONS]
    back = [{"rel": rel, "href": f"../{collection}", "type": "application/json"} for rel in _RELATIONS]
    item |= {"id": name, "collection": ID, "links": [*back, *own]}
    _write(path, item)
    return item


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path, ProductError) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    """[west, south, east, north] around others; all longitudes where one of them crosses the antimeridian."""
    wests, souths, easts, norths = zip(*boxes, strict=True)
    west, east = (-180.0, 180.0) if any(w > e for w, e in zip(wests, easts, strict=True)) else (min(wests), max(easts))
    return [west, min(souths), east, max(norths)]
