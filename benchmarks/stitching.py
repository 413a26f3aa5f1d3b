"""One scene through a model, tile by tile: each tile's core kept, or overlapping tiles blended; and what seams show.

It says in few lines, over whole arrays, what `run` does section by section; a test holds them together.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window
from schanger_edge.sessions import Session
from schanger_edge.tiling.plan import TilePlan, axis_spans, pad_to_tile


@dataclasses.dataclass(frozen=True)
class Scene:
    """A pair in memory: uint8 RGB (3, H, W) of both dates, where both have data (H, W), and the label (H, W) if any."""

    name: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    label: NDArray[np.bool_] | None = None


class Inference:
    """A scene's tiles through a model; plans that differ in their halo share tiles, and none is inferred twice."""

    def __init__(self, session: Session, scene: Scene) -> None:
        self._session, self.scene, self._done = session, scene, dict[Window, NDArray[np.float32]]()

    def __call__(self, window: Window) -> NDArray[np.float32]:
        """Probability (h, w) of a window of at most a tile; 0 where it holds nothing valid and so isn't run."""
        if window not in self._done:
            self._done[window] = self._infer(*window.slices_in(Window(0, 0, *self.scene.valid.shape[::-1])))
        return self._done[window]

    def _infer(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        shape = self.scene.valid[rows, cols].shape
        if not self.scene.valid[rows, cols].any():
            return np.zeros(shape, np.float32)
        dates = (self.scene.before, self.scene.after)
        before, after = (pad_to_tile(date[:, rows, cols], self._session.card.tile)[None] for date in dates)
        return self._session.run(before, after)[0, 0, : shape[0], : shape[1]]


def keep_cores(infer: Inference, plan: TilePlan) -> NDArray[np.float32]:
    """Probability (H, W): each pixel takes what the tile says in whose core it lies."""
    whole, kept = Window(0, 0, plan.width, plan.height), np.zeros((plan.height, plan.width), np.float32)
    for strip in dataclasses.replace(plan, blend=0).strips():
        for tile in strip:
            kept[tile.owned.slices_in(whole)] = infer(tile.window)[tile.owned.slices_in(tile.window)]
    return kept


def blend(infer: Inference, plan: TilePlan) -> NDArray[np.float32]:
    """Probability (H, W): the sum over all tiles, each times its `axis_weights` along both axes."""
    total = np.zeros((plan.height, plan.width), np.float32)
    for row, down in axis_weights(plan.height, plan):
        for col, across in axis_weights(plan.width, plan):
            window = Window(col, row, across.size, down.size)
            total[row : row + down.size, col : col + across.size] += np.outer(down, across) * infer(window)
    return total


def axis_weights(length: int, plan: TilePlan) -> list[tuple[int, NDArray[np.float32]]]:
    """Of each tile along an axis: offset, and weights (T,): a ramp of 2 * blend pixels over each border of cores."""
    cores = axis_spans(length, plan.tile, plan.halo)
    found = []
    for offset, size, start, end in cores:
        centres, wide = np.arange(offset, offset + size) + 0.5, max(2 * plan.blend, 1e-6)
        rise = np.clip((centres - start) / wide + 0.5, 0, 1) if start else np.ones(size)
        fall = np.clip((end - centres) / wide + 0.5, 0, 1) if end < length else np.ones(size)
        found.append((offset, (rise * fall).astype(np.float32)))
    return found


def jumps(
    probability: NDArray[np.float32], valid: NDArray[np.bool_], plan: TilePlan
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """|p(x + 1) - p(x)| along both axes between valid neighbours: across the borders of cores, and elsewhere."""
    across, elsewhere = [], []
    for axis, length in enumerate(probability.shape):
        values, data = np.moveaxis(probability, axis, 0), np.moveaxis(valid, axis, 0)
        steps, both = np.abs(np.diff(values, axis=0)), data[1:] & data[:-1]
        border = np.zeros(length - 1, np.bool_)
        border[[end - 1 for *_, end in axis_spans(length, plan.tile, plan.halo)[:-1]]] = True
        across.append(steps[border][both[border]])
        elsewhere.append(steps[~border][both[~border]])
    return np.concatenate(across), np.concatenate(elsewhere)
