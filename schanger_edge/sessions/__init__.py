"""Engines behind one Protocol: uint8 tiles in, probability out. A new engine is a new file here."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SessionError
from schanger_edge.model_card import ModelCard


class Session(Protocol):
    """A model, ready to run.

    Attributes:
        card: what the model file says of itself.
        model: the model file.
        model_sha256: hash of the model file.
        device: engine, version and device in words, such as `ONNX Runtime 1.20 (CPU, 2 threads)`.
    """

    card: ModelCard
    model: Path
    model_sha256: str
    device: str

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Infer one batch.

        Args:
            before: RGB tiles of the first date, (N, 3, T, T); T is the card's tile.
            after: RGB tiles of the second date, the same shape.

        Returns:
            Probability of change, 0-1, (N, 1, T, T).

        Raises:
            SessionError: the engine failed, or a value is not a probability.
        """
        ...

    def close(self) -> None:
        """Give the engine's memory back."""
        ...

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_session(model: str | PathLike[str], device: str = "cpu", threads: int | None = None) -> Session:
    """Open a model file on a device.

    Args:
        model: an .onnx file that keeps the contract of `model_card`.
        device: `cpu` (ONNX Runtime).
        threads: threads of a CPU engine; None takes all cores this process may use.

    Raises:
        ModelError: the file is missing, damaged, or breaks the contract.
        SessionError: the device is unknown or its engine does not start.
    """
    if device != "cpu":
        raise SessionError(f"device {device!r} is unknown: use cpu.")
    from schanger_edge.sessions.ort import OnnxRuntimeSession

    return OnnxRuntimeSession(Path(model), threads)


def check_probability(probability: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Raise SessionError unless the array has this shape and every value lies in 0-1."""
    if probability.shape != shape:
        raise SessionError(f"the model returned shape {probability.shape} where {shape} was expected: export it again.")
    low, high = float(probability.min(initial=0)), float(probability.max(initial=0))
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also false for NaN
        raise SessionError(
            f"the model returned values between {low:g} and {high:g}, which are no probabilities: "
            "its weights or its precision are broken."
        )
