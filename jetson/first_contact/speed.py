"""Steps that run plans: mixed batches, latency, layers, RTX cold and cached, ONNX Runtime, power modes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from contact import Result, SkipStep, bare_run, memory_taken, milliseconds, model_of, only, opened, plan_of, tiles
from plans import CHAIN, EIGHT

from schanger_edge.bench.method import spread, warm_up
from schanger_edge.errors import SessionError
from schanger_edge.host.board import is_jetson
from schanger_edge.model.plan import read_plan_card
from schanger_edge.sessions import open_session
from schanger_edge.sessions.tensorrt.cuda import open_cuda
from schanger_edge.sessions.tensorrt.flavour import load_flavour
from schanger_edge.sessions.tensorrt.session import RUNTIME_CACHE_SUFFIX

MIX = (8, 8, 8, 1, 4, 8, 3, 8, 1, 4, 8)
ROUNDS = 100
SLOWEST = 10


def mix(folder: Path) -> Result:
    """Batches of changing size, each against the same tiles one by one; and the memory they take."""
    plan, found = plan_of(folder, "fp16", EIGHT), Result()
    cuda = open_cuda()
    with memory_taken(cuda, found, "megabytes_left_behind"), contextlib.ExitStack() as stack:
        with memory_taken(cuda, found, "megabytes_open"):
            session = stack.enter_context(opened(plan))
        before, after = tiles(session.card.tile, max(MIX))
        single = [session.run(before[i : i + 1], after[i : i + 1])[0] for i in range(max(MIX))]
        differences = []
        with memory_taken(cuda, found, "megabytes_more_after_the_mix"):
            for count in MIX:
                got = session.run(before[:count], after[:count])
                differences.append(float(np.abs(got - np.stack(single[:count])).max()))
        found |= {"batches": MIX, "largest_difference": max(differences), "notes": session.notes}
    cuda.close()
    return found


def latency(folder: Path) -> Result:
    """Each precision at batch 1 and 4: wall time, the device's own times, the slowest layers."""
    found: Result = {}
    for name in ("fp32", "fp16", "int8", CHAIN):
        try:
            plan = plan_of(folder, name, EIGHT)
        except SkipStep as reason:
            found[name] = str(reason)
            continue
        found[name] = {f"batch {count}": _latency(plan, count) for count in (1, 4)}
    return found


def _latency(plan: Path, count: int) -> Result:
    with opened(plan) as session:
        pair = tiles(session.card.tile, count)
        warm = warm_up(session, (pair[0], pair[1]))
        session.timings.clear()
        wall = milliseconds(lambda: session.run(*pair), ROUNDS)
        stages = {
            stage: spread([value for name, value in session.timings if name == stage])
            for stage in dict(session.timings)
        }
        notes = session.notes
    return {"warm_up": warm, "wall": wall, "device": stages, "notes": notes, "slowest_layers": _slowest(plan, count)}


def _slowest(plan: Path, count: int) -> list[tuple[str, float]] | str:
    """Names and milliseconds of the layers that took longest in one run, by TensorRT's profiler."""
    flavour = load_flavour()
    trt = flavour.module
    if not hasattr(trt, "IProfiler"):
        return "this TensorRT has no profiler"

    class Times(trt.IProfiler):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.layers: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.layers.append((layer_name, ms))

    profiler = Times()
    bare_run(flavour, plan.read_bytes(), tiles(read_plan_card(plan).card.tile, count), profiler)
    return sorted(profiler.layers, key=lambda layer: -layer[1])[:SLOWEST]


def rtx(folder: Path) -> Result:
    """TensorRT-RTX without its runtime cache and with it: seconds until it is open, and the first batches."""
    only("rtx")
    plan = plan_of(folder, "fp16", EIGHT)
    plan.with_name(plan.name + RUNTIME_CACHE_SUFFIX).unlink(missing_ok=True)
    return {state: _first_batches(plan) for state in ("cold", "cached")}


def _first_batches(plan: Path) -> Result:
    begin = time.perf_counter()
    with opened(plan) as session:
        seconds = time.perf_counter() - begin
        pair = tiles(session.card.tile, 4)
        results, times = [], []
        for _ in range(20):
            begin = time.perf_counter()
            results.append(session.run(*pair))
            times.append(round(1000 * (time.perf_counter() - begin), 2))
    changed = sum(not np.array_equal(result, results[0]) for result in results)
    return {"seconds_to_open": round(seconds, 2), "milliseconds": times, "results_that_differ_from_the_first": changed}


def onnxruntime(folder: Path) -> Result:
    """ONNX Runtime's CUDA provider against its CPU."""
    model = model_of(folder, "fp32")
    try:
        session = open_session(model, "cuda:onnxruntime")
    except SessionError as error:
        raise SkipStep(str(error)) from error
    with session, open_session(model) as reference:
        pair = tiles(session.card.tile, 4)
        warm_up(session, (pair[0], pair[1]))
        difference = float(np.abs(session.run(*pair) - reference.run(*pair)).max())
        return {"largest_difference": difference, "wall": milliseconds(lambda: session.run(*pair), ROUNDS)}


def power(folder: Path) -> Result:
    """The same plan in another power mode, which may have another number of multiprocessors."""
    if not is_jetson() or shutil.which("nvpmodel") is None:
        raise SkipStep("only a Jetson has power modes.")
    if os.geteuid():
        raise SkipStep("switching the power mode needs root: repeat this step with sudo and --only power.")
    plan = plan_of(folder, "fp16", EIGHT)
    script = Path(__file__).parents[1] / "power.sh"
    shown = subprocess.run([str(script), "show"], capture_output=True, text=True, check=True).stdout
    modes = re.findall(r"^([* ]) (\d+) \S+$", shown, re.M)
    now = next(number for mark, number in modes if mark == "*")
    found: Result = {f"mode {now}": _in_this_mode(plan)}
    try:
        for number in (number for _, number in modes if number != now):
            done = subprocess.run([str(script), "set", number], capture_output=True, text=True, check=False)
            found[f"mode {number}"] = _in_this_mode(plan) if done.returncode == 0 else done.stderr.strip()
    finally:
        subprocess.run([str(script), "set", now], check=True)
    return found


def _in_this_mode(plan: Path) -> Any:
    """In a process of its own, since CUDA keeps what it found when it began."""
    command = [sys.executable, str(Path(__file__).with_name("__main__.py")), "in-this-mode", str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()[-500:]


def in_this_mode(plan: Path) -> Result:
    """Open the plan and run it: its notes and its latency."""
    with opened(plan) as session:
        pair = tiles(session.card.tile, 4)
        warm_up(session, (pair[0], pair[1]))
        return {"notes": session.notes, "wall": milliseconds(lambda: session.run(*pair), 20)}
