"""Blocks of figures on TensorRT, as those of `figures_of_models.py`: what builds take, and what INT8 could save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from figure_text import fixed, of_earlier_weights, paragraph, percent, result, table

Row = Mapping[str, Any]


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
    "FP16": "none, all FP16",
    "shipped": "the bundled INT8 model, the rest FP16",
    "convolutions": "all that `calibrate` may quantize",
    "wide": "wide tensors of inverted residuals and MLPs, gate in the projection",
    "chain": "every convolution's input, without the first, squeeze-excite's and the heads'",
    "all": "every convolution's input but squeeze-excite's",
}


def traffic() -> str:
    """What INT8 would save by its placement, and cost."""
    placements = result("traffic")["placements"]
    (version,) = {row["tensorrt_rtx"] for row in result("rtx_builds")["builds"]}
    fp16 = placements["FP16"]
    others = [row for name, row in placements.items() if name != "FP16"]
    more = [_built(row) / _built(fp16) - 1 for row in others]
    padding = max(row["saved"] - row["padded_saved"] for row in others)
    lost = max(loss for row in others for loss in _losses(row, fp16))
    intro = f"""Memory traffic of a pair of tiles by where INT8 is placed (`benchmarks/traffic.py`). Counted on the
        graph: what convolutions read and write, all else on the way; `padded` has the channels of INT8 tensors counted
        up to a multiple of 32, as INT8 tensor cores want them, which costs up to {percent(padding, 0)} % of FP16's
        traffic. Built: what the layers read and hand on that TensorRT-RTX {version} builds for compute capability 8.6,
        by its layer log, and how many of their INT8 convolutions hand on FP32. Built, the placements move
        {percent(min(more), 0)} to {percent(max(more), 0)} % more than FP16. The loss in points of F1 is that of Q/DQ
        models run by ONNX Runtime, calibrated on tiles of LEVIR-CD and of rendered scenes, without training; it is
        {fixed(lost, 1)} at most.{of_earlier_weights(result("traffic")["weights_sha256"])}"""
    head = ["INT8", "counted, MB", "saved, %", "padded, %", "built, MB", "saved, %", "hand on FP32"]
    rows = [
        [
            PLACEMENTS[name],
            fixed(row["bytes"] / 1e6),
            percent(row["saved"], 0),
            percent(row["padded_saved"], 0),
            fixed(_built(row) / 1e6),
            percent(1 - _built(row) / _built(fp16), 0),
            _handed_on(row["built"]["int8_convolutions_hand_on"]),
            *(fixed(loss, 1) for loss in _losses(row, fp16)),
        ]
        for name, row in placements.items()
    ]
    return f"{paragraph(intro)}\n\n{table([*head, *(f'F1 lost, `{data}`' for data in fp16['f1'])], rows)}"


def _built(row: Row) -> int:
    return int(row["built"]["bytes"])


def _losses(row: Row, fp16: Row) -> list[float]:
    """Points of F1, by data."""
    return [100 * (fp16["f1"][data] - row["f1"][data]) for data in fp16["f1"]]


def _handed_on(kinds: Mapping[str, int]) -> str:
    return f"{kinds['Float']} of {sum(kinds.values())}" if kinds else "-"


BLOCKS: dict[str, Callable[[], str]] = {"rtx-builds": rtx_builds, "traffic": traffic}
