"""The whole benchmark: find what is asked for, measure, put together the document that all results are made of."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.bench.findings import Row, advice, doubts
from schanger_edge.bench.measure import SITTINGS, State, measure
from schanger_edge.bench.method import METHOD, PERCENTILES, ROUNDS, percentile, spread
from schanger_edge.bench.plan import Case, Model, Place, Plan, Request, find
from schanger_edge.bench.report import FORMAT, check_folder, read_document, write_results
from schanger_edge.errors import require
from schanger_edge.model.published import DATASETS
from schanger_edge.progress import Progress
from schanger_edge.sessions.ort import available_cores


def bench(
    output: str | PathLike[str],
    request: Request,
    *,
    beside: Sequence[str | PathLike[str]] = (),
    restart: bool = False,
    on_start: Callable[[Plan, int], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure models on this machine, by the method of `method.METHOD`.

    Writes bench.json, and from it bench.md, bench.html and, where there is a dataset, pareto.png. Finished parts are
    kept in `output`: after an interruption the same call continues.

    Args:
        output: folder for the results; made if absent.
        request: what to measure.
        beside: bench.json of other machines, shown beside.
        restart: drop what an interrupted benchmark left.
        on_start: called before the long work, with what is going to be measured and the number of parts that an
            interrupted benchmark left.
        progress: called with (stage, done, total).

    Returns:
        The content of bench.json.

    Raises:
        SchangerError: something is not usable, before the long work; or the results cannot be written.
    """
    require("matplotlib", "bench")
    folder, others = Path(output), [read_document(Path(path)) for path in beside]
    check_folder(folder)
    plan = find(request, progress)
    state = State(folder, plan.identity(), restart=restart)
    if on_start:
        on_start(plan, len(state))
    energy_of = measure(plan, state, folder, progress or (lambda *_: None))
    result = document(plan, state, energy_of) | {"others": others}
    write_results(folder, result)
    state.discard()
    return result


FACTS = ("sha256", "size", "dataset", "precision", "tile", "halo", "gsd")
"""Of a model."""
_SHOWING = ("accuracy", "pair 0")
"""Parts that warn of what makes their images doubtful; runs of a pair all warn alike."""


def document(plan: Plan, state: State, energy_of: Mapping[str, str]) -> dict[str, Any]:
    """The content of bench.json: every figure with its n.

    From a plan, its finished parts, and what the energy is of, by device; empty where nothing is measured.
    """
    cases, sittings = plan.cases, state[SITTINGS]
    rounds = {case.key: _finished(state, *(f"round {k}: {case.key}" for k in range(ROUNDS))) for case in cases}
    warm_ups = {case.key: state.get(f"warm-up: {case.key}") for case in cases}
    unsettled = [key for key, warm_up in warm_ups.items() if warm_up and not warm_up["settled"]]
    measured = [blocks for blocks in rounds.values() if blocks]
    of_images = (
        text for name in sorted(state) if name.startswith(_SHOWING) for text in state[name].get("warnings", ())
    )
    asked = plan.request
    result: dict[str, Any] = {
        "format": FORMAT,
        "schanger_edge": __version__,
        "ended": sittings[-1]["ended"],
        "machine": dict(plan.machine),
        "options": {
            "devices": list(plan.devices),
            "batches": list(asked.batch_sizes),
            "rounds": ROUNDS,
            **{name: getattr(asked, name) for name in ("repetitions", "pair_runs", "gsd")},
        },
        "models": [_model(model) for model in plan.models],
        "engines": [{**_who(place), "engine": place.engine, "notes": list(place.notes)} for place in plan.places],
        "accuracy": [
            {**_who(place), "dataset": entry.name, "split": entry.split}
            | state[f"accuracy: {place.key}, {entry.label}"]
            for entry in plan.datasets
            for place in plan.places
        ],
        "published": _published(),
        "speed": [
            _speed(case, state[f"memory: {case.key}"], rounds[case.key], asked.gsd) | {"warm_up": warm_ups[case.key]}
            for case in cases
        ],
        "end_to_end": [_end_to_end(plan, place, state) for place in plan.places] if plan.pair else [],
        "conditions": sittings,
        "doubts": [*dict.fromkeys(of_images), *doubts(sittings, measured, unsettled, available_cores())],
        "method": list(METHOD),
    }
    for row in (*result["speed"], *result["end_to_end"]):
        row["energy_of"] = energy_of[row["device"]] or None
    return result | {"advice": advice(result)}


def _finished(state: State, *names: str) -> list[Any]:
    return [state[name] for name in names if name in state]


def _who(place: Place) -> dict[str, Any]:
    return {"device": place.device, "model": place.model.name}


def _model(model: Model) -> dict[str, Any]:
    own = {"name": model.name, "file": model.path.name, "bytes": model.path.stat().st_size}
    return own | {key: model.facts[key] for key in FACTS}


def _published() -> list[dict[str, Any]]:
    """Of the six datasets and both networks."""
    return [
        {
            "dataset": entry.name,
            "size": size,
            "paper_f1": paper,
            "checkpoint_f1": entry.checkpoint_f1[size],
            "tiles": entry.test_tiles,
        }
        for entry in DATASETS.values()
        for size, paper in entry.paper_f1.items()
    ]


def _speed(case: Case, memory: Row, rounds: Sequence[Row], gsd: float | None) -> dict[str, Any]:
    row = {**_who(case.place), "batch": case.batch_size, "failed": memory.get("failed"), "latency_ms": _latency(rounds)}
    row |= _throughput(rounds, gsd or case.place.model.facts["gsd"])
    return row | {"host_bytes": memory.get("host_bytes"), "device_bytes": memory.get("device_bytes"), "memory_n": 1}


def _latency(rounds: Sequence[Row]) -> dict[str, Any] | None:
    times = [time for block in rounds for time in block["latency_ms"]]
    if not times:
        return None
    medians = spread([statistics.median(block["latency_ms"]) for block in rounds])
    percentiles = {f"p{percent}": percentile(times, percent) for percent in PERCENTILES}
    return {"n": len(times), **percentiles, "p50_of_rounds": medians}


def _end_to_end(plan: Plan, place: Place, state: State) -> dict[str, Any]:
    runs = _finished(state, *(f"pair {number}: {place.key}" for number in range(plan.request.pair_runs)))
    row = {**_who(place), "batch": runs[0]["batch"], "megapixels": runs[0]["megapixels"]}
    row |= _throughput(runs, runs[0]["gsd"] or plan.request.gsd or place.model.facts["gsd"])
    measured = ("seconds", "read_busy", "infer_busy", "write_busy")
    return row | {name: spread([run[name] for run in runs]) for name in measured}


def _throughput(measured: Sequence[Row], gsd: float | None) -> dict[str, Any]:
    """Megapixels and km2 per second, and energy for as much ground, of blocks or runs."""
    rate = spread([one["megapixels"] / one["seconds"] for one in measured])
    ground, joules = None, None
    if gsd is not None:
        ground = rate and {key: value if key == "n" else value * gsd**2 for key, value in rate.items()}
        if all(one["joules"] is not None for one in measured):
            joules = spread([one["joules"] / (one["megapixels"] * gsd**2) for one in measured])
    return {"megapixels_per_second": rate, "gsd": gsd, "km2_per_second": ground, "joules_per_km2": joules}
