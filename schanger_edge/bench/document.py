"""From finished parts to the document that all results are made of: every figure with its n."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.bench.findings import Row, advice, doubts
from schanger_edge.bench.measure import SITTINGS
from schanger_edge.bench.method import METHOD, PERCENTILES, ROUNDS, percentile, spread
from schanger_edge.bench.plan import Case, Model, Place, Plan
from schanger_edge.bench.report import FORMAT
from schanger_edge.bench.state import State, part
from schanger_edge.model.published import DATASETS
from schanger_edge.sessions.ort import available_cores

FACTS = ("sha256", "size", "dataset", "precision", "tile", "halo", "gsd")
"""Of a model."""


def document(plan: Plan, state: State, energy_of: Mapping[str, str]) -> dict[str, Any]:
    """The content of bench.json.

    Args:
        plan: what was measured.
        state: its finished parts.
        energy_of: what the energy is of, by device; empty where nothing is measured.
    """
    cases, sittings = plan.cases, state.get(SITTINGS)
    blocks = {case.key: _finished(state, [part(f"round {k}", case.key) for k in range(ROUNDS)]) for case in cases}
    unsettled = [case.key for case in cases if (warm := _warm_up(state, case)) and not warm["settled"]]
    asked = plan.request
    options = {"devices": plan.devices, "batches": list(asked.batch_sizes), "rounds": ROUNDS}
    options |= {"repetitions": asked.repetitions, "pair_runs": asked.pair_runs, "gsd": asked.gsd}
    result: dict[str, Any] = {
        "format": FORMAT,
        "schanger_edge": __version__,
        "ended": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": dict(plan.machine),
        "options": options,
        "models": [_model(model) for model in plan.models],
        "engines": [_engine(place) for place in plan.places],
        "accuracy": _accuracy(plan, state),
        "published": _published(),
        "speed": [_speed(plan, case, state, blocks[case.key]) for case in cases],
        "end_to_end": [_end_to_end(plan, place, state) for place in plan.places] if plan.pair else [],
        "conditions": sittings,
        "doubts": doubts(sittings, [rounds for rounds in blocks.values() if rounds], unsettled, available_cores()),
        "method": list(METHOD),
    }
    for row in (*result["speed"], *result["end_to_end"]):
        row["energy_of"] = energy_of[row["device"]] or None
    return result | {"advice": advice(result)}


def _finished(state: State, names: Sequence[str]) -> list[Any]:
    return [found for name in names if (found := state.get(name)) is not None]


def _warm_up(state: State, case: Case) -> Any:
    return state.get(part("warm-up", case.key))


def _model(model: Model) -> dict[str, Any]:
    own = {"name": model.name, "file": model.path.name, "bytes": model.path.stat().st_size}
    return own | {key: model.facts[key] for key in FACTS}


def _engine(place: Place) -> dict[str, Any]:
    own = {"device": place.device, "model": place.model.name}
    return own | {"engine": place.engine.words, "notes": list(place.engine.notes)}


def _accuracy(plan: Plan, state: State) -> list[dict[str, Any]]:
    rows = []
    for entry in plan.datasets:
        for place in plan.places:
            row = {"device": place.device, "model": place.model.name, "dataset": entry.name, "split": entry.split}
            rows.append(row | state.get(part("accuracy", place.key, entry.label)))
    return rows


def _published() -> list[dict[str, Any]]:
    """Of the six datasets and both networks."""
    rows = []
    for entry in DATASETS.values():
        for size, paper in entry.paper_f1.items():
            row: dict[str, Any] = {"dataset": entry.name, "size": size, "paper_f1": paper}
            rows.append(row | {"checkpoint_f1": entry.checkpoint_f1[size], "tiles": entry.test_tiles})
    return rows


def _speed(plan: Plan, case: Case, state: State, rounds: Sequence[Row]) -> dict[str, Any]:
    memory, place = state.get(part("memory", case.key)), case.place
    row = {"device": place.device, "model": place.model.name, "batch": case.batch_size, "failed": memory.get("failed")}
    row |= {"warm_up": _warm_up(state, case), "latency_ms": _latency(rounds)}
    row |= _throughput(rounds, plan.request.gsd or place.model.facts["gsd"])
    row |= {"host_bytes": memory.get("host_bytes"), "device_bytes": memory.get("device_bytes"), "memory_n": 1}
    return row


def _latency(rounds: Sequence[Row]) -> dict[str, Any] | None:
    times = [time for block in rounds for time in block["latency_ms"]]
    if not times:
        return None
    medians = spread([statistics.median(block["latency_ms"]) for block in rounds])
    percentiles = {f"p{percent}": percentile(times, percent) for percent in PERCENTILES}
    return {"n": len(times), **percentiles, "p50_of_rounds": medians}


def _end_to_end(plan: Plan, place: Place, state: State) -> dict[str, Any]:
    runs = [state.get(part(f"pair {number}", place.key)) for number in range(plan.request.pair_runs)]
    row: dict[str, Any] = {"device": place.device, "model": place.model.name}
    row |= {"batch": runs[0]["batch"], "megapixels": runs[0]["megapixels"]}
    row |= {"seconds": spread([run["seconds"] for run in runs])}
    row |= _throughput(runs, runs[0]["gsd"] or plan.request.gsd or place.model.facts["gsd"])
    return row | {stage: spread([run[stage] for run in runs]) for stage in ("read_busy", "infer_busy", "write_busy")}


def _throughput(measured: Sequence[Row], gsd: float | None) -> dict[str, Any]:
    """Megapixels and km2 per second, and energy for as much ground, of blocks or runs."""
    rate = spread([one["megapixels"] / one["seconds"] for one in measured])
    ground, joules = None, None
    if gsd is not None:
        ground = rate and {key: value if key == "n" else value * gsd**2 for key, value in rate.items()}
        if all(one["joules"] is not None for one in measured):
            joules = spread([one["joules"] / (one["megapixels"] * gsd**2) for one in measured])
    figures = {"megapixels_per_second": rate, "gsd": gsd, "km2_per_second": ground}
    return figures | {"energy_of": None, "joules_per_km2": joules}
