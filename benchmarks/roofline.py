"""How near to the machine's floor a pair of tiles is inferred, and floors projected for GPUs.

`python benchmarks/roofline.py [--device cpu ...] [--rounds 9]`

Counts come from the graphs of the bundled models (`graph_costs.py`): multiply-adds and least bytes, as the layers stand
and with inverted residuals fused. FP16 is the FP32 graph with values of two bytes; `int8+fp16` is the INT8 graph with
all else in FP16. The floor of a form is the larger of bytes / bandwidth and multiply-adds / matrix rate.

Measured here: copy bandwidth (read + written bytes of numpy's copy between two arrays, by number of threads; the best
counts), the rate of float32 multiply-adds in registers (`fma_rate.cpp`, which needs a C++ compiler) and of a uint8 x
int8 matrix product (ONNX Runtime's MatMulInteger), each on all cores, and one pair of tiles through each session. FP16
multiply-adds are set against the float32 rate, as a CPU session computes them; the FP16 model is converted without a
look at ranges, which matter for its values, not for its time. Rounds are interleaved; medians, with the least and the
largest of them and their number. `share` is floor / median. Values that stay in a cache need no memory, so a share of
the layers' floor may pass 1. `load` is the machine's load average at begin and end: above 0.5 at the beginning,
something else took the cores.

Projections are no measurements: they divide the same counts by datasheet numbers (`datasheets.py`), and hold for
batches that do not fit in a cache. Needs the `quantize` extra.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import traffic
from common import save
from datasheets import DATASHEETS, Datasheet
from graph_costs import Cost, Graph, fused, layers

from schanger_edge.model.bundled import model_path
from schanger_edge.sessions import Session, open_session
from schanger_edge.sessions.ort import available_cores
from schanger_export.cards import converted_card
from schanger_export.fp16 import to_fp16
from schanger_export.graph import read_model, write_card

FP32_MODEL, INT8_MODEL = "schanger-small", "schanger-small-int8"
PRECISIONS = {
    "fp32": (FP32_MODEL, "fp32"),
    "fp16": (FP32_MODEL, "fp16"),
    "int8": (INT8_MODEL, "fp32"),
    "int8+fp16": (INT8_MODEL, "fp16"),
}
"""Of each: the bundled model whose graph is counted, and what its floating-point values are stored as."""

ON_GPU = ("fp16", "int8+fp16")
GEMM_SIDE = 2048
PROJECTION = "projected from datasheet numbers, not measured"

Costs = Mapping[str, Mapping[str, Cost]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", action="append", help="of a CPU, as for `schanger-edge run`; may be repeated")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megabytes", type=int, default=512, help="of each array that is copied")
    options = parser.parse_args()
    devices = options.device or ["cpu"]
    if strange := [device for device in devices if device.split(":")[0] != "cpu"]:
        parser.error(f"{strange[0]} is no CPU, whose bandwidth is what is measured here: give cpu or cpu:ENGINE.")
    if options.rounds < 1 or options.megabytes < 1:
        parser.error("--rounds and --megabytes must be 1 or more.")
    costs = count()
    load = [os.getloadavg()[0]]
    seconds, names = measure(devices, options.rounds, options.megabytes)
    machine = rates(seconds, options.megabytes)
    result = {
        "method": __doc__,
        "load": [round(value, 2) for value in (*load, os.getloadavg()[0])],
        "placements": traffic.table(),
        "costs": {name: {form: as_dict(cost) for form, cost in forms.items()} for name, forms in costs.items()},
        "machine": machine,
        "sessions": [
            session_row(name, names[name], seconds[name], costs, machine) for name in seconds if isinstance(name, tuple)
        ],
        "projections": {
            "projection": True,
            "note": PROJECTION,
            "devices": [projected(sheet, costs) for sheet in DATASHEETS],
        },
    }
    save("roofline", result)
    sys.stdout.write(tables(result))


def count() -> Costs:
    """What each precision costs, in both forms."""
    models = {name: onnx.load(str(model_path(name))) for name in (FP32_MODEL, INT8_MODEL)}
    graphs = {precision: Graph(models[name], floats) for precision, (name, floats) in PRECISIONS.items()}
    return {precision: {"layers": layers(graph), "fused": fused(graph)} for precision, graph in graphs.items()}


def measure(devices: Sequence[str], rounds: int, megabytes: int) -> tuple[dict[Any, list[float]], dict[Any, str]]:
    """Seconds of everything, in interleaved rounds, and sessions by (device, precision) in words."""
    cores = available_cores()
    work: dict[Any, Callable[[], object]] = {}
    with contextlib.ExitStack() as stack:
        sessions = open_sessions(devices, stack)
        pool = stack.enter_context(ThreadPoolExecutor(cores))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work |= {f"copy {threads}": copying(pool, threads, megabytes) for threads in range(1, cores + 1)}
        work |= {"fp32": multiplying(pool, cores, folder), "int8": multiplying_int8(cores)}
        work |= {key: inferring(session) for key, session in sessions.items()}
        for run in work.values():  # pages, caches and clocks before the first round
            run()
        found: dict[Any, list[float]] = {name: [] for name in work}
        for _ in range(rounds):
            for name, run in work.items():
                began = time.perf_counter()
                run()
                found[name].append(time.perf_counter() - began)
        return found, {key: session.device for key, session in sessions.items()}


def open_sessions(devices: Sequence[str], stack: contextlib.ExitStack) -> dict[tuple[str, str], Session]:
    """The FP32, FP16 and INT8 models on each device."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    parent, card, sha256 = read_model(model_path(FP32_MODEL))
    half = to_fp16(parent, {}, resize=True).model
    write_card(half, converted_card(card, "fp16", sha256))
    onnx.save_model(half, str(folder / "fp16.onnx"))
    models = {"fp32": model_path(FP32_MODEL), "fp16": folder / "fp16.onnx", "int8": model_path(INT8_MODEL)}
    return {
        (device, precision): stack.enter_context(open_session(model, device))
        for device in devices
        for precision, model in models.items()
    }


