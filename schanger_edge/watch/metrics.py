"""Figures for Prometheus, as a file for node_exporter's textfile collector.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import time
from pathlib import Path

from schanger_edge.errors import ProductError
from schanger_edge.files import replacing
from schanger_edge.watch.ledger import DONE, FAILED, HOOK_FAILED, QUEUED, Ledger

_PREFIX = "schanger_edge_watch_"
_PAIRS = (QUEUED, DONE, FAILED)


def metrics(ledger: Ledger, *, paused: bool, free: int) -> str:
    """The text of the file.

    Args:
        ledger: what is counted.
        paused: whether the watch waits for room.
        free: bytes that are free for results.
    """
    counts, totals = ledger.counts(), ledger.totals()
    hooks = len(ledger.jobs("WHERE hook = ?", (HOOK_FAILED,)))
    scenes = {state: number for state, number in counts.items() if state not in (*_PAIRS, "waiting")}
    lines = [
        *_metric("scenes", "gauge", "Scenes by state.", {f'{{state="{state}"}}': scenes[state] for state in scenes}),
        *_metric("scenes_waiting", "gauge", "Good scenes without an earlier one of their place.", counts["waiting"]),
        *_metric("queue", "gauge", "Pairs that are to be run.", counts[QUEUED]),
        *_metric("results_total", "counter", "Pairs that were published.", totals["results"]),
        *_metric("failed_pairs_total", "counter", "Pairs that failed for good.", counts[FAILED]),
        *_metric("failed_hooks_total", "counter", "Results whose hook failed.", hooks),
        *_metric("pixels_total", "counter", "Scene pixels of published pairs.", totals["pixels"]),
        *_metric("run_seconds_total", "counter", "Seconds that published pairs took.", totals["seconds"]),
        *_metric("last_result_timestamp_seconds", "gauge", "When the last pair was published.", totals["last"]),
        *_metric("paused", "gauge", "1 while the watch waits for room on the disk.", int(paused)),
        *_metric("free_bytes", "gauge", "Room for results.", free),
        *_metric("heartbeat_timestamp_seconds", "gauge", "When this was written.", time.time()),
    ]
    return "\n".join(lines) + "\n"


def write_metrics(path: Path, text: str) -> None:
    """Replace the file at once, so that none reads half of it.

    Raises:
        ProductError: it cannot be written.
    """
    with replacing(path, ProductError) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)  # node_exporter is another user


def _metric(name: str, kind: str, meaning: str, value: float | dict[str, int]) -> list[str]:
    values = value if isinstance(value, dict) else {"": value}
    head = [f"# HELP {_PREFIX}{name} {meaning}", f"# TYPE {_PREFIX}{name} {kind}"]
    return [*head, *(f"{_PREFIX}{name}{labels} {number!r}" for labels, number in values.items())]
