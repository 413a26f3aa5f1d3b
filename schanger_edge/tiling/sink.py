"""What takes the results of a scene as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window


class Sink(Protocol):
    """Takes results section by section: see `products.rasters.RasterSink`."""

    def begin(self, section: Window) -> None:
        """What follows lies in this window."""
        ...

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        """Take one tile's owned pixels (h, w); probability is None where no pixel is valid."""
        ...

    def end(self, edges: Mapping[str, NDArray[np.float32]]) -> None:
        """All pixels of the section have been taken; `edges` is what its neighbours will ask for."""
        ...

    def edge(self, section: Window, name: str) -> NDArray[np.float32] | None:
        """An edge that a section left, now or in an earlier run; None if it left none. Asked once, by a neighbour."""
        ...
