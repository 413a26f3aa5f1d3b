"""What one 256 x 256 pair costs on a CPU: PyTorch, ONNX Runtime, OpenVINO and our own engine, forms of the graph.

`python benchmarks/cpu_speed.py [--sizes small base] [--threads 1 2] [--rounds 15]`; `--only exported` takes the
variants that have one of these words in their name, `--clock cpu` CPU time in place of wall time. Every variant lives
in a process of its own (the allocator is set once per process), warmed by two runs, and waits asleep for its turn; a
round runs each once, in an order turned by one each round, so that whatever else the machine does falls on all alike.
Time is that of one inference, uint8 tiles in, probability out. Ratios are those of one round, so they compare
neighbours in time; medians, quartiles and extremes are over rounds. `small` has the bundled weights, `base` random
ones. `difference` is the largest absolute difference in probability to the first ONNX Runtime variant, `flipped` the
pixels that cross one half. Needs the `export` and `openvino` extras.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

TILE = 256
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TOP_PAD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
DEFAULT_EAGER, TUNED_EAGER = "eager, default allocator", "eager, tuned allocator"
NAIVE = "ONNX Runtime, naive export"
EXPORTED = "ONNX Runtime, as exported"
BASELINES = (DEFAULT_EAGER, TUNED_EAGER, f"{TUNED_EAGER}, channels_last", NAIVE, EXPORTED)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
OPENVINO = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}

Variants = dict[str, dict[str, Any]]


def variants(threads: int) -> Variants:
    """Name: engine, model form, options."""
    ort, ov = {"engine": "onnxruntime"}, {"engine": "openvino", "options": OPENVINO}
    found: Variants = {
        DEFAULT_EAGER: {"engine": "torch"},
        TUNED_EAGER: {"engine": "torch", "environment": TUNED},
        f"{TUNED_EAGER}, channels_last": {"engine": "torch", "environment": TUNED, "channels_last": True},
        NAIVE: {**ort, "form": "plain-apart"},
        "ONNX Runtime, stacked": {**ort, "form": "plain-stacked"},
        "ONNX Runtime, apart, folded": {**ort, "form": "folded-apart"},
        "ONNX Runtime, stacked, folded": {**ort, "form": "folded-stacked"},
        "ONNX Runtime, stacked, folded, no arena": {**ort, "form": "folded-stacked", "arena": False},
        "ONNX Runtime, stacked, folded, padded to 8": {**ort, "form": "padded8"},
        "ONNX Runtime, stacked, folded, padded to 16": {**ort, "form": "padded16"},
        "OpenVINO, stacked": {**ov, "form": "plain-stacked"},
        "OpenVINO, apart, folded": {**ov, "form": "folded-apart"},
        "OpenVINO, stacked, folded": {**ov, "form": "folded-stacked"},
        EXPORTED: {**ort, "form": "exported"},
        "OpenVINO, as exported": {**ov, "form": "exported"},
    }
    for isa, precision in _kernels():
        own = {"engine": "native", "form": "exported", "isa": isa, "precision": precision}
        found[f"native, {isa}, {precision}, as exported"] = own
    if threads > 1:
        pinned = {**ov, "options": {**OPENVINO, "ENABLE_CPU_PINNING": True}}
        found["ONNX Runtime, stacked, folded, pinned"] = {**ort, "form": "folded-stacked", "pinned": True}
        found["ONNX Runtime, stacked, folded, spinning"] = {**ort, "form": "folded-stacked", "spinning": True}
        found["OpenVINO, stacked, folded, pinned"] = {**pinned, "form": "folded-stacked"}
    if _has_bf16():
        bf16 = {**ov, "options": {**OPENVINO, "INFERENCE_PRECISION_HINT": "bf16"}}
        found["OpenVINO, stacked, folded, bf16"] = {**bf16, "form": "folded-stacked"}
        found["OpenVINO, bf16, as exported"] = {**bf16, "form": "exported"}
    return found


def _kernels() -> list[tuple[str, str]]:
    from schanger_edge.sessions.native.library import kernels

    return list(kernels())


def _has_bf16() -> bool:
    from schanger_edge.sessions.ov import has_bf16, load_openvino

    return has_bf16(load_openvino().Core())


def write_models(size: Any, folder: Path, forms: set[str]) -> None:
    """The model files of these forms, and weights for torch."""
    import onnx
    import torch
    from cpu_variants import padded_network, write

    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.card import METADATA_KEY
    from schanger_edge.model.file import read_model
    from schanger_export.checkpoints import load_network
    from schanger_export.network import SChanger
    from schanger_export.onnx_network import build
    from schanger_export.processes import keep_large_blocks
    from schanger_export.weights import resolve

    keep_large_blocks()  # tracing takes a third of the time; workers don't inherit it
    torch.manual_seed(0)
    network = load_network(resolve("schanger-small"), "small") if size == "small" else SChanger(size).eval()
    card = dataclasses.replace(read_model(model_path("schanger-small")).card, tile=TILE)
    torch.save(network, folder / "network.pt")
    state = {name: values.numpy() for name, values in network.state_dict().items()}
    exported = build(state, card.normalization)
    onnx.helper.set_model_props(exported, {METADATA_KEY: dataclasses.replace(card, size=size).to_json()})
    onnx.save_model(exported, str(folder / "exported.onnx"))
    for folded in (False, True):
        for apart in (False, True):
            form = f"{'folded' if folded else 'plain'}-{'apart' if apart else 'stacked'}"
            if form in forms:
                write(network, folder / f"{form}.onnx", card, folded=folded, apart=apart)
    for multiple in (8, 16):
        if f"padded{multiple}" not in forms:
            continue
        padded = padded_network(size, multiple)
        write(padded, folder / f"padded{multiple}.onnx", card, folded=True, apart=False)


def _tiles() -> dict[str, Any]:
    from schanger_export.parity import image_like_tiles

    before, after = image_like_tiles(1, TILE)
    return {"before": before, "after": after}


def _torch(folder: Path, variant: dict[str, Any], threads: int) -> Callable[[], Any]:
    import torch
    from cpu_traced import ProbabilityModule

    from schanger_edge.model.bundled import model_path
    from schanger_edge.model.file import read_model

    torch.set_num_threads(threads)
    card = read_model(model_path("schanger-small")).card
    network = torch.load(folder / "network.pt", weights_only=False)
    module = ProbabilityModule(network, card.normalization)
    dates = [torch.from_numpy(date) for date in _tiles().values()]
    if variant.get("channels_last"):
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        dates = [date.contiguous(memory_format=torch.channels_last) for date in dates]

    def run() -> Any:
        with torch.inference_mode():
            return module(*dates).numpy()

    return run


def _onnxruntime(folder: Path, variant: dict[str, Any], threads: int) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = variant.get("arena", True)
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(variant.get("spinning", False))))
    if variant.get("pinned"):  # one core for each thread but the first, which is the caller's
        cores = ";".join(str(core + 1) for core in sorted(os.sched_getaffinity(0))[1:threads])
        options.add_session_config_entry("session.intra_op_thread_affinities", cores)
    model = str(folder / f"{variant['form']}.onnx")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    tiles = _tiles()
    return lambda: session.run(None, tiles)[0]


def _openvino(folder: Path, variant: dict[str, Any], threads: int) -> Callable[[], Any]:
    from schanger_edge.sessions.ov import load_openvino

    core = load_openvino().Core()
    network = core.read_model(folder / f"{variant['form']}.onnx")
    tiles = _tiles()
    network.reshape({name: list(date.shape) for name, date in tiles.items()})
    compiled = core.compile_model(network, "CPU", {**variant["options"], "INFERENCE_NUM_THREADS": threads})
    request = compiled.create_infer_request()
    return lambda: request.infer(tiles)[0]


def _native(folder: Path, variant: dict[str, Any], threads: int) -> Callable[[], Any]:
    from schanger_edge.model.file import read_model
    from schanger_edge.sessions.native.engine import NativeSession

    model = read_model(folder / f"{variant['form']}.onnx")
    session = NativeSession(model, threads, variant["precision"], variant["isa"])
    before, after = _tiles().values()
    return lambda: session.run(before, after)


ENGINES = {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino, "native": _native}


def work(folder: Path, number: int, variant: dict[str, Any], threads: int, clock: str) -> None:
    """Run once for each line on standard input, and answer with its seconds."""
    run, now = ENGINES[variant["engine"]](folder, variant, threads), CLOCKS[clock]
    run()
    np.save(folder / f"{number}.npy", run())
    print("ready", flush=True)
    for _ in sys.stdin:
        began = now()
        run()
        print(now() - began, flush=True)


class Worker:
    """A variant in a process of its own."""

    def __init__(self, folder: Path, number: int, variant: dict[str, Any], threads: int, clock: str) -> None:
        task = json.dumps([str(folder), number, variant, threads, clock])
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **variant.get("environment", {})}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", task], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._answer()
        self.probability = np.load(folder / f"{number}.npy")

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended: see its message above")
        return line

    def seconds(self) -> float:
        """Of one run."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(size: str, threads: int, rounds: int, only: list[str], clock: str) -> Iterator[dict[str, Any]]:
    """One case, summarized again after every round."""
    chosen = {name: one for name, one in variants(threads).items() if not only or any(word in name for word in only)}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_models(size, folder, {one["form"] for one in chosen.values() if "form" in one})
        workers = {}
        for number, (label, variant) in enumerate(chosen.items()):
            workers[label] = Worker(folder, number, variant, threads, clock)
            stack.callback(workers[label].close)
        wanted = next(worker for label, worker in workers.items() if label.startswith("ONNX")).probability
        differences = {
            label: None if "padded" in label else float(np.abs(worker.probability - wanted).max())
            for label, worker in workers.items()
        }
        flipped = {label: int(((one.probability > 0.5) != (wanted > 0.5)).sum()) for label, one in workers.items()}
        baselines = [label for label in BASELINES if label in workers]
        labels = list(workers)
        times: dict[str, list[float]] = {label: [] for label in labels}
        for turn in range(rounds):
            shift = turn % len(labels)
            for label in labels[shift:] + labels[:shift]:
                times[label].append(workers[label].seconds())
            yield {
                label: {
                    "milliseconds": spread([1000 * t for t in own], 1),
                    "difference": differences[label],
                    "flipped": flipped[label],
                    "ratios": {
                        baseline: spread([a / b for a, b in zip(own, times[baseline], strict=True)], 3)
                        for baseline in baselines
                    },
                }
                for label, own in times.items()
            }


