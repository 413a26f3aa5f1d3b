"""The whole benchmark: find what is asked for, measure, write the results."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from schanger_edge.bench.document import document
from schanger_edge.bench.measure import State, measure
from schanger_edge.bench.plan import Plan, Request, counted, find_datasets, find_models, find_pair, open_once
from schanger_edge.bench.report import check_folder, read_document, write_results
from schanger_edge.errors import require
from schanger_edge.host.conditions import processor
from schanger_edge.progress import Progress
from schanger_edge.sessions.doctor import doctor
from schanger_edge.sessions.ort import available_cores

LEFT_OUT = ("extra ", "engine cache", "memory")
"""Facts of the doctor that say nothing about speed."""


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
    datasets, pair = find_datasets(request.datasets), find_pair(request.pair)
    models = find_models(request.models, progress)
    devices = list(dict.fromkeys(request.devices))
    places = [open_once(device, model, request.batch_sizes, progress) for device in devices for model in models]
    plan = Plan(request, models, datasets, pair, places, _machine(devices))
    state = State(folder, plan.identity(), restart=restart)
    if on_start:
        on_start(plan, len(state))
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
    cpu = board or f"{processor() or platform.machine()}, {counted(range(available_cores()), 'core')}"
    gpu = board or facts.get("GPU", cpu).split(",")[0]
    names = {device: cpu if device == "cpu" else gpu for device in devices}
    return {"devices": names, "facts": facts | {"NumPy": np.__version__}}
