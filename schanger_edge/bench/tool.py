"""One function for the whole benchmark: look, measure, write."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from schanger_edge.bench.document import document
from schanger_edge.bench.measure import measure
from schanger_edge.bench.method import PAIR_RUNS, REPETITIONS
from schanger_edge.bench.plan import (
    BATCH_SIZES,
    Plan,
    Progress,
    check_numbers,
    find_datasets,
    find_models,
    find_pair,
    open_once,
)
from schanger_edge.bench.report import check_folder, read_document, write_results
from schanger_edge.bench.state import State
from schanger_edge.errors import require
from schanger_edge.host.conditions import processor
from schanger_edge.sessions.doctor import doctor
from schanger_edge.sessions.ort import available_cores

LEFT_OUT = ("extra ", "engine cache", "memory")
"""Facts of the doctor that say nothing about speed."""


@dataclasses.dataclass(frozen=True)
class Preview:
    """What is going to be measured.

    Attributes:
        words: in one line.
        minutes: about how long it takes from the start.
        finished: parts that an interrupted benchmark left.
        notes: what the engines reported.
    """

    words: str
    minutes: float
    finished: int
    notes: tuple[str, ...]


def bench(
    output: str | PathLike[str],
    *,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    pair: tuple[str, str] | None = None,
    devices: Sequence[str] = ("cpu",),
    batch_sizes: Sequence[int] = BATCH_SIZES,
    repetitions: int = REPETITIONS,
    pair_runs: int = PAIR_RUNS,
    gsd: float | None = None,
    beside: Sequence[str | PathLike[str]] = (),
    restart: bool = False,
    on_start: Callable[[Preview], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure models on this machine, by the method of `method.METHOD`.

    Writes bench.json, and from it bench.md, bench.html and, where there is a dataset, pareto.png. What is finished is
    kept in `output`: after an interruption the same call goes on.

    Args:
        output: folder for the results; made if absent.
        models: .onnx files, plans, names of bundled models; all bundled ones where none is given.
        datasets: `NAME=ROOT` or `NAME=ROOT,split=val`; for NAMEs of the benchmark datasets published scores are known.
        pair: two images for whole runs.
        devices: see `sessions.open_session`.
        batch_sizes: tiles per call, rising.
        repetitions: timed calls of each case, in all rounds together.
        pair_runs: whole runs of each model.
        gsd: metres per pixel for km2 of the network alone; None takes each model's own.
        beside: bench.json of other machines, shown beside.
        restart: drop what an interrupted benchmark left.
        on_start: called before anything long.
        progress: called with (stage, done, total).

    Returns:
        The content of bench.json.

    Raises:
        SchangerError: something is not usable, before anything long; or the results cannot be written.
    """
    require("matplotlib", "bench")
    check_numbers(repetitions, pair_runs, gsd)
    folder, others = Path(output), [read_document(Path(path)) for path in beside]
    check_folder(folder)
    chosen, labelled, images = find_models(models), find_datasets(datasets), find_pair(pair)
    devices, sizes = tuple(dict.fromkeys(devices)), tuple(batch_sizes)
    places = [(device, model) for device in devices for model in chosen]
    engines = {(device, model.name): open_once(device, model, sizes, progress) for device, model in places}
    asked = (repetitions, pair_runs, gsd)
    plan = Plan(chosen, labelled, images, devices, sizes, *asked, engines, _machine(devices))
    state = State(folder, plan.identity(), restart=restart)
    if on_start:
        notes = tuple(dict.fromkeys(note for engine in engines.values() for note in engine.notes))
        on_start(Preview(_words(plan), plan.seconds() / 60, state.finished, notes))
    energy_of = measure(plan, state, folder, progress or (lambda *_: None))
    result = document(plan, state, energy_of) | {"others": others}
    write_results(folder, result)
    state.discard()
    return result


def _machine(devices: Sequence[str]) -> dict[str, Any]:
    """The hardware of each device, and versions of what decides about speed."""
    facts = {name: words for name, words in doctor().facts.items() if not name.startswith(LEFT_OUT)}
    clocks = ("CPU clock", "GPU clock", "memory clock")
    facts = {name: words for name, words in facts.items() if name not in clocks}  # they move; see the conditions
    board = facts["board"] if "JetPack" in facts else None
    cpu = board or f"{processor() or platform.machine()}, {_count(range(available_cores()), 'core')}"
    gpu = board or facts.get("GPU", cpu).split(",")[0]
    names = {device: cpu if device == "cpu" else gpu for device in devices}
    return {"devices": names, "facts": facts | {"NumPy": np.__version__}}


def _words(plan: Plan) -> str:
    """`3 models x 3 batches on cpu, 2 datasets, a pair of 4.2 megapixels`."""
    devices = ", ".join(plan.devices)
    words = [f"{_count(plan.models, 'model')} x {_count(plan.batch_sizes, 'batch', 'batches')} on {devices}"]
    words.append(_count(plan.datasets, "dataset") if plan.datasets else "no dataset")
    if plan.pair is not None:
        words.append(f"a pair of {plan.pair.width * plan.pair.height / 1e6:.1f} megapixels")
    return ", ".join(words)


def _count(things: Sequence[Any], one: str, many: str = "") -> str:
    return f"{len(things)} {one if len(things) == 1 else many or one + 's'}"