def spread(values: list[float], digits: int) -> dict[str, float]:
    """Median, quartiles and extremes."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    named = {"median": middle, "q1": low, "q3": high, "min": min(values), "max": max(values)}
    return {**{key: round(float(value), digits) for key, value in named.items()}, "n": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["small", "base"], choices=["small", "base"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="variants with one of these in their name"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--name", default="cpu_speed", help="of the result")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        folder, number, variant, threads, clock = json.loads(options.worker)
        work(Path(folder), number, variant, threads, clock)
        return
    import torch
    from common import save

    from schanger_edge.sessions.ov import load_openvino, version_of

    versions = {"torch": torch.__version__, "openvino": version_of(load_openvino())}
    head: dict[str, Any] = {
        "method": __doc__,
        **versions,
        "clock": options.clock,
        "bf16": "measured" if _has_bf16() else "not measured",
    }
    cases: dict[str, Any] = {}
    for size in options.sizes:
        for threads in options.threads:
            for result in measure(size, threads, options.rounds, options.only, options.clock):
                cases[f"{size}, {threads} thread{'s' if threads > 1 else ''}"] = result
                load = [round(value, 2) for value in os.getloadavg()]
                save(options.name, {**head, "load": load, "cases": cases})


if __name__ == "__main__":
    main()
