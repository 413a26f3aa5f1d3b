"""Rendered scenes as a source of tiles, for where no imagery is given."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from schanger_edge.grid import Window
from schanger_edge.scene.tile_pool import Item, OpenItem, WholeTile
from schanger_edge.synthetic import SyntheticScene

SCENES, SIDE = 4, 1024
GSD = 0.5
FIRST_SEED = 7_000_000  # far from the seeds that training used


@dataclasses.dataclass(frozen=True)
class RenderedItem:
    """A made-up pair of 1024 x 1024 pixels, painted where it is read."""

    seed: int

    def __str__(self) -> str:
        return f"rendered scene {self.seed}"

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenItem]:
        """See `scene.tile_pool.Item`."""
        yield _OpenRendered(SyntheticScene(self.seed, SIDE, SIDE, GSD))


def rendered_source() -> list[Item]:
    """Four scenes, the same on every machine."""
    return [RenderedItem(FIRST_SEED + number) for number in range(SCENES)]


@dataclasses.dataclass(frozen=True)
class _OpenRendered:
    scene: SyntheticScene

    @property
    def width(self) -> int:
        return self.scene.width

    @property
    def height(self) -> int:
        return self.scene.height

    def read(self, window: Window) -> WholeTile:
        before, after = self.scene.render("before", window), self.scene.render("after", window)
        return WholeTile(before, after, self.scene.truth(window).astype(bool))
