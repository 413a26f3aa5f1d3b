"""Rendered scenes as a source of tiles, for where no imagery is given."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

from schanger_edge.datasets.tile_pool import Item, OpenItem, WholeTile, source_items
from schanger_edge.geo.grid import Window
from schanger_edge.synthetic import SyntheticScene

SCENES, SIDE = 4, 1024
GSD = 0.5
FIRST_SEED = 7_000_000  # far from the seeds that training used


@dataclasses.dataclass(frozen=True)
class RenderedItem:
    """A made-up pair of 1024 x 1024 pixels, painted where it is read."""

    seed: int
    label_rule = ""  # nothing is read: the truth is exact

    def __str__(self) -> str:
        return f"rendered scene {self.seed}"

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenItem]:
        """See `tile_pool.Item`."""
        scene = SyntheticScene(self.seed, SIDE, SIDE, GSD)

        def read(window: Window) -> WholeTile:
            before, after = scene.render("before", window), scene.render("after", window)
            return WholeTile(before, after, scene.truth(window).astype(bool))

        yield OpenItem(scene.width, scene.height, read)


def rendered_source() -> list[Item]:
    """Four scenes, the same on every machine."""
    return [RenderedItem(FIRST_SEED + number) for number in range(SCENES)]


def sources_or_rendered(texts: Sequence[str]) -> list[list[Item]]:
    """The pairs of each source, see `tile_pool.source_items`; rendered scenes where there is none."""
    return [source_items(text) for text in texts] if texts else [rendered_source()]
