"""From finished parts to the document that all results are made of: every figure with its n."""

from __future__ import annotations

import dataclasses
import datetime
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.bench import parts
from schanger_edge.bench.advice import advice
from schanger_edge.bench.doubts import doubts
from schanger_edge.bench.method import METHOD, PERCENTILES, ROUNDS, percentile, spread
from schanger_edge.bench.preflight import Engine
from schanger_edge.bench.report import FORMAT
from schanger_edge.bench.request import Case, ImagePair, Labelled, Model
from schanger_edge.bench.state import State
from schanger_edge.datasets.benchmarks import DATASETS
from schanger_edge.sessions.ort import available_cores


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is measured; see `tool.bench` for the options."""

    models: Sequence[Model]
    datasets: Sequence[Labelled]
    pair: ImagePair | None
    devices: Sequence[str]
    batches: Sequence[int]
    repetitions: int
    pair_runs: int
    gsd: float | None
    engines: Mapping[tuple[str, str], Engine]
    machine: Mapping[str, Any]

    @property
    def cases(self) -> list[Case]:
        """Every model on every device at every batch."""
        return [Case(device, model, batch) for device, model in self.places for batch in self.batches]

    @property
    def places(self) -> list[tuple[str, Model]]:
        """Every model on every device."""
        return [(device, model) for device in self.devices for model in self.models]

    def identity(self) -> dict[str, Any]:
        """All that decides about the figures."""
        return {
            "version": __version__, "machine": self.machine,
            "models": {model.name: model.facts["sha256"] for model in self.models},
            "engines": {f"{name} on {device}": [engine.words, engine.plan_sha256]
                        for (device, name), engine in self.engines.items()},
            "datasets": {entry.label: {"root": str(entry.root), "files": entry.digest} for entry in self.datasets},
            "pair": self.pair and self.pair.identity,
            "batches": list(self.batches), "repetitions": self.repetitions, "pair runs": self.pair_runs,
        }  # fmt: skip


def document(bench: Benchmark, state: State, energy_of: Mapping[str, str]) -> dict[str, Any]:
    """The content of bench.json.

    Args:
        bench: what was measured.
        state: its finished parts.
        energy_of: what the energy is of, by device; empty where nothing is measured.
    """
    cases, sittings = bench.cases, state.get(parts.SITTINGS)
    blocks = {case.key: [found for k in range(ROUNDS) if (found := state.get(parts.block(case, k)))] for case in cases}
    unsettled = [case.key for case in cases if (warm := state.get(parts.warm_up(case))) and not warm["settled"]]
    result: dict[str, Any] = {
        "format": FORMAT, "schanger_edge": __version__,
        "ended": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": dict(bench.machine),
        "options": {"devices": list(bench.devices), "batches": list(bench.batches), "rounds": ROUNDS,
                    "repetitions": bench.repetitions, "pair_runs": bench.pair_runs, "gsd": bench.gsd},
        "models": [_model(model) for model in bench.models],
        "engines": [{"device": device, "model": name, "engine": engine.words, "notes": list(engine.notes)}
                    for (device, name), engine in bench.engines.items()],
        "accuracy": [{"device": device, "model": model.name, "dataset": entry.name, "split": entry.split,
                      **state.get(parts.accuracy(device, model, entry))}
                     for entry in bench.datasets for device, model in bench.places],
        "published": _published(),
        "speed": [_speed(bench, case, state, blocks[case.key], energy_of[case.device]) for case in cases],
        "end_to_end": [] if bench.pair is None else
                      [_end_to_end(bench, device, model, state, energy_of[device]) for device, model in bench.places],
        "conditions": sittings,
        "doubts": doubts(sittings, [rounds for rounds in blocks.values() if rounds], unsettled, available_cores()),
        "method": list(METHOD),
    }  # fmt: skip
    return result | {"advice": advice(result)}


def _model(model: Model) -> dict[str, Any]:
    kept = ("sha256", "size", "dataset", "precision", "tile", "halo", "gsd")
    return {"name": model.name, "file": model.path.name, "bytes": model.path.stat().st_size,
            **{key: model.facts[key] for key in kept}}  # fmt: skip


def _published() -> list[dict[str, Any]]:
    """Of the six datasets and both networks."""
    return [
        {"dataset": entry.name, "size": size, "paper_f1": entry.paper_f1[size],
         "checkpoint_f1": entry.checkpoint_f1[size], "tiles": entry.test_tiles}
        for entry in DATASETS.values() for size in entry.paper_f1
    ]  # fmt: skip


def _speed(
    bench: Benchmark, case: Case, state: State, rounds: Sequence[Mapping[str, Any]], energy_of: str
) -> dict[str, Any]:
    memory = state.get(parts.memory(case))
    latency = [time for block in rounds for time in block["latency_ms"]]
    gsd = bench.gsd or case.model.facts["gsd"]
    rate = spread([block["megapixels"] / block["seconds"] for block in rounds])
    return {
        "device": case.device, "model": case.model.name, "batch": case.batch, "failed": memory.get("failed"),
        "warm_up": state.get(parts.warm_up(case)),
        "latency_ms": {
            "n": len(latency), **{f"p{percent}": percentile(latency, percent) for percent in PERCENTILES},
            "p50_of_rounds": spread([statistics.median(block["latency_ms"]) for block in rounds]),
        } if latency else None,
        "megapixels_per_second": rate, "gsd": gsd, "km2_per_second": _scaled(rate, gsd),
        "energy_of": energy_of or None, "joules_per_km2": _energy(rounds, gsd),
        "host_bytes": memory.get("host_bytes"), "device_bytes": memory.get("device_bytes"), "memory_n": 1,
    }  # fmt: skip


def _end_to_end(bench: Benchmark, device: str, model: Model, state: State, energy_of: str) -> dict[str, Any]:
    runs = [state.get(parts.end_to_end(device, model, number)) for number in range(bench.pair_runs)]
    gsd = runs[0]["gsd"] or bench.gsd or model.facts["gsd"]
    rate = spread([run["megapixels"] / run["seconds"] for run in runs])
    return {
        "device": device, "model": model.name, "batch": runs[0]["batch"], "megapixels": runs[0]["megapixels"],
        "seconds": spread([run["seconds"] for run in runs]), "megapixels_per_second": rate,
        "gsd": gsd, "km2_per_second": _scaled(rate, gsd),
        **{stage: spread([run[stage] for run in runs]) for stage in ("read_busy", "infer_busy", "write_busy")},
        "energy_of": energy_of or None, "joules_per_km2": _energy(runs, gsd),
    }  # fmt: skip


def _scaled(rate: Mapping[str, Any] | None, gsd: float | None) -> dict[str, Any] | None:
    """Megapixels per second as km2 per second."""
    if rate is None or gsd is None:
        return None
    return {key: value if key == "n" else value * gsd**2 for key, value in rate.items()}


def _energy(measured: Sequence[Mapping[str, Any]], gsd: float | None) -> dict[str, Any] | None:
    if gsd is None or any(one["joules"] is None for one in measured):
        return None
    return spread([one["joules"] / (one["megapixels"] * gsd**2) for one in measured])
