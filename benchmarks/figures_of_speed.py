"""Blocks of figures on speed, as those of `figures_of_models.py`: the models on a machine, engines, other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from figure_text import fixed, machines, paragraph, percent, result, significant, table
from peers.tables import told

Row = Mapping[str, Any]


def bench() -> str:
    """Latency against accuracy of the bundled models."""
    found = result("bench/bench")
    datasets = list(dict.fromkeys(f"{row['dataset']} {row['split']}" for row in found["accuracy"]))
    f1 = {(row["model"], f"{row['dataset']} {row['split']}"): percent(row["f1"]) for row in found["accuracy"]}
    tiles = {f"{row['dataset']} {row['split']}": row["tiles"] for row in found["accuracy"]}
    scored = [f"F1, {name} ({tiles[name]} tiles)" for name in datasets]
    head = ["model", *scored, "batch", "p50 ms (rounds)", "p95 ms", "calls", "megapixels/s", "peak MB"]
    rows = [[row["model"], *(f1[row["model"], name] for name in datasets), *_speed(row)] for row in found["speed"]]
    (device,) = found["machine"]["devices"].values()
    engine = found["engines"][0]["engine"]
    intro = f"""Which model to fly with: `schanger-edge bench` on {device}, {engine}, {found["ended"][:10]}; megapixels
        of scene through the network alone, halo left out. [All tables](../benchmarks/results/bench/bench.md),
        [the method](benchmarks.md)."""
    doubts = " ".join(found["doubts"])
    after = f"Flagged as doubtful: {doubts}" if doubts else "Nothing was flagged as doubtful."
    picture = "![Latency against F1](../benchmarks/results/bench/pareto.png)"
    return "\n\n".join((paragraph(intro), table(head, rows), paragraph(after), picture))


def _speed(row: Row) -> list[str]:
    latency, rate = row["latency_ms"], row["megapixels_per_second"]
    rounds = latency["p50_of_rounds"]
    p95 = "-" if latency["p95"] is None else fixed(latency["p95"])
    return [
        str(row["batch"]),
        f"{fixed(latency['p50'])} ({fixed(rounds['low'])} to {fixed(rounds['high'])})",
        p95,
        str(latency["n"]),
        fixed(rate["median"], 3),
        fixed(row["host_bytes"] / 1e6),
    ]


ENGINES = {
    "eager, default allocator": "PyTorch eager",
    "eager, tuned allocator, channels_last": "PyTorch eager, tuned allocator, channels_last",
    "eager, tuned allocator": "PyTorch eager, tuned allocator",
    "ONNX Runtime, naive export": "ONNX Runtime, naive export: dates apart, nothing folded",
    "ONNX Runtime, stacked, folded": "ONNX Runtime, as `export` writes it",
    "OpenVINO, stacked, folded": "OpenVINO, the same file",
}
TUNED, NAIVE = "eager, tuned allocator", "ONNX Runtime, naive export"


def cpu_speed() -> str:
    """Engines on the CPU against each other."""
    found = result("cpu_speed")
    rows = []
    for case, variants in found["cases"].items():
        for name, words in ENGINES.items():
            own = variants[name]
            ratios = [_ratio(own["ratios"][baseline]) for baseline in (TUNED, NAIVE)]
            rows.append([case, words, fixed(own["milliseconds"]["median"]), *ratios])
    rounds = sorted({own["milliseconds"]["n"] for case in found["cases"].values() for own in case.values()})
    intro = f"""One pair of tiles on {machines("cpu_speed")}, PyTorch {found["torch"]}, OpenVINO {found["openvino"]}:
        medians of {", ".join(map(str, rounds))} interleaved rounds, every engine in a process of its own; ratios are of
        neighbours in time, with their quartiles (`benchmarks/cpu_speed.py`, which has more variants):"""
    head = ["network", "engine", "ms", "against tuned eager", "against the naive export"]
    return f"{paragraph(intro)}\n\n{table(head, rows)}"


def native_speed() -> str:
    """The native engine against ONNX Runtime and OpenVINO, all on the file that `export` writes."""
    found, against = result("cpu_native"), "ONNX Runtime, as exported"
    rows = []
    for case, variants in found["cases"].items():
        for name, own in variants.items():
            difference = significant(own["difference"]) if own["difference"] else "-"
            cost = fixed(own["milliseconds"]["median"]), _ratio(own["ratios"][against])
            rows.append([case, name.removesuffix(", as exported"), *cost, difference, str(own["flipped"])])
    rounds = sorted({own["milliseconds"]["n"] for case in found["cases"].values() for own in case.values()})
    clock = {"cpu": "CPU time", "wall": "wall time"}[found["clock"]]
    intro = f"""One pair of tiles on {machines("cpu_native")}, OpenVINO {found["openvino"]}: {clock}, medians of
        {", ".join(map(str, rounds))} interleaved rounds, with quartiles, at a load of {fixed(found["load"][0], 1)}
        (`benchmarks/cpu_speed.py`):"""
    head = ["network", "engine", "ms", "against ONNX Runtime", "largest difference", "pixels flipped"]
    return f"{paragraph(intro)}\n\n{table(head, rows)}"


def native_accuracy() -> str:
    """What the native engine changes in the result."""
    found = result("native")
    rows = []
    for name, kinds in found["rows"].items():
        for kind, own in kinds.items():
            flipped = f"{own['flipped']:,} of {own['pixels']:,}"
            scores = percent(own["f1_reference"], 2), percent(own["f1"], 2)
            rows.append([name, str(own["tiles"]), kind, significant(own["largest_difference"]), flipped, *scores])
    intro = f"""{found["model"]} on labelled tiles of {found["tile"]}, against ONNX Runtime (`benchmarks/native.py`):"""
    head = ["data", "tiles", "kernels", "largest difference", "pixels flipped", "F1, ONNX Runtime", "F1"]
    return f"{paragraph(intro)}\n\n{table(head, rows)}"


def _ratio(spread: Row) -> str:
    return f"{fixed(spread['median'], 2)} ({fixed(spread['q1'], 2)} to {fixed(spread['q3'], 2)})"


def peers() -> str:
    """What other tools do with the same images."""
    found = result("peers")
    floors = {tool["dates"]: _work(tool) for tool in reversed(found["tools"].values())}  # the first of its kind
    costs = [
        [
            name,
            str(tool["dates"]),
            tool["writes"],
            f"{fixed(_work(tool) / floors[tool['dates']], 2)} x",
            fixed(tool["cost"]["wall"]["median"], 1),
            fixed(tool["cost"]["peak_mb"]["median"]),
            f"{percent(tool['differ_from_one_pass'], 2)} %",
        ]
        for name, tool in found["tools"].items()
    ]
    behaviour = {name: tool["behaviour"] for name, tool in found["tools"].items() if "behaviour" in tool}
    cases = dict.fromkeys(case for facts in reversed(behaviour.values()) for case in facts)
    facts = [
        [case, *(told(own[case]).replace("|", "\\|") if case in own else "-" for own in behaviour.values())]
        for case in cases
    ]
    missing = "; ".join(f"{name} ({reason})" for name, reason in found["not_installed"].items())
    intro = f"""What other tools do with the same images of {found["side"]} x {found["side"]} pixels and the same exact
        network, each in an environment of its own, taking turns over {found["rounds"]} rounds on
        {machines("peers")} (`benchmarks/peers`). GeoDeep and geoai take one image: they get one date and half the
        convolution, and are set against a bare loop of one date. CPU time is without start-up, medians."""
    head = ["tool", "dates", "writes", "CPU against the bare loop", "wall s", "peak MB", "pixels that differ"]
    return "\n\n".join(
        (
            paragraph(intro), table(head, costs), table(["", *behaviour], facts),
            paragraph(f"Not installed: {missing}." if missing else ""),
        )
    ).strip()  # fmt: skip


def _work(tool: Row) -> float:
    """CPU seconds after the imports."""
    return float(tool["cost"]["cpu"]["median"] - tool["cost"]["start_cpu"]["median"])


BLOCKS: dict[str, Callable[[], str]] = {
    "bench": bench,
    "cpu-speed": cpu_speed,
    "native-speed": native_speed,
    "native-accuracy": native_accuracy,
    "peers": peers,
}
