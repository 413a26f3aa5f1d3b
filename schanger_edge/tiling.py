"""Where tiles lie on a scene and which pixels each of them owns: pure arithmetic, no files, no model.

Along each axis tiles step by `tile - 2 * halo`; the last one shifts in, so that nothing is padded that can be read.
A tile owns its core (tile minus halo), up to the scene's border where there is no neighbour; what the last tile
would own twice stays with the one before it. So every pixel is owned exactly once and lies at least `halo` inside
the tile that owns it, or the scene ends there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from schanger_edge.grid import Window

Span = tuple[int, int, int, int]
"""Of a tile along one axis: offset, size, first owned pixel, first not owned."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """One tile: `window` is read and inferred, `owned` is what of it is written."""

    window: Window
    owned: Window


@dataclasses.dataclass(frozen=True)
class TilePlan:
    """All tiles of a scene.

    Attributes:
        width: scene columns.
        height: scene rows.
        tile: side of a tile in pixels.
        halo: context on each side, dropped after inference; less than half a tile.
    """

    width: int
    height: int
    tile: int
    halo: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a scene has at least one pixel, not {self.width} x {self.height}")
        if not 0 <= 2 * self.halo < self.tile:
            raise ValueError(f"halo {self.halo} must be less than half of tile {self.tile}")

    def strips(self) -> Iterator[tuple[Tile, ...]]:
        """Rows of tiles from top to bottom, each from left to right; the tiles of a strip own the same rows."""
        for section in self.sections(1, self.width + self.tile):
            yield from section.strips()

    def sections(self, tiles: int, columns: int) -> Iterator[Section]:
        """The scene in columns of owned pixels from left to right, each in sections from top to bottom.

        Args:
            tiles: a section has at least so many; the last of a column may have fewer.
            columns: a column is at most so many pixels and a tile wide; all are about equally wide.
        """
        across, down = (axis_spans(length, self.tile, self.halo) for length in (self.width, self.height))
        most = columns // (self.tile - 2 * self.halo) + 1
        at_once = -(-len(across) // -(-len(across) // most))
        for left in range(0, len(across), at_once):
            column = tuple(across[left : left + at_once])
            strips = -(-tiles // len(column))
            for top in range(0, len(down), strips):
                yield Section(tuple(down[top : top + strips]), column)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(axis_spans(self.width, self.tile, self.halo)) * len(axis_spans(self.height, self.tile, self.halo))


@dataclasses.dataclass(frozen=True)
class Section:
    """Parts of some strips that are finished together, so that a run that stops loses no more than them.

    Attributes:
        down: spans of its strips, see `axis_spans`.
        across: spans of its tiles in each strip.
    """

    down: tuple[Span, ...]
    across: tuple[Span, ...]

    @property
    def window(self) -> Window:
        """The pixels that its tiles own."""
        row, col = self.down[0][2], self.across[0][2]
        return Window(col, row, self.across[-1][3] - col, self.down[-1][3] - row)

    def strips(self) -> Iterator[tuple[Tile, ...]]:
        """Its tiles; made as they are asked for, since a large scene has hundreds of thousands."""
        for row_off, row_size, own_row, own_row_end in self.down:
            yield tuple(
                Tile(
                    Window(col_off, row_off, col_size, row_size),
                    Window(own_col, own_row, own_col_end - own_col, own_row_end - own_row),
                )
                for col_off, col_size, own_col, own_col_end in self.across
            )


def axis_spans(length: int, tile: int, halo: int) -> list[Span]:
    """Spans of the tiles along one axis; a size is `tile`, or `length` where the scene is shorter than a tile."""
    if length <= tile:
        return [(0, length, 0, length)]
    stride = tile - 2 * halo
    offsets = [*range(0, length - tile, stride), length - tile]
    ends = [offset + tile - halo for offset in offsets[:-1]] + [length]
    return [(offset, tile, own, end) for offset, own, end in zip(offsets, [0, *ends[:-1]], ends, strict=True)]


def pad_to_tile(image: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    """(C, h, w) with h, w <= tile -> (C, tile, tile), reflected at the lower and right border."""
    rows, cols = tile - image.shape[1], tile - image.shape[2]
    if not rows and not cols:
        return image
    return np.pad(image, ((0, 0), (0, rows), (0, cols)), mode="reflect")


def fill_invalid(image: NDArray[np.uint8], valid: NDArray[np.bool_], color: tuple[int, int, int]) -> None:
    """Set pixels of (3, h, w) that are not valid (h, w) to a colour, in place."""
    for channel, value in zip(image, color, strict=True):
        channel[~valid] = value
