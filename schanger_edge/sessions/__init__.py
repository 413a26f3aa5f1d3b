"""Engines behind one Protocol: uint8 tiles in, probability out. A new engine is a new file here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SessionError
from schanger_edge.model.card import ModelCard

if TYPE_CHECKING:
    from schanger_edge.sessions.gpu import Binding

_Self = TypeVar("_Self", bound="OneAtATime")


class Session(Protocol):
    """A model, ready to run.

    Attributes:
        card: what the model file says of itself.
        model: the model file.
        model_sha256: hash of the model file.
        device: engine, version and device in words, such as `ONNX Runtime 1.20 (CPU, 2 threads)`.
        notes: what the user should hear of, in sentences: why this device, what differs from what was asked for.
        slots: batches that may be under way at once.
        chosen: why this device, in a few words.
        typing: TensorRT's, `strong` or `weak`; None for other engines.
        flags: TensorRT's builder flags.
        plan_sha256: of the plan, which decides about the bytes of the probability; None for other engines.
    """

    card: ModelCard
    model: Path
    model_sha256: str
    device: str
    notes: list[str]
    slots: int
    chosen: str
    typing: str | None
    flags: tuple[str, ...]
    plan_sha256: str | None

    @property
    def timings(self) -> Iterable[tuple[str, float]]:
        """(stage, milliseconds) of the latest batches on the device; nothing where they are not measured."""
        ...

    @property
    def max_batch(self) -> int | None:
        """The largest batch that goes in one piece; None for any."""
        ...

    @property
    def best_batch(self) -> int:
        """The batch that is fastest per tile, as far as is known."""
        ...

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

    def submit(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin one batch; what is returned waits for it and gives its probability.

        At most `slots` batches may be under way. Args and raises as `run`.
        """
        ...

    def close(self) -> None:
        """Give the engine's memory back."""
        ...

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class OneAtATime:
    """What sessions share that infer a batch while its caller waits: nothing is ever under way."""

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def submit(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        probability = self.run(before, after)
        return lambda: probability

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_session(
    model: str | PathLike[str],
    device: str = "cpu",
    threads: int | None = None,
    *,
    binding: Binding | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Session:
    """Open a model on a device.

    Args:
        model: an .onnx file that keeps the contract of `model_card`, or a TensorRT plan with its sidecar.
        device: `cpu` (ONNX Runtime), `cpu:openvino` (FP32; `cpu:openvino:bf16` where the CPU has it), `cuda` (TensorRT
            or TensorRT-RTX; a plan is built into the user's cache first), `cuda:onnxruntime` (its CUDA provider), or
            `auto`: TensorRT, else that provider, else the CPU, by OpenVINO where a trial finds it exact and faster.
        threads: threads of a CPU engine; None takes all cores this process may use.
        binding: by whom CUDA is reached, `cuda-python` or `pycuda`; None takes what imports.
        progress: told (phase, done, total) while a plan is built.

    Raises:
        ModelError: the file is missing, damaged, or breaks the contract.
        SessionError: the device is unknown or its engine does not start.
    """
    from schanger_edge.sessions.devices import Wish, open_on

    return open_on(Path(model), device, Wish(threads, binding, progress=progress))


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