def copying(pool: ThreadPoolExecutor, threads: int, megabytes: int) -> Callable[[], object]:
    """A copy between two arrays, each thread its own part."""
    source, target = (np.full(megabytes * 1_000_000 // 8, value, np.float64) for value in (1, 0))
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    return lambda: list(pool.map(lambda part: np.copyto(*part), parts))


def multiplying(pool: ThreadPoolExecutor, threads: int, folder: Path) -> Callable[[], object]:
    """As many float32 multiply-adds as a matrix product of GEMM_SIDE, in registers, each thread its share."""
    command, library = os.environ.get("CXX", "c++"), folder / "fma_rate.so"
    flags = ["-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared"]
    subprocess.run([command, *flags, "-o", str(library), str(Path(__file__).with_name("fma_rate.cpp"))], check=True)
    multiply_add = ctypes.CDLL(str(library)).multiply_add
    multiply_add.argtypes = [ctypes.c_longlong, ctypes.c_float, ctypes.c_float]
    multiply_add.restype = ctypes.c_float
    return lambda: list(pool.map(lambda _: multiply_add(GEMM_SIDE**3 // threads, 0.5, 1), range(threads)))


def multiplying_int8(threads: int) -> Callable[[], object]:
    """A uint8 x int8 matrix product with int32 sums."""
    shape = (GEMM_SIDE, GEMM_SIDE)
    right = onnx.numpy_helper.from_array(np.random.default_rng(0).integers(-127, 128, shape, np.int8), "b")
    left, product = (
        onnx.helper.make_tensor_value_info(name, kind, shape)
        for name, kind in (("a", onnx.TensorProto.UINT8), ("y", onnx.TensorProto.INT32))
    )
    node = onnx.helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    graph = onnx.helper.make_graph([node], "product", [left], [product], [right])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    values = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    return lambda: session.run(None, {"a": values})


def inferring(session: Session) -> Callable[[], object]:
    """One pair of tiles."""
    before, after = np.random.default_rng(0).integers(0, 256, (2, 1, 3, session.card.tile, session.card.tile), np.uint8)
    return lambda: session.run(before, after)


def rates(seconds: Mapping[Any, Sequence[float]], megabytes: int) -> dict[str, Any]:
    """Bandwidth in GB/s by threads, and matrix rates in 10^9 operations a second, two a multiply-add."""
    operations = 2 * GEMM_SIDE**3
    copies = {
        name.removeprefix("copy "): spread([2 * megabytes / 1000 / value for value in values])
        for name, values in seconds.items()
        if isinstance(name, str) and name.startswith("copy ")
    }
    return {
        "copy_gb_per_second_by_threads": copies,
        "copy_megabytes": megabytes,
        "bandwidth_gb_per_second": max(copy["median"] for copy in copies.values()),
        "matrix_side": GEMM_SIDE,
        "fp32_of": "multiply-adds in registers",
        "fp32_gops": spread([operations / value / 1e9 for value in seconds["fp32"]]),
        "int8_gops": spread([operations / value / 1e9 for value in seconds["int8"]]),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, extremes and number."""
    numbers = {"median": statistics.median(values), "least": min(values), "largest": max(values)}
    return {**{name: float(f"{value:.4g}") for name, value in numbers.items()}, "n": len(values)}


def session_row(
    key: tuple[str, str], name: str, seconds: Sequence[float], costs: Costs, machine: Mapping[str, Any]
) -> dict[str, Any]:
    """One session: its milliseconds a pair, and the share of each floor."""
    device, precision = key
    fp32, int8 = (machine[f"{kind}_gops"]["median"] * 1e9 / 2 for kind in ("fp32", "int8"))
    milliseconds = spread([value * 1000 for value in seconds])
    row: dict[str, Any] = {"device": device, "session": name, "precision": precision, "milliseconds": milliseconds}
    for form, cost in costs[precision].items():
        found = floor(cost, machine["bandwidth_gb_per_second"], {"fp32": fp32, "fp16": fp32, "int8": int8})
        row[form] = {**found, "share": round(found["floor_ms"] / milliseconds["median"], 3)}
    return row


def projected(sheet: Datasheet, costs: Costs) -> dict[str, Any]:
    """A device's floors by its datasheet."""
    ops = {"fp16": sheet.fp16 * 1e12 / 2, "int8": sheet.int8 * 1e12 / 2}
    floors = {
        precision: {form: floor(cost, sheet.bandwidth, ops) for form, cost in costs[precision].items()}
        for precision in ON_GPU
    }
    return {**dataclasses.asdict(sheet), "projection": True, "floors": floors}


def floor(cost: Cost, bandwidth: float, macs_per_second: Mapping[str, float]) -> dict[str, Any]:
    """Milliseconds of memory and arithmetic, and the larger of both; `bandwidth` in GB/s."""
    memory, arithmetic = (1000 * value for value in cost.seconds(bandwidth * 1e9, macs_per_second))
    numbers = {"memory_ms": memory, "arithmetic_ms": arithmetic, "floor_ms": max(memory, arithmetic)}
    rounded = {name: float(f"{value:.4g}") for name, value in numbers.items()}
    return {**rounded, "bound": "memory" if memory >= arithmetic else "arithmetic"}


def as_dict(cost: Cost) -> dict[str, Any]:
    return {"macs": {"total": sum(cost.macs.values()), **cost.macs}, "bytes": cost.bytes}


def tables(result: Mapping[str, Any]) -> str:
    """The result for the screen."""
    machine = result["machine"]
    lines = ["", "one pair of tiles      layers: GMAC      MB    fused: GMAC      MB"]
    for precision, forms in result["costs"].items():
        cells = [(form["macs"]["total"] / 1e9, form["bytes"] / 1e6) for form in forms.values()]
        lines.append(f"{precision:<20}" + "".join(f"{macs:15.2f}{size:8.0f}" for macs, size in cells))
    lines += ["", f"measured here: copy {machine['bandwidth_gb_per_second']:.1f} GB/s, arithmetic "]
    lines[-1] += ", ".join(f"{kind} {machine[f'{kind}_gops']['median']:.0f} Gop/s" for kind in ("fp32", "int8"))
    lines.append("session                        ms a pair      layers' floor, share     fused floor, share")
    for row in result["sessions"]:
        cells = [f"{row[form]['floor_ms']:10.1f} {row[form]['share']:7.0%}" for form in ("layers", "fused")]
        name = f"{row['device']} {row['precision']}"
        lines.append(f"{name:<28}{row['milliseconds']['median']:12.1f}{cells[0]:>26}{cells[1]:>23}")
    lines += ["", f"floors in ms a pair, {PROJECTION}"]
    lines.append(f"{'device':<24}" + "".join(f"{f'{p}, {f}':>20}" for p in ON_GPU for f in ("layers", "fused")))
    for device in result["projections"]["devices"]:
        floors = [device["floors"][p][form] for p in ON_GPU for form in ("layers", "fused")]
        lines.append(f"{device['name']:<24}" + "".join(f"{f['floor_ms']:9.3g} {f['bound']:<10}" for f in floors))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
