"""The receiver of a run's results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window


class Sink(Protocol):
    """Takes results section by section, such as `products.rasters.RasterSink`."""

    def begin(self, section: Window) -> None:
        """Start a section with this window."""
        ...

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        """Take the pixels (h, w) finalized by one tile; probability is None if none of them is valid."""
        ...

    def end(self, edges: Mapping[str, NDArray[np.float32]]) -> None:
        """End the section; `edges` is what its neighbours will ask for, see `Blender.edges`."""
        ...

    def edge(self, section: Window, name: str) -> NDArray[np.float32] | None:
        """The named edge of a section, of this run or an earlier one; None if it left none. Asked for once."""
        ...
