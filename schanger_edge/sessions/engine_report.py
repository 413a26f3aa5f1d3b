"""What a session ran on and how, for the results of a run: device and why it, batch, time per stage, notes."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable
from typing import Any

from schanger_edge.sessions.session import Session

_ALWAYS = {"typing": None, "flags": ()}
"""Recorded for every engine, so that a reader of summary.json finds the same keys whatever ran."""


@dataclasses.dataclass(frozen=True)
class EngineReport:
    """What was used.

    Attributes:
        device: engine, version and device in words.
        chosen: why this device.
        precision: the model's, by its card.
        details: what the engine says of itself, see `Session.describe`.
        batch: pairs of tiles in a full batch, after whatever the device had no room for.
        stages: by stage on the device (`copy_in`, `infer`, `copy_out`) the number of batches measured, and median and
            95th percentile in milliseconds; empty where the session does not measure them.
        notes: what the session had to say, in sentences.
    """

    device: str
    chosen: str
    precision: str
    details: dict[str, Any]
    batch: int
    stages: dict[str, dict[str, float]]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the details stand among the rest."""
        own = {"device": self.device, "chosen": self.chosen, "precision": self.precision}
        return {**own, **_ALWAYS, **self.details, "batch": self.batch, "stages": self.stages, "notes": self.notes}


def engine_report(session: Session, batch: int = 1) -> EngineReport:
    """The report on a session, open or closed, whose work is done; it was given `batch` pairs of tiles at once."""
    return EngineReport(
        device=session.device,
        chosen=session.chosen,
        precision=session.card.precision,
        details=session.describe(),
        batch=batch_taken(session, batch),
        stages=_stages(session.timings),
        notes=tuple(session.notes),
    )


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
