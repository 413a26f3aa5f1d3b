"""Blocks of figures on runs and engines, as those of `figures_of_models.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from figure_text import fixed, machines, paragraph, percent, result, significant, table

SPECIAL = {
    "joplin/pre_337-9136": "two CRSs, half the ground in common",
    "joplin/pre_337-10160": "two CRSs, another neighbour",
    "cartosat/t1_nov_3_3": "float32 reflectance",
    "naip/2009-08-18": "grids off by a row",
    "sjer/2017_003": "declared nodata is data; nothing built",
    "sjer/2017_062": "declared nodata is data; nothing built",
}


def real_scenes() -> str:
    """What runs on real pairs without labels give."""
    rows = []
    for pair in result("real-scenes")["pairs"]:
        options = [f"`--{name} {pair[name]}`" for name in ("grid", "gsd") if name in pair]
        special = ", ".join([SPECIAL[pair["before"]], *options])
        shares = (f"{percent(pair[key])} %" for key in ("valid_share", "changed_share_of_valid"))
        rows.append([pair["before"], f"{fixed(pair['grid_gsd'], 1)} m", special, *shares])
    intro = "Without labels, but with all the trouble of real pairs (`benchmarks/real_scenes.py`):"
    return f"{intro}\n\n{table(['pair', 'GSD', 'what is special', 'valid', 'called change'], rows)}"


def around() -> str:
    """Speed, memory and durability of what lies around the network."""
    rows = [
        [*_overhead(), "`benchmarks/overhead.py`"],
        *(list(row) for name in CHECKOUTS for row in _checkouts(name)),
        [*_memory(), "`benchmarks/memory.py`"],
        [*_scene_speed(), "`benchmarks/scene_speed.py`"],
        [*_kill_resume(), "`benchmarks/kill_resume.py`"],
        [*_registration(), "`benchmarks/registration.py`"],
        [*_false_alarms(), "`benchmarks/registration.py`"],
        [
            "bytes read from the two files against their size: how often a block is decoded; tiled and strips, same "
            "grid and turned",
            "at most 1.1, tested",
            "`tests/scene/test_rows.py`",
        ],
        [
            "tiled against one pass, exact integer network, halo at least twice its radius",
            "equal on every valid pixel",
            "`tests/run/test_predict.py`",
        ],
    ]
    where = machines("overhead", "memory", "scene_speed", "kill_resume", "registration")
    intro = f"Around the network, with a small stand-in network on {where}:"
    return f"{paragraph(intro)}\n\n{table(['what', 'figure', 'method'], rows)}"


def _overhead() -> tuple[str, str]:
    found = result("overhead")
    low, high = (fixed(value, 2) for value in found["cpu_ratio_range"])
    what = (
        f"CPU time of read + infer + write, {found['side']} x {found['side']} pixels, against a bare rasterio + ONNX "
        "Runtime loop"
    )
    return what, f"{fixed(found['cpu_ratio_median'], 2)} x ({low} to {high}, {found['runs']} interleaved runs)"


CHECKOUTS = {
    "scene_end_to_end": ("a whole run", "wall", "first with ONNX Runtime, now with the native engine and larger tiles"),
    "products": ("all of a run but the network, by `detect`", "cpu", "first, and when offsets spun no idle threads"),
    "products_since": ("the same by the command", "cpu", "from then, and now: JPEG in the report, one decoding"),
}


def _checkouts(name: str) -> Iterator[tuple[str, str, str]]:
    found, (part, clock, which) = result(name), CHECKOUTS[name]
    first, *others = found["medians"].values()
    busy = "" if found["load"][0] < BUSY else ", on a busy machine"
    further = [(f" by {found['devices'][of]}", ratios) for of, ratios in found.get("further_ratios", {}).items()]
    for second, (how, ratios) in zip(others, [("", found["ratios"]), *further], strict=True):
        yield (
            f"{part}{how}, {found['side']} x {found['side']} rendered pixels, all products: {which}",
            f"wall {fixed(first['wall'], 1)} and {fixed(second['wall'], 1)} s, CPU {fixed(first['cpu'], 1)} and "
            f"{fixed(second['cpu'], 1)} s, F1 {percent(first['f1'])} and {percent(second['f1'])}, each "
            f"with its weights of then: {fixed(ratios[clock]['median'], 2)} times as fast by {clock} "
            f"(n {found['rounds']}{busy})",
            "`benchmarks/scene_end_to_end.py`",
        )


def _memory() -> tuple[str, str]:
    found = result("memory")
    sizes = " and ".join(f"{run['side']} x {run['side']}" for run in found["runs"])
    peaks = " and ".join(f"{fixed(run['peak_mb'])} MB" for run in found["runs"])
    return (
        f"peak memory of a whole run, {sizes} pixels, with a network of one convolution",
        f"{peaks} ({fixed(found['ratio'], 2)} x)",
    )


def _scene_speed() -> tuple[str, str]:
    found = result("scene_speed")
    runs = [(name, case, run) for name, case in found["cases"].items() for run in case["runs"]]
    waits = sorted({fixed(run["session"]) for _, _, run in runs})
    what = (
        f"a run whose network only waits ({', '.join(waits)} s), {found['side']} x {found['side']}, against the larger "
        "of network and (read + write CPU) / cores; how often each block is decoded"
    )
    each = [
        f"{_kind(name)}: {fixed(run['ratio'], 2)} x, {fixed(case['decoded'], 2)} times"
        + (" (on a busy machine)" if case["load"][0] > BUSY else "")
        for name, case, run in runs
    ]
    missing = SPEED_CASES - len(found["cases"])
    return what, "; ".join([*each, f"{missing} other kinds of pairs not measured yet"] if missing else each)


def _kind(case: str) -> str:
    layout, dtype, grid = case.split("-")
    return f"{layout} {dtype}, {grid} grid"


BUSY = 2.0  # load average at the beginning, with two cores: something else took one of them
SPEED_CASES = 8  # two layouts, two data types, two grids


def _kill_resume() -> tuple[str, str]:
    found = result("kill_resume")
    what = (
        f"runs killed with SIGKILL and resumed, {found['side']} x {found['side']} pixels, {found['kills']} kills in "
        f"{found['rounds']} runs"
    )
    differing, again = len(found["differing"]), len(found["computed_again"])
    return what, (f"{differing or 'no'} maps that differ by a byte, {again or 'no'} finished sections computed again")


def _registration() -> tuple[str, str]:
    found = result("registration")
    each = {"rendered, other seasons": found["synthetic"], **found["real"]}
    told = [
        f"{name} {fixed(own['largest'], 2)} (n {own['n']}"
        + (f", {own['rough']['n']} more have no common offset and are called rough)" if own["rough"]["n"] else ")")
        for name, own in each.items()
    ]
    unrelated = found["unrelated"].values()
    invented = sum(own["invented"] for own in unrelated)
    return (
        "largest error of imposed offsets between the dates, pixels; and offsets invented between images of different "
        f"ground (n {sum(own['n'] for own in unrelated)})",
        f"{'; '.join(told)}; {invented or 'none'} invented",
    )


def _false_alarms() -> tuple[str, str]:
    rows = result("registration")["alarms"]["rows"]
    told = []
    for row in rows:
        if not row["align"] and any(row["imposed"]):
            aligned = next(one for one in rows if one["align"] and one["imposed"] == row["imposed"])
            offset = fixed((row["imposed"][0] ** 2 + row["imposed"][1] ** 2) ** 0.5, 1)
            told.append(f"{offset} px: {percent(row['f1'])}, {percent(aligned['f1'])}")
    still = next(row for row in rows if not any(row["imposed"]))
    what = f"F1 on rendered scenes that lie apart, without and with `--align` ({percent(still['f1'])} where they don't)"
    return what, "; ".join(told)


QUIET = 1.5  # load average, of which one is its own, above which shares mean little: at 30 CPU time grows by an eighth


def roofline() -> str:
    """What a pair of tiles costs at least, and the share of the floor that sessions reach."""
    found = result("roofline")
    layers, fused = (_cost(found["costs"]["fp32"][form]) for form in ("layers", "fused"))
    machine = found["machine"]
    intro = f"""Where the floor lies (`benchmarks/roofline.py`): in FP32 a pair of tiles takes {layers} as the layers
        stand, and {fused} with inverted residuals fused, whose squeeze-excite needs two passes over a block's input.
        [Floors projected for GPUs](engines.md#floors)."""
    measured = f"""Measured on one core of an {found["environment"]["device"]}, in CPU time: copy
        {fixed(machine["bandwidth_gb_per_second"], 1)} GB/s, and the processor's peak in float32,
        {fixed(machine["fp32_gops"])} GFLOP/s: multiply-adds in registers (`benchmarks/fma_rate.cpp`), the best of
        {machine["peak_runs"]} runs of {machine["peak_multiply_adds"] / 1e9:.2g} G each."""
    if max(found["load"]) > QUIET:
        unknown = "The share of the floor that sessions reach is not measured on a quiet machine yet."
        return paragraph(f"{intro} {measured} {unknown}")
    load = " to ".join(fixed(value, 1) for value in found["load"])
    rounds = f"""Of sessions the median of {found["sessions"][0]["milliseconds"]["n"]} interleaved rounds, at a load of
        {load}, of which one is its own:"""
    rows = [
        [row["session"], row["precision"], fixed(row["milliseconds"]["median"]), *(_share(row[form]) for form in FORMS)]
        for row in found["sessions"]
    ]
    head = ["session", "model", "ms a pair", "share of the layers' floor", "of the fused floor"]
    return f"{paragraph(f'{intro} {measured} {rounds}')}\n\n{table(head, rows)}"


FORMS = ("layers", "fused")


def _cost(cost: Mapping[str, Any]) -> str:
    return (
        f"{fixed(cost['macs']['total'] / 1e9, 2)} G multiply-adds and moves at least {fixed(cost['bytes'] / 1e9, 2)} GB"
    )


def _share(floor: Mapping[str, Any]) -> str:
    return f"{percent(floor['share'], 0)} % of {fixed(floor['floor_ms'])} ms ({floor['bound']})"


def projections() -> str:
    """Floors of GPUs by their datasheets."""
    found = result("roofline")["projections"]
    kinds = [(precision, form) for precision in found["devices"][0]["floors"] for form in FORMS]
    rows = [
        [
            device["name"],
            f"{device['bandwidth']:g}",
            *(significant(device["floors"][precision][form]["floor_ms"]) for precision, form in kinds),
        ]
        for device in found["devices"]
    ]
    intro = f"""Least milliseconds of a pair of tiles, {found["note"]}: the counted bytes and multiply-adds
        (`benchmarks/roofline.py`) divided by memory bandwidth and dense matrix rate, the larger of both. Real engines
        take longer; batches small enough for a cache may take less."""
    head = ["device", "GB/s", *(f"{precision.upper()}, {form}" for precision, form in kinds)]
    return f"{paragraph(intro)}\n\n{table(head, rows)}"


BLOCKS: dict[str, Callable[[], str]] = {
    "real-scenes": real_scenes,
    "around": around,
    "roofline": roofline,
    "projections": projections,
}
