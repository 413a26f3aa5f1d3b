"""Where tiles lie on a scene and which pixels each of them owns: pure arithmetic, no files, no model.

Along each axis the stride is `tile - 2 * halo`. The last tile shifts inwards instead of being padded. A tile's core is
the tile minus its halo, extended to the scene's border where there is no neighbour; where the last two cores overlap,
the first keeps the shared pixels. So every pixel lies in exactly one core, at least `halo` from the tile's edge unless
the scene ends there.

Tiles may be blended: within `blend` pixels of a border between cores the weights pass linearly from one tile to the
next. At most two tiles contribute along each axis, and their weights sum to one. Tiles come from left to right and from
top to bottom, so a tile finalizes the pixels that no later tile contributes to: its core, shifted by `blend` up and
left. Those are the pixels that it owns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window

Span = tuple[int, int, int, int]
"""A tile along one axis: offset, size, first owned pixel, end of the owned pixels."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        window: the pixels that are read and inferred.
        owned: the pixels finalized by this tile; every pixel of the scene is owned by exactly one tile.
        reach: all pixels that depend on this tile: the owned ones, and those blended with the tiles that follow.
    """

    window: Window
    owned: Window
    reach: Window


@dataclasses.dataclass(frozen=True)
class TilePlan:
    """All tiles of a scene.

    Attributes:
        width: scene columns.
        height: scene rows.
        tile: side of a tile in pixels.
        halo: pixels of context on each side of a core; less than half a tile.
        blend: pixels on each side of a border between cores over which tiles are blended; 0 keeps the cores as they
            are. See `blend_of`.
    """

    width: int
    height: int
    tile: int
    halo: int
    blend: int = 0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a scene has at least one pixel, not {self.width} x {self.height}")
        if not 0 <= 2 * self.halo < self.tile:
            raise ValueError(f"halo {self.halo} must be less than half of tile {self.tile}")
        if not 0 <= self.blend <= min(self.halo, (self.tile - 2 * self.halo) // 2):
            raise ValueError(f"{self.blend} pixels cannot be blended with halo {self.halo} in tile {self.tile}")

    def strips(self) -> Iterator[tuple[Tile, ...]]:
        """Rows of tiles from top to bottom, each from left to right; the tiles of a strip own the same rows."""
        for section in self.sections(1, self.width + self.tile):
            yield from section.strips()

    def sections(self, tiles: int, columns: int) -> Iterator[Section]:
        """The scene divided into columns from left to right, and each column into sections from top to bottom.

        Args:
            tiles: the fewest tiles of a section; the last one of a column may have fewer.
            columns: greatest width of a column in pixels, exceeded by a tile at most; all are about equally wide.
        """
        across, down = (axis_spans(length, self.tile, self.halo, self.blend) for length in (self.width, self.height))
        most = columns // (self.tile - 2 * self.halo) + 1
        at_once = -(-len(across) // -(-len(across) // most))
        strips = -(-tiles // at_once)
        left: list[Section | None] = [None] * -(-len(down) // strips)
        for first in range(0, len(across), at_once):
            above = None
            for number, top in enumerate(range(0, len(down), strips)):
                spans = tuple(down[top : top + strips]), tuple(across[first : first + at_once])
                above = left[number] = Section(*spans, self.blend, _window_of(above), _window_of(left[number]))
                yield above

    def __len__(self) -> int:
        """Number of tiles."""
        return len(axis_spans(self.width, self.tile, self.halo)) * len(axis_spans(self.height, self.tile, self.halo))


@dataclasses.dataclass(frozen=True)
class Section:
    """Tiles that are made durable together: a run that stops loses at most one section.

    Attributes:
        down: vertical spans of its strips, see `axis_spans`.
        across: horizontal spans of the tiles in each strip.
        blend: as in the plan.
        above: window of the section above in the same column; None at the top.
        left: window of the section to the left, with the same strips; None in the first column.
    """

    down: tuple[Span, ...]
    across: tuple[Span, ...]
    blend: int
    above: Window | None
    left: Window | None

    @property
    def window(self) -> Window:
        """The pixels that its tiles own."""
        row, col = self.down[0][2], self.across[0][2]
        return Window(col, row, self.across[-1][3] - col, self.down[-1][3] - row)

    def strips(self) -> Iterator[tuple[Tile, ...]]:
        """Its tiles, generated lazily: a large scene has hundreds of thousands."""
        for down in self.down:
            yield tuple(
                Tile(
                    Window(across[0], down[0], across[1], down[1]),
                    Window(across[2], down[2], across[3] - across[2], down[3] - down[2]),
                    Window(across[2], down[2], self._reach(across) - across[2], self._reach(down) - down[2]),
                )
                for across in self.across
            )

    def _reach(self, span: Span) -> int:
        """End of the pixels that depend on a tile; the reach of the last tile ends with the tile."""
        offset, size, _, end = span
        return min(end + 2 * self.blend, offset + size)


def _window_of(section: Section | None) -> Window | None:
    return None if section is None else section.window


def blend_of(tile: int, halo: int) -> int:
    """The `blend` of a run: half the halo, so that pixels near a tile's edge have no weight."""
    return min(halo // 2, (tile - 2 * halo) // 2)


def axis_spans(length: int, tile: int, halo: int, blend: int = 0) -> list[Span]:
    """Spans of the tiles along one axis; their size is `tile`, or `length` if the scene is shorter."""
    if length <= tile:
        return [(0, length, 0, length)]
    stride = tile - 2 * halo
    offsets = [*range(0, length - tile, stride), length - tile]
    ends = [offset + tile - halo - blend for offset in offsets[:-1]] + [length]
    return [(offset, tile, own, end) for offset, own, end in zip(offsets, [0, *ends[:-1]], ends, strict=True)]


def pad_to_tile(image: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    """(C, h, w) with h, w <= tile -> (C, tile, tile), padded by reflection at the bottom and right."""
    rows, cols = tile - image.shape[1], tile - image.shape[2]
    if not rows and not cols:
        return image
    return np.pad(image, ((0, 0), (0, rows), (0, cols)), mode="reflect")


def fill_invalid(image: NDArray[np.uint8], valid: NDArray[np.bool_], color: tuple[int, int, int]) -> None:
    """Set pixels of (3, h, w) that are not valid (h, w) to a colour, in place."""
    for channel, value in zip(image, color, strict=True):
        channel[~valid] = value
