"""How near to the machine's floor a pair of tiles is inferred, and floors projected for GPUs.

`python benchmarks/roofline.py [--device cpu ...] [--rounds 9]`

Counts come from the graphs of the bundled models (`graph_costs.py`): multiply-adds and least bytes, as the layers stand
and with inverted residuals fused. FP16 is the FP32 graph with values of two bytes; `int8+fp16` is the INT8 graph with
all else in FP16. The floor of a form is the larger of bytes / bandwidth and multiply-adds / matrix rate.

Measured here, all on one core and in CPU time, of which other programs on the machine take little: copy bandwidth (read
+ written bytes of numpy's copy between two arrays), the processor's peak of float32 multiply-adds (`fma_rate.cpp`,
which needs a C++ compiler: independent chains in registers, in runs of a few milliseconds), the rate of a uint8 x int8
matrix product (ONNX Runtime's MatMulInteger), and one pair of tiles through each session. The first three are ceilings,
which other programs and clocks can only lower: the best run counts. Of sessions it is the median, in interleaved
rounds, with the least, the largest and their number. FP16 multiply-adds are set against the float32 peak, as a CPU
session computes them; the FP16 model is converted without a look at ranges, which matter for its values, not for its
time. `share` is floor / median. Values that stay in a cache need no memory, so a share of the layers' floor may pass 1.
`load` is the machine's load average at begin and end.

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
PEAK_MACS, PEAK_RUNS = 1 << 28, 50
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
    """CPU seconds of everything, in interleaved rounds, and sessions by (device, precision) in words."""
    work: dict[Any, Callable[[], object]] = {}
    with contextlib.ExitStack() as stack:
        sessions = open_sessions(devices, stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        peak = multiplying(folder)
        work |= {"copy": copying(megabytes), "int8": multiplying_int8()}
        work |= {key: inferring(session) for key, session in sessions.items()}
        for run in work.values():  # pages, caches and clocks before the first round
            run()
        found: dict[Any, list[float]] = {name: [] for name in work} | {"fp32": []}
        for _ in range(rounds):
            for name, run in work.items():
                found[name].append(cpu_seconds(run))
            found["fp32"] += [cpu_seconds(peak) for _ in range(PEAK_RUNS)]
        return found, {key: session.device for key, session in sessions.items()}


def cpu_seconds(run: Callable[[], object]) -> float:
    """Of all threads of this process."""
    began = time.process_time()
    run()
    return time.process_time() - began


def open_sessions(devices: Sequence[str], stack: contextlib.ExitStack) -> dict[tuple[str, str], Session]:
    """The FP32, FP16 and INT8 models on each device; the native engine runs the first alone."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    parent, card, sha256 = read_model(model_path(FP32_MODEL))
    half = to_fp16(parent, {}, resize=True).model
    write_card(half, converted_card(card, "fp16", sha256))
    onnx.save_model(half, str(folder / "fp16.onnx"))
    models = {"fp32": model_path(FP32_MODEL), "fp16": folder / "fp16.onnx", "int8": model_path(INT8_MODEL)}
    return {
        (device, precision): stack.enter_context(open_session(model, device, threads=1))
        for device in devices
        for precision, model in models.items()
        if precision == "fp32" or "native" not in device
    }


def copying(megabytes: int) -> Callable[[], object]:
    """A copy between two arrays."""
    source, target = (np.full(megabytes * 1_000_000 // 8, value, np.float64) for value in (1, 0))
    return lambda: np.copyto(target, source)


def multiplying(folder: Path) -> Callable[[], object]:
    """PEAK_MACS float32 multiply-adds in registers."""
    command, library = os.environ.get("CXX", "c++"), folder / "fma_rate.so"
    flags = ["-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared"]
    subprocess.run([command, *flags, "-o", str(library), str(Path(__file__).with_name("fma_rate.cpp"))], check=True)
    multiply_add = ctypes.CDLL(str(library)).multiply_add
    multiply_add.argtypes = [ctypes.c_longlong, ctypes.c_float, ctypes.c_float]
    multiply_add.restype = ctypes.c_float
    return lambda: multiply_add(PEAK_MACS, 0.5, 1)


def multiplying_int8() -> Callable[[], object]:
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
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    values = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    return lambda: session.run(None, {"a": values})


def inferring(session: Session) -> Callable[[], object]:
    """One pair of tiles."""
    tile = session.least_tile
    before, after = np.random.default_rng(0).integers(0, 256, (2, 1, 3, tile, tile), np.uint8)
    return lambda: session.run(before, after)


def rates(seconds: Mapping[Any, Sequence[float]], megabytes: int) -> dict[str, Any]:
    """The machine's ceilings: the best run of each; a multiply-add is two operations."""
    operations = {"fp32": 2 * PEAK_MACS, "int8": 2 * GEMM_SIDE**3}
    best = {name: min(seconds[name]) for name in ("copy", "fp32", "int8")}
    return {
        "copy_megabytes": megabytes,
        "bandwidth_gb_per_second": significant(2 * megabytes / 1000 / best["copy"]),
        "peak_multiply_adds": PEAK_MACS,
        "peak_runs": len(seconds["fp32"]),
        "matrix_side": GEMM_SIDE,
        **{f"{kind}_gops": significant(count / best[kind] / 1e9) for kind, count in operations.items()},
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, extremes and number."""
    numbers = {"median": statistics.median(values), "least": min(values), "largest": max(values)}
    return {**{name: significant(value) for name, value in numbers.items()}, "n": len(values)}


def significant(value: float) -> float:
    """Four digits of it."""
    return float(f"{value:.4g}")


def session_row(
    key: tuple[str, str], name: str, seconds: Sequence[float], costs: Costs, machine: Mapping[str, Any]
) -> dict[str, Any]:
    """One session: its CPU milliseconds a pair, and the share of each floor."""
    device, precision = key
    fp32, int8 = machine["fp32_gops"] * 1e9 / 2, machine["int8_gops"] * 1e9 / 2
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
    rounded = {name: significant(value) for name, value in numbers.items()}
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
    lines += ["", f"measured here: copy {machine['bandwidth_gb_per_second']:.1f} GB/s, "]
    lines[-1] += f"peak in fp32 {machine['fp32_gops']:.0f}, int8 product {machine['int8_gops']:.0f} Gop/s a core"
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
