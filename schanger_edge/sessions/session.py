"""What every engine gives: a session, to which tiles go as uint8 and from which probability comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SessionError
from schanger_edge.model.card import ModelCard

_Self = TypeVar("_Self", bound="Session")


class Session(Protocol):
    """A model, ready to run. An engine derives its class from this one, and adds `run`, `close` and the attributes.

    Attributes:
        card: what the model file says of itself.
        model: the model file.
        model_sha256: hash of the model file.
        device: engine, version and device in words, such as `ONNX Runtime 1.20 (CPU, 2 threads)`.
        notes: what the user should hear of, in sentences: why this device, what differs from what was asked for.
        slots: batches that may be under way at once.
        chosen: why this device, in a few words.
        timings: (stage, milliseconds) of the latest batches on the device; nothing where they are not measured.
        max_batch: the largest batch that goes in one piece; None for any.
        best_batch: the batch that is fastest per tile, as far as is known.
        smaller_tile: side of tiles that it takes besides the card's, in pixels; None where it takes no other.
    """

    card: ModelCard
    model: Path
    model_sha256: str
    device: str
    notes: list[str]
    slots: int = 1
    chosen: str = ""
    timings: Iterable[tuple[str, float]] = ()
    max_batch: int | None = None
    best_batch: int = 1
    smaller_tile: int | None = None

    def describe(self) -> dict[str, Any]:
        """What the engine wants recorded with the results of a run, by key; plain values for JSON."""
        return {}

    def identity(self) -> dict[str, Any]:
        """What decides about the bytes of the probability: hash of the `model`, `device`, hash of the `plan` or None.

        The device's words name the threads of a CPU, but for the native engine: ONNX Runtime divides its sums by them,
        so that of two tiles at once the bundled models' probability from three threads and more differs by up to 1e-6
        from that of one or two, which may round a pixel the other way.
        """
        return {"model": self.model_sha256, "device": self.device, "plan": None}

    @property
    def least_tile(self) -> int:
        """The smallest tile that it takes, which images smaller than the card's, and comparisons, are cut into."""
        return self.smaller_tile or self.card.tile

    def tile_for(self, height: int, width: int) -> int:
        """The tile for a scene of that size: the card's, or the smaller one where the scene does not fill that."""
        return self.card.tile if min(height, width) >= self.card.tile else self.least_tile

    def prepare(self) -> None:
        """Do now, in seconds, what the first batch would wait for otherwise.

        Raises:
            SchangerError: the engine cannot load the model.
        """
        return

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Infer one batch.

        Args:
            before: RGB tiles of the first date, (N, 3, T, T); T is the card's tile, or the smaller one.
            after: RGB tiles of the second date, the same shape.

        Returns:
            Probability of change, 0-1, (N, 1, T, T).

        Raises:
            SessionError: the engine failed, or a value is not a probability.
        """
        ...

    def submit(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin one batch; what is returned waits for it and gives its probability.

        At most `slots` batches may be under way; with one slot the batch is done at once. Args and raises as `run`.
        """
        probability = self.run(before, after)
        return lambda: probability

    def close(self) -> None:
        """Give the engine's memory back."""
        ...

    def check_tiles(self, *dates: NDArray[np.uint8]) -> None:
        """Raise SessionError unless the dates are tiles that the session takes."""
        number, sides = len(dates[0]), (self.card.tile, self.least_tile)
        for date in dates:
            if date.dtype != np.uint8 or date.shape not in [(number, 3, side, side) for side in sides]:
                tile = self.card.tile
                raise SessionError(
                    f"{self.model.name} takes tiles (N, 3, {tile}, {tile}) uint8 of both dates, not {date.shape} "
                    f"{date.dtype}."
                )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_probability(probability: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Raise SessionError unless the array has this shape and every value lies in 0-1."""
    if probability.shape != shape:
        raise SessionError(f"the model returned shape {probability.shape} where {shape} was expected: export it again.")
    low, high = float(probability.min(initial=0)), float(probability.max(initial=0))
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also false for NaN
        raise SessionError(
            f"the model returned values between {low:g} and {high:g}, which are not probabilities: its weights or "
            "its precision are broken."
        )
