"""Parity: a model file reproduces the probabilities of what it was made from; once converted, within limits.

The only module of the factory that opens sessions. It needs onnx, but no torch, so that conversions can use it too.

A model that cannot be opened, fails, or differs by more than it may is a SchangerError of one sentence.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from schanger_edge.datasets.draw import TileSet
from schanger_edge.datasets.tile_pool import WholeTile
from schanger_edge.errors import ModelError
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.model.decision import is_change
from schanger_edge.progress import Progress
from schanger_edge.sessions import Session, open_session

FP16_STEP = 2.0**-10
SMALLEST = 1e-6  # smaller weights may become FP16's smallest number

BATCH_SIZES = (1, 3)
"""A batch of one, and one that is neither one nor even: constants baked in for the batch show there."""

Tiles = NDArray[np.uint8]
Runner = Callable[[Tiles, Tiles], NDArray[np.float32]]
"""Tiles of both dates, uint8 (N, 3, T, T) -> probability (N, 1, T, T); a session's `run` is one."""


def largest_difference(reference: Runner, model: Path, tiles: tuple[Tiles, Tiles]) -> float:
    """Largest absolute difference in probability between a reference and a model file, 0-1; NaN where one is.

    Args:
        reference: what the model must equal; called with one pair of tiles at a time.
        model: an .onnx file, opened on the CPU and run in batches of 1 and 3.
        tiles: both dates, twice (N, 3, T, T) uint8.
    """
    before, after = tiles
    wanted = np.concatenate([reference(before[i : i + 1], after[i : i + 1]) for i in range(len(before))])
    with open_session(model) as session:
        found = [
            [session.run(before[i : i + size], after[i : i + size]) for i in range(0, len(before), size)]
            for size in BATCH_SIZES
        ]
    return float(np.max([np.abs(np.concatenate(parts) - wanted) for parts in found]))


class Reference:
    """An FP32 model and its probabilities on a set of tiles, the reference for converted models.

    Use it as a context manager while tiles are drawn and predicted; the probabilities stay available afterwards.
    """

    def __init__(self, model: Path) -> None:
        self._session = open_session(model)
        self.threshold = self._session.card.threshold
        self.tile = self._session.least_tile
        self.tiles = TileSet([], [])
        self._probabilities: list[NDArray[np.float32]] = []

    def change(self, tile: WholeTile) -> NDArray[np.bool_]:
        """The model's own change map (T, T)."""
        return is_change(_infer(self._session, tile), self.threshold)

    def look_at(self, tiles: TileSet, progress: Progress) -> None:
        """Predict the tiles to compare on."""
        self.tiles = tiles
        self._probabilities = [_infer(self._session, tile) for tile in told(tiles, "reference", progress)]

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def score(self, model: onnx.ModelProto | Path, every: int = 1) -> Agreement:
        """Agreement of a model, in memory or in a file, with the parent, on every n-th tile."""
        result = Agreement()
        with tempfile.TemporaryDirectory() as folder:
            if not isinstance(model, Path):
                onnx.save_model(model, str(path := Path(folder) / "candidate.onnx"))
                model = path
            with open_session(model) as session:
                for tile, probability in zip(self.tiles.every(every), self._probabilities[::every], strict=True):
                    result.add(probability, _infer(session, tile), tile.label, (self.threshold, self.threshold))
        return result


def told(tiles: TileSet, stage: str, progress: Progress) -> Iterator[WholeTile]:
    """The tiles; of each that was made use of, `progress` hears."""
    for number, tile in enumerate(tiles, 1):
        yield tile
        progress(stage, number, len(tiles))


def _infer(session: Session, tile: WholeTile) -> NDArray[np.float32]:
    """Probability (T, T) of one tile."""
    probability: NDArray[np.float32] = session.run(tile.before[None], tile.after[None])[0, 0]
    return probability


def check_weights(parent: onnx.ModelProto, converted: onnx.ModelProto) -> None:
    """Every floating-point weight of the parent is in the converted model, to FP16's precision."""
    there = {tensor.name: tensor for tensor in converted.graph.initializer}
    for tensor in parent.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        if tensor.name not in there:
            raise ModelError(f"the converted model lacks the weight {tensor.name}: nothing was written.")
        wanted, got = (numpy_helper.to_array(t).astype(np.float64) for t in (tensor, there[tensor.name]))
        if wanted.shape != got.shape or not (np.abs(wanted - got) <= FP16_STEP * np.abs(wanted) + SMALLEST).all():
            raise ModelError(f"the weight {tensor.name} differs in the converted model: nothing was written.")


def check_parity(found: Agreement, limits: Sequence[tuple[str, float, float]]) -> None:
    """Raise ModelError where a value passes its limit; each is (in words, value, limit)."""
    for words, value, limit in limits:
        if not value <= limit:  # also true for NaN
            raise ModelError(
                f"the converted model differs from its parent on {found.tiles} tiles: {words} {value:.2g}, more than "
                f"{limit:g}: nothing was written."
            )


def image_like_tiles(count: int, tile: int, seed: int = 36) -> tuple[Tiles, Tiles]:
    """Pairs of tiles that look like images rather than noise: smooth colour, sharp edges, a little noise.

    Roofs (rectangles) appear and vanish between the dates; light and colour differ as they do between seasons.

    Returns:
        before and after, each (count, 3, tile, tile) uint8; the same on every machine for one seed.
    """
    rng = np.random.default_rng(seed)
    pairs = [_pair(rng, tile) for _ in range(count)]
    before, after = (np.stack(date) for date in zip(*pairs, strict=True))
    return before, after


def _pair(rng: np.random.Generator, tile: int) -> tuple[Tiles, Tiles]:
    ground = _smooth(rng, tile) * 90 + rng.uniform(60, 140, (3, 1, 1))
    before, after = ground.copy(), ground * rng.uniform(0.7, 1.2) + rng.uniform(-20, 20, (3, 1, 1))
    for _ in range(12):
        row, col = rng.integers(0, tile - 4, 2)
        height, width = rng.integers(4, max(tile // 4, 5), 2)
        roof, fate = rng.uniform(30, 240, (3, 1, 1)), rng.integers(3)
        for date, present in ((before, fate != 0), (after, fate != 1)):  # appeared, vanished or unchanged
            if present:
                date[:, row : row + height, col : col + width] = roof
    noisy = (date + rng.normal(0, 4, date.shape) for date in (before, after))
    first, second = (np.clip(np.rint(date), 0, 255).astype(np.uint8) for date in noisy)
    return first, second


def _smooth(rng: np.random.Generator, tile: int) -> NDArray[np.float64]:
    """A sum of long waves, about -1 to 1, (3, tile, tile)."""
    position = np.arange(tile) / tile
    field = np.zeros((3, tile, tile))
    for _ in range(6):
        rows, cols = rng.uniform(-3, 3, 2)  # waves across the tile
        phase = rng.uniform(0, 2 * np.pi, (3, 1, 1))
        field += np.cos(2 * np.pi * (rows * position[:, None] + cols * position[None, :]) + phase)
    return field / 4
