"""How a watch is doing, read from its ledger: also while it runs, and when it does not."""

from __future__ import annotations

import dataclasses
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from schanger_edge.errors import SchangerError
from schanger_edge.watch.ledger import HOOK_FAILED, LEDGER, LOOKING, QUARANTINED, Ledger

_LATELY = 24 * 3600.0
_LISTED = 5


@dataclasses.dataclass(frozen=True)
class Status:
    """A watch at one moment.

    Attributes:
        state: what the watch last said it does.
        heard: seconds since it said so; None where it never did.
        counts: scenes and pairs by state, see `Ledger.counts`.
        queue: names of the pairs that are to be run, those that come first.
        results: published in all.
        results_lately: in the last 24 hours.
        megapixels_per_second: of the pairs that were published in the last 24 hours; None where none was.
        errors: the last ones: `when` (ISO 8601, UTC), `what`, `reason`.
    """

    state: str
    heard: float | None
    counts: dict[str, int]
    queue: list[str]
    results: int
    results_lately: int
    megapixels_per_second: float | None
    errors: list[dict[str, str]]


def status(output: Path) -> Status:
    """How the watch of an output folder is doing.

    Raises:
        SchangerError: no watch has worked there.
    """
    if not (Path(output) / LEDGER).exists():
        raise SchangerError(f"{output} holds no {LEDGER}: give the folder that `watch` got as --out.")
    ledger = Ledger(Path(output), read_only=True)
    try:
        notes, totals, lately = ledger.notes(), ledger.totals(), ledger.totals(time.time() - _LATELY)
        speed = lately["pixels"] / 1e6 / lately["seconds"] if lately["seconds"] else None
        return Status(
            state=notes.get("state", "unknown"),
            heard=time.time() - float(notes["heard"]) if "heard" in notes else None,
            counts=ledger.counts(),
            queue=[job.name for job in ledger.queued()[:_LISTED]],
            results=int(totals["results"]),
            results_lately=int(lately["results"]),
            megapixels_per_second=speed,
            errors=_errors(ledger),
        )
    finally:
        ledger.close()


def _errors(ledger: Ledger) -> list[dict[str, str]]:
    found: list[tuple[float, str, Any]] = []
    for scene in ledger.scenes(QUARANTINED, LOOKING):
        found.append((scene.seen, scene.name, scene.reason))
    for job in ledger.jobs("WHERE reason IS NOT NULL OR hook = ?", (HOOK_FAILED,)):
        found.append((job.ended or job.queued, job.name, job.reason or job.hook_reason))
    found = [error for error in found if error[2]]
    found.sort(key=lambda error: error[0], reverse=True)
    return [
        {"when": datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds"), "what": what, "reason": reason}
        for at, what, reason in found[:_LISTED]
    ]
