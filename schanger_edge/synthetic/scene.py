"""The public face of the renderer: any window of either date, of the truth and of the buildings of one scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.synthetic.canvas import Canvas
from schanger_edge.synthetic.layout import Layout
from schanger_edge.synthetic.noise import Bytes
from schanger_edge.synthetic.paint import building_mask, chunk_image
from schanger_edge.synthetic.style import AFTER, BEFORE, BOTH, SceneStyle

Date = Literal["before", "after"]
Painter = Callable[[Canvas], Bytes]

# Everything is painted in whole chunks at fixed places, so that a pixel never depends on the window it is seen in.
CHUNK = 256
_DATES = {"before": BEFORE, "after": AFTER}
_MAX_SIDE = 1_000_000


class SyntheticScene:
    """A made-up place seen from above on two dates; every pixel is a pure function of the seed and its position.

    Windows may lie anywhere, also outside `width` x `height`: the ground has no end. Windows whose offsets are
    multiples of 256 are the cheapest.

    Args:
        seed: decides everything.
        width, height: size of the scene in pixels.
        gsd: metres per pixel, 0.05 to 2.5.
        city: high buildings, seen from another angle on each date, of which few change. What a building covers of
            the image, walls too, is then what counts as building.
    """

    def __init__(self, seed: int, width: int, height: int, gsd: float = 0.5, city: bool = False) -> None:
        if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
            raise SceneError(
                f"A scene of {width} x {height} pixels cannot be rendered: use a size from 1 to {_MAX_SIDE}."
            )
        if not 0.05 <= gsd <= 2.5:
            raise SceneError(f"A scene cannot be rendered at {gsd} metres per pixel: use 0.05 to 2.5.")
        self.seed, self.width, self.height, self.gsd = int(seed), int(width), int(height), float(gsd)
        self.city = bool(city)
        self._layout = Layout(SceneStyle(self.seed, self.city))

    def __reduce__(self) -> tuple[type[SyntheticScene], tuple[int, int, int, float, bool]]:
        return SyntheticScene, (self.seed, self.width, self.height, self.gsd, self.city)

    @property
    def window(self) -> Window:
        """The whole scene."""
        return Window(0, 0, self.width, self.height)

    def render(self, date: Date, window: Window | None = None, *, offset: tuple[float, float] = (0.0, 0.0)) -> Bytes:
        """The image (3, H, W) uint8 RGB of one date, values 1..255.

        Args:
            date: "before" or "after".
            window: part of the scene, the whole scene by default.
            offset: pixels by which the picture moves right and down: what lies at (col, row) appears at
                (col + offset[0], row + offset[1]); the ground is painted there, not resampled.
        """
        when = _when(date)
        image = self._assembled(window, (3,), lambda canvas: chunk_image(self._layout, when, canvas), offset)
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def truth(self, window: Window | None = None) -> Bytes:
        """Change (H, W) uint8: 1 where a building stands that is there on exactly one date."""
        return self._masks(window, {BEFORE: BEFORE, AFTER: AFTER})

    def buildings(self, date: Date, window: Window | None = None) -> Bytes:
        """Roofs (H, W) uint8: 1 where a building stands on that date."""
        when = _when(date)
        return self._masks(window, {when: when, BOTH: when})

    def _masks(self, window: Window | None, chosen: dict[int, int]) -> Bytes:
        return self._assembled(window, (), lambda canvas: building_mask(self._layout, canvas, chosen))

    def _assembled(
        self, window: Window | None, bands: tuple[int, ...], paint: Painter, offset: tuple[float, float] = (0.0, 0.0)
    ) -> Bytes:
        window = window or self.window
        if window.width < 1 or window.height < 1:
            raise SceneError(f"A window of {window.width} x {window.height} pixels is empty: give at least 1 x 1.")
        result = np.empty((window.height, window.width, *bands), np.uint8)
        for row in range(window.row_off // CHUNK * CHUNK, window.row_end, CHUNK):
            for col in range(window.col_off // CHUNK * CHUNK, window.col_end, CHUNK):
                chunk = Window(col, row, CHUNK, CHUNK)
                part = chunk.intersection(window)
                assert part is not None
                image = paint(Canvas(col, row, CHUNK, CHUNK, self.gsd, offset))
                result[part.slices_in(window)] = image[part.slices_in(chunk)]
        return result


def _when(date: str) -> int:
    if date not in _DATES:
        raise SceneError(f'A scene has no date "{date}": ask for "before" or "after".')
    return _DATES[date]
