"""One scene through a model, tile by tile: each tile's core kept, or overlapping tiles blended; and what seams show."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from schanger_edge.grid import Window
from schanger_edge.sessions import Session
from schanger_edge.tiling import TilePlan, axis_spans, pad_to_tile


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
        self._session, self._scene, self._done = session, scene, dict[Window, NDArray[np.float32]]()

    def __call__(self, window: Window) -> NDArray[np.float32]:
        """Probability (h, w) of a window of at most a tile; 0 where it holds nothing valid and so isn't run."""
        if window not in self._done:
            self._done[window] = self._infer(*window.slices_in(Window(0, 0, *self._scene.valid.shape[::-1])))
        return self._done[window]

    def _infer(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        shape = self._scene.valid[rows, cols].shape
        if not self._scene.valid[rows, cols].any():
            return np.zeros(shape, np.float32)
        dates = (self._scene.before, self._scene.after)
        before, after = (pad_to_tile(date[:, rows, cols], self._session.card.tile)[None] for date in dates)
        return self._session.run(before, after)[0, 0, : shape[0], : shape[1]]


@dataclasses.dataclass(frozen=True)
class Stitched:
    """Probability (H, W) by both ways of joining the same tiles."""

    kept: NDArray[np.float32]
    blended: NDArray[np.float32]


def stitch(infer: Inference, plan: TilePlan) -> Stitched:
    """Join the tiles of a plan in both ways.

    Kept: a pixel takes what its owner says, as in `run`. Blended: the mean over all tiles that see it, weighted by
    `blend_weights`; the weights are divided by their sum, so that they sum to one on every pixel.
    """
    whole = Window(0, 0, plan.width, plan.height)
    kept, total, weights = (np.zeros((plan.height, plan.width), np.float32) for _ in range(3))
    weight = blend_weights(plan.tile, plan.halo)
    for strip in plan.strips():
        for tile in strip:
            at, probability = tile.window.slices_in(whole), infer(tile.window)
            kept[tile.owned.slices_in(whole)] = probability[tile.owned.slices_in(tile.window)]
            own = weight[: tile.window.height, : tile.window.width]
            total[at] += own * probability
            weights[at] += own
    return Stitched(kept, total / weights)


def blend_weights(tile: int, halo: int) -> NDArray[np.float32]:
    """(T, T) of 0-1: rises linearly over the overlap of two neighbours (twice the halo), and is 1 inside."""
    inside = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 0.5
    ramp = np.minimum(inside / max(2 * halo, 0.5), 1).astype(np.float32)
    return np.outer(ramp, ramp)


def jumps(
    probability: NDArray[np.float32], valid: NDArray[np.bool_], plan: TilePlan
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """|p(x + 1) - p(x)| along both axes between valid neighbours: across the borders of owned pixels, and elsewhere."""
    across, elsewhere = [], []
    for axis, length in enumerate(probability.shape):
        values, data = np.moveaxis(probability, axis, 0), np.moveaxis(valid, axis, 0)
        steps, both = np.abs(np.diff(values, axis=0)), data[1:] & data[:-1]
        border = np.zeros(length - 1, np.bool_)
        border[[end - 1 for *_, end in axis_spans(length, plan.tile, plan.halo)[:-1]]] = True
        across.append(steps[border][both[border]])
        elsewhere.append(steps[~border][both[~border]])
    return np.concatenate(across), np.concatenate(elsewhere)
