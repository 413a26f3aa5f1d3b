"""Blocks of figures on models and training: values from `benchmarks/results/*.json` in, Markdown out.

Every measured number comes from a JSON. `tests/benchmarks/test_figures.py` checks the literal text here too: a number
in it must be on that test's list, with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from figure_text import fixed, paragraph, percent, result, significant, table

PUBLISHED = Path(__file__).parent.parent / "schanger_edge" / "model" / "published.json"


def scores() -> str:
    """The bundled model by the official protocol, its false alarms, and the demo."""
    found = result("schanger-small-accuracy")
    share = found["scores"]["egy_bcd"]["label_share"]
    words = {
        "levir/val": "two tiles of LEVIR-CD it did not see (`levir/val`)",
        "synthetic": "rendered scenes it did not see",
        "egy_bcd": f'EGY-BCD samples, never trained on; {percent(share, 0)} % is change, so "all changed" scores F1 '
        f"{percent(2 * share / (1 + share))}",
        "sztaki": "SZTAKI AirChange, 1.5 m, changes of all kinds",
    }
    rows = [
        [text, str(own["tiles"]), *(percent(own[key]) for key in ("f1", "precision", "recall"))]
        for name, text in words.items()
        for own in [found["scores"][name]]
    ]
    intro = f"""Bundled model `schanger-small` ({found["parameters"]:,} parameters, {fixed(found["bytes"] / 1e6, 1)} MB,
        FP32), by the official protocol: tiles of 256, threshold 0.5, pixels of the change class. It was trained on
        one CPU core ([how](models.md)), far from the published scores; none of these is an official
        benchmark score."""
    head = ["data", "tiles", "F1", "precision", "recall"]
    return "\n\n".join((paragraph(intro), table(head, rows), paragraph(_false_alarms())))


def demo() -> str:
    """What the demo finds."""
    found = result("demo")
    f1, precision, recall = (percent(found["scores"][key]) for key in ("f1", "precision", "recall"))
    return paragraph(
        f"""The demo's map of {found["side"]} x {found["side"]} pixels scores F1 {f1} (precision {precision}, recall
        {recall}) against the exact truth of its scene."""
    )


def five() -> str:
    """One figure each of accuracy, false alarms, speed, memory and durability."""
    own = result("schanger-small-accuracy")["scores"]["levir/val"]
    quiet = [pair for pair in result("real-scenes")["pairs"] if pair["before"].startswith("sjer/") and "gsd" in pair]
    alarms = " and ".join(f"{percent(pair['changed_share_of_valid'])} %" for pair in quiet)
    bench = result("bench/bench")
    fastest = max(row["megapixels_per_second"]["median"] for row in bench["speed"] if row["model"] == "schanger-small")
    memory, killed = result("memory"), result("kill_resume")
    sizes = " and ".join(f"{run['side']} x {run['side']}" for run in memory["runs"])
    peaks = " and ".join(f"{fixed(run['peak_mb'])} MB" for run in memory["runs"])
    rows = [
        (f"F1 on {own['tiles']} tiles of LEVIR-CD that it did not see", percent(own["f1"]), "the-bundled-model"),
        (
            f"called change on {len(quiet)} pairs of flights between which nothing was built, at {quiet[0]['gsd']} m",
            alarms,
            "real-pairs-without-labels",
        ),
        (
            f"megapixels per second through the network, {bench['engines'][0]['engine']}",
            fixed(fastest, 2),
            "which-model-to-fly-with",
        ),
        (f"peak memory of runs of {sizes} pixels, small network", peaks, "around-the-network"),
        (
            f"maps that differ by a byte after {killed['kills']} kills and resumes",
            str(len(killed["differing"])),
            "around-the-network",
        ),
    ]
    linked = ([what, f"[{figure}](docs/figures.md#{place})"] for what, figure, place in rows)
    return table(["what", "figure"], linked)


def _false_alarms() -> str:
    pairs = [pair for pair in result("real-scenes")["pairs"] if pair["before"].startswith("sjer/")]
    own, at_gsd = ([pair for pair in pairs if ("gsd" in pair) == resampled] for resampled in (False, True))
    gsd, coarse = own[0]["grid_gsd"], at_gsd[0]["gsd"]
    fine_shares, coarse_shares = (
        " and ".join(f"{percent(pair['changed_share_of_valid'])} %" for pair in found) for found in (own, at_gsd)
    )
    demo = {key: percent(value) for key, value in result("demo")["scores"].items()}
    return f"""On two pairs of flights at {gsd} m per pixel, in different seasons, between which nothing was built
        (NEON, SJER), {fine_shares} of the area is called change at {gsd} m (with a warning), and {coarse_shares} with
        `--gsd {coarse}`, the scale of the training data, at which each of the two scenes is smaller than a tile: all
        false alarms. Dry grass and open woodland are not in its training data. SZTAKI says from the other side that
        this model needs about {coarse} m. The demo's pair scores F1 {demo["f1"]} (precision {demo["precision"]}, recall
        {demo["recall"]}) against its exact truth."""


def int8() -> str:
    """The bundled INT8 model."""
    found = result("schanger-small-int8")
    calibration, own, parent = found["calibration"], found["scores"], found["scores_of_the_parent"]
    f1 = [percent(scores[data]["f1"]) for scores in (own, parent) for data in ("levir/val", "synthetic")]
    agreement = calibration["agreement"]
    return paragraph(
        f"""The bundled INT8 model, `--model schanger-small-int8`, has {percent(calibration["int8_share_of_macs"], 0)} %
        of the multiply-adds in INT8 ({len(calibration["kept_high_precision"])} parts were put back) and scores F1
        {f1[0]} on `levir/val` and {f1[1]} on the rendered scenes, where its parent has {f1[2]} and {f1[3]}; on
        {agreement["tiles"]} tiles held aside probability differs by {significant(agreement["mean_difference"])} on
        average. On a CPU it is no faster than its parent (`schanger-edge compare` tells), and for GPUs it is not
        advised, see below (`benchmarks/bundle_converted.py`)."""
    )


def precision() -> str:
    """What each precision loses, and the memory of calibrate."""
    found, memory = result("precision"), result("calibration_memory")
    words = {
        "fp16": "FP16",
        "int8": "INT8",
        "int8+fp16": "INT8+FP16",
        "per tensor": "INT8 with one scale per weight tensor",
        "per date": "INT8 with a scale per date",
    }
    rows = [
        [text, fixed(row["f1_loss"], 2), significant(row["mean_difference"])]
        for name, text in words.items()
        for row in [found["rows"][name]]
    ]
    intro = f"""What each precision loses on `{found["scored"]}`, calibrated on {found["samples"]} tiles of LEVIR-CD
        (`benchmarks/precision.py`), in points of F1 against the labels; a negative loss is a gain:"""
    samples = " and with ".join(str(run["samples"]) for run in memory["runs"])
    peak = fixed(max(run["peak_mb"] for run in memory["runs"]) / 1000, 1)
    after = f"""`calibrate` takes {peak} GB at its peak with {samples} samples (ratio {memory["ratio"]},
        `benchmarks/calibration_memory.py`)."""
    head = ["model", "F1 lost", "mean difference of probability"]
    return "\n\n".join((paragraph(intro), table(head, rows), paragraph(after)))


def ablation() -> str:
    """What each part of the training recipe brings."""
    found = result("ablation")
    words = {
        "pre-trained": "pre-trained on single dates, as published",
        "from scratch": "from scratch",
        "pre-trained, without side losses": "pre-trained, without side losses",
        "pre-trained, without temporal swap": "pre-trained, without temporal swap",
    }
    first = found["arms"]["pre-trained"]["mean"]
    rows = [
        [text, f"{fixed(arm['mean'], 2)} ± {fixed(arm['spread'], 2)}", f"{fixed(arm['mean'] / first, 2)} x"]
        for name, text in words.items()
        for arm in [found["arms"][name]]
    ]
    settings, held = found["settings"], " and ".join(f"`{name}`" for name in found["holdout"])
    intro = f"""On one small budget, {found["steps"]} steps of {settings["batch"]} crops of {settings["tile"]} pixels,
        with {len(found["seeds"])} seeds (`benchmarks/ablation.py`): trained on tiles of LEVIR-CD, scored on {held},
        which no other tile touches, F1 with its standard deviation."""
    return f"{paragraph(intro)}\n\n{table(['training', 'F1', 'against the first'], rows)}"


def cpu_training() -> str:
    """What makes a training step on a CPU faster, and that bfloat16 does not."""
    found, parts = result("cpu-training"), result("bf16")["parts"]
    words = {
        "default allocator": "large blocks kept by the allocator",
        "contiguous instead of channels_last": "channels_last",
        "gradient of squeeze-excite's mean as a whole tensor": "squeeze-excite's mean as a sum, of small gradient",
        "dilated convolution as it is": "the dilated convolution as nine interleaved ones",
    }
    variants = found["variants"]
    rows = [[text, fixed(variants[name]["ratio"], 2)] for name, text in words.items()]
    slower = [part["time_ratio"] for name, part in parts.items() if "convolution" in name or "depthwise" in name]
    intro = f"""Time of a training step without each remedy, as a ratio to all of them together: two pairs of 128
        pixels, {found["threads"]} threads of an {found["environment"]["device"]}, medians of {found["rounds"]}
        interleaved rounds (`benchmarks/cpu_training.py`). With all of them a pair takes
        {fixed(variants["all remedies"]["seconds_per_pair"], 2)} s."""
    finite = "every gradient is finite" if all(part["finite"] for part in parts.values()) else "gradients are infinite"
    after = f"""Frozen BatchNorm, which becomes part of its convolution, makes it
        {fixed(variants["all remedies, BatchNorm frozen"]["ratio"], 2)}. bfloat16 does not pay there: {finite}, but
        plain convolutions are {fixed(min(slower))} to {fixed(max(slower))} times slower than in float32 on a CPU
        without instructions for it (`benchmarks/bf16.py`)."""
    return "\n\n".join((paragraph(intro), table(["without", "ratio"], rows), paragraph(after)))


def accuracy() -> str:
    """Models on ground they never saw, under other light, and where nothing was built."""
    found = result("accuracy")
    models = found["models"]
    names = {"before": "before", "schanger-small": "now", "schanger-small-int8": "now, INT8"}
    shown = [names.get(name, name) for name in models]
    rows = [
        [f"`levir/val`, {row}", *(percent(model["levir/val"][row]["f1"]) for model in models.values())]
        for row in next(iter(models.values()))["levir/val"]
    ]
    others = {"rendered": "rendered scenes", "egy_bcd": "EGY-BCD", "sztaki": "SZTAKI AirChange, 1.5 m"}
    rows += [[words, *(percent(model[name]["f1"]) for model in models.values())] for name, words in others.items()]
    unbuilt = "called change where nothing was built"
    pairs = next(iter(models.values()))[unbuilt]
    calls = [[f"`{pair}`", *(f"{percent(model[unbuilt][pair])} %" for model in models.values())] for pair in pairs]
    whole = {"levir/val": "`levir/val`", "rendered": "rendered scenes"}
    for name, words in whole.items():
        rows.append([f"{words}, as run", *(percent(model["as run"][name]) for model in models.values())])
    calls += [
        [f"`{pair}`, as run", *(f"{percent(model['as run'][pair])} %" for model in models.values())] for pair in pairs
    ]
    intro = """F1 on ground that no training saw, as it is and with both dates changed: a cast in values of a byte,
        compression with its quality; the shift moves one date right and down. Tiles lie side by side, as the
        official protocol has them; *as run* are whole images with the model's own tile and halo
        (`benchmarks/accuracy.py`):"""
    after = """The share of pixels called change on pairs in which next to nothing was built, two of grey-bluish cities
        and two of flights over woodland, at the scale the model knows:"""
    head = table(["F1", *shown], rows)
    return "\n\n".join((paragraph(intro), head, paragraph(after), table(["called change", *shown], calls)))


def fused_training() -> str:
    """What operations of our own and bfloat16 bring."""
    found = result("fused_training")
    rows = found["variants"]
    instructions = "with" if "avx512_bf16" in found["instructions"] else "without"
    return paragraph(
        f"""On one thread the wide middle of each inverted residual is one operation, and depthwise convolutions are our
        own (`export/schanger_export/fused.py`, compiled on first use where there is AVX-512 and a compiler; gradients
        equal those of double precision to rounding). A step then takes {fixed(rows["own"]["ratio"], 2)} of its time;
        with bfloat16 as well, on a processor {instructions} instructions for it, {fixed(rows["both"]["ratio"], 2)}
        ({fixed(rows["both"]["seconds_per_pair"], 2)} s of CPU for a pair instead of
        {fixed(rows["neither"]["seconds_per_pair"], 2)} s; `benchmarks/fused_training.py`)."""
    )


def weights() -> str:
    """The published models, and what each is for."""
    found = json.loads(PUBLISHED.read_text(encoding="utf-8"))["datasets"]
    rows = [
        [
            f"`{name}`",
            *(fixed(one["checkpoint_f1"][size], 1) for size in ("small", "base")),
            " to ".join(f"{value:g}" for value in dict.fromkeys(one["gsd_range"])),
            one["sensor"],
            "off-nadir" if one["off_nadir"] else "near-nadir",
            one["change"],
        ]
        for name, one in found.items()
    ]
    return table(["trained on", "F1 `:small`", "F1 `:base`", "GSD, m", "sensor", "view", "change"], rows)


def install() -> str:
    """Why `models` is an extra."""
    found = result("install")
    default, added = fixed(found["installations"]["default"]["bytes"] / 1e6), fixed(found["models_add_bytes"] / 1e6)
    return paragraph(
        f"""Fetching needs `pip install 'schanger-edge[models]'`, which brings onnx and huggingface_hub, no torch. It
        adds {added} MB to the {default} MB of a default installation (`benchmarks/install.py`), so it is an extra. A
        model that was made needs neither."""
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "published": weights,
    "weights": weights,
    "install": install,
    "scores": scores,
    "demo": demo,
    "five": five,
    "int8": int8,
    "precision": precision,
    "ablation": ablation,
    "cpu-training": cpu_training,
    "accuracy": accuracy,
    "fused-training": fused_training,
}
