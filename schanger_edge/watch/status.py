"""How a watch is doing, from its ledger: for people, while it runs or not, and for Prometheus."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace

from schanger_edge.errors import ProductError, SchangerError
from schanger_edge.files import replacing
from schanger_edge.watch.ledger import DONE, FAILED, HOOK_FAILED, LEDGER, QUEUED, Ledger

_LATELY = 24 * 3600.0
_LISTED = 5
_PREFIX = "schanger_edge_watch"


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
        megapixels_per_second: of the pairs that were published in the last 24 hours; None where there were none.
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
    """How the watch of an output folder is doing; SchangerError where none has worked there."""
    if not (Path(output) / LEDGER).exists():
        raise SchangerError(f"{output} has no {LEDGER}: give the folder passed to `watch` as --output.")
    with contextlib.closing(Ledger(Path(output), read_only=True)) as ledger:
        notes, totals, lately = ledger.notes(), ledger.totals(), ledger.totals(time.time() - _LATELY)
        return Status(
            state=notes.get("state", "unknown"),
            heard=time.time() - float(notes["heard"]) if "heard" in notes else None,
            counts=ledger.counts(),
            queue=[job.name for job in ledger.jobs(state=QUEUED)[:_LISTED]],
            results=int(totals["results"]),
            results_lately=int(lately["results"]),
            megapixels_per_second=lately["pixels"] / 1e6 / lately["seconds"] if lately["seconds"] else None,
            errors=ledger.errors(_LISTED),
        )


def write_metrics(path: Path, ledger: Ledger, *, paused: bool, free: int) -> None:
    """Replace the .prom file for node_exporter's textfile collector at once, so that nobody reads half of it.

    It says what the ledger counts, whether the watch is paused for want of room, and how many bytes are free for
    results; ProductError where it cannot be written.
    """
    from prometheus_client import write_to_textfile
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    counts, totals = ledger.counts(), ledger.totals()
    scenes = GaugeMetricFamily(f"{_PREFIX}_scenes", "Scenes by state.", labels=["state"])
    for state, number in counts.items():
        if state not in (QUEUED, DONE, FAILED, "waiting"):
            scenes.add_metric([state], number)
    gauge, counter = GaugeMetricFamily, CounterMetricFamily
    figures = (
        (gauge, "scenes_waiting", "Valid scenes without an earlier one of the same place.", counts["waiting"]),
        (gauge, "queue", "Pairs waiting to be run.", counts[QUEUED]),
        (counter, "results", "Pairs that were published.", totals["results"]),
        (counter, "failed_pairs", "Pairs that failed permanently.", counts[FAILED]),
        (counter, "failed_hooks", "Results whose hook failed.", len(ledger.jobs(hook=HOOK_FAILED))),
        (counter, "pixels", "Scene pixels of published pairs.", totals["pixels"]),
        (counter, "run_seconds", "Seconds spent on published pairs.", totals["seconds"]),
        (gauge, "last_result_timestamp_seconds", "Time the last pair was published.", totals["last"]),
        (gauge, "paused", "1 while the watch waits for disk space.", int(paused)),
        (gauge, "free_bytes", "Free disk space for results.", free),
        (gauge, "heartbeat_timestamp_seconds", "Time of writing.", time.time()),
    )
    families = [scenes, *(kind(f"{_PREFIX}_{name}", meaning, value) for kind, name, meaning, value in figures)]
    with replacing(path, ProductError) as temporary:
        write_to_textfile(str(temporary), SimpleNamespace(collect=lambda: families))
        temporary.chmod(0o644)  # node_exporter is another user
