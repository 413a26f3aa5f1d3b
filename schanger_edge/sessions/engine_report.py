"""What a session ran on and how, for the results of a run: device and why it, typing, batch, time per stage."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable
from typing import Any

from schanger_edge.sessions import Session


@dataclasses.dataclass(frozen=True)
class Account:
    """What was used.

    Attributes:
        device: engine, version and device in words.
        chosen: why this device.
        precision: the model's, by its card.
        typing: TensorRT's, `strong` (types as in the model file) or `weak` (by flags); None for other engines.
        flags: builder flags of the plan.
        batch: pairs of tiles in a full batch, after whatever the device had no room for.
        stages: by stage on the device (`copy_in`, `infer`, `copy_out`) the number of batches measured, and median and
            95th percentile in milliseconds; empty where the session does not measure them.
        notes: what the session had to say, in sentences.
    """

    device: str
    chosen: str
    precision: str
    typing: str | None
    flags: tuple[str, ...]
    batch: int
    stages: dict[str, dict[str, float]]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def account(session: Session, batch: int = 1) -> Account:
    """The account of a session, when its work is done.

    Args:
        session: open or closed.
        batch: pairs of tiles it was given at once.
    """
    return Account(
        session.device, session.chosen, session.card.precision, session.typing, session.flags,
        batch_taken(session, batch), _stages(session.timings), tuple(session.notes),
    )  # fmt: skip


def batch_taken(session: Session, batch: int) -> int:
    """How many pairs of tiles of a batch the session takes at once."""
    return min(batch, session.max_batch or batch)


def _stages(timings: Iterable[tuple[str, float]]) -> dict[str, dict[str, float]]:
    times: dict[str, list[float]] = {}
    for stage, milliseconds in timings:
        times.setdefault(stage, []).append(milliseconds)
    return {stage: _summary(values) for stage, values in times.items()}


def _summary(values: list[float]) -> dict[str, float]:
    late = sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]
    return {"batches": len(values), "median_ms": round(statistics.median(values), 4), "p95_ms": round(late, 4)}
