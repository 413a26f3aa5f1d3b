"""Blocks of figures on TensorRT, as those of `figures_of_models.py`: what builds take, and what INT8 could save."""

from __future__ import annotations

from collections.abc import Callable

from figure_text import fixed, paragraph, percent, result, table


def rtx_builds() -> str:
    """Scratch memory and plans of TensorRT-RTX."""
    builds = result("rtx_builds")["builds"]
    capabilities = list(dict.fromkeys(row["capability"] for row in builds))
    (version,) = {row["tensorrt_rtx"] for row in builds}
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for row in builds:
        key = row["model"], str(row["tile"]), ",".join(map(str, dict.fromkeys(row["batches"])))
        sizes = [fixed(row[f"{what}_bytes"] / 1e6) for what in ("scratch", "plan") if f"{what}_bytes" in row]
        cells.setdefault(key, {})[row["capability"]] = ", ".join(sizes) or "no plan"
    intro = f"""Scratch memory and plan in megabytes, as TensorRT-RTX {version} builds them without a GPU
        (`benchmarks/rtx_builds.py`); scratch is what a context takes for the largest batch, beside weights and
        tiles."""
    head = ["model", "tile", "batch", *(f"compute capability {capability}" for capability in capabilities)]
    rows = [
        [*key, *(found.get(capability, "not built") for capability in capabilities)] for key, found in cells.items()
    ]
    return f"{paragraph(intro)}\n\n{table(head, rows)}"


PLACEMENTS = {
    "FP16": "FP16",
    "shipped": "the bundled INT8 model, the rest FP16",
    "convolutions": "all that `calibrate` may quantize",
    "wide": "wide tensors of inverted residuals and MLPs, gate in the projection",
    "chain": "every convolution's input, without the first, squeeze-excite's and the heads'",
    "all": "every convolution's input but squeeze-excite's",
}


def traffic() -> str:
    """What INT8 would save by its placement, and cost."""
    found = result("traffic")
    placements = found["placements"]
    reference = placements["FP16"]["f1"]
    data = list(reference)
    intro = """Memory traffic of a pair of tiles by where INT8 is placed (`benchmarks/traffic.py`), counted on the
        graph: what convolutions read and write, all else on the way. `padded`: with the channels of INT8 tensors
        counted up to a multiple of 32, as INT8 tensor cores want them; `as built`: with each channel read four times by
        INT8 depthwise convolutions, as by TensorRT-RTX's. The loss in points of F1 is that of rounding
        after calibration on tiles of LEVIR-CD, without training."""
    rows = []
    for name, row in placements.items():
        loss = [fixed(100 * (reference[one] - row["f1"][one]), 1) if "f1" in row else "-" for one in data]
        others = [percent(row[kind], 0) if kind in row else "-" for kind in ("padded_saved", "as_built_saved")]
        rows.append([PLACEMENTS[name], fixed(row["bytes"] / 1e6), percent(row["saved"], 0), *others, *loss])
    head = ["INT8", "MB", "saved, %", "padded, %", "as built, %", *(f"F1 lost, `{one}`" for one in data)]
    return f"{paragraph(intro)}\n\n{table(head, rows)}"


BLOCKS: dict[str, Callable[[], str]] = {"rtx-builds": rtx_builds, "traffic": traffic}
