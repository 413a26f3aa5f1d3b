"""`schanger-edge calibrate`: an FP32 model file -> INT8 with explicit Q/DQ, its loss measured before it gets its name.

Reads from top to bottom in `calibrate`: draw tiles, take ranges, choose thresholds, look at each part alone, put the
worst parts back until the gate holds, convert, verify, report.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import onnx

from schanger_edge.datasets.draw import TileSet, draw_tiles
from schanger_edge.datasets.tile_pool import parse_source
from schanger_edge.errors import ModelError, require
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.files import replacing
from schanger_export.calibration_plot import draw_report
from schanger_export.cards import converted_card
from schanger_export.convert import SEED, Progress, report_path, verified
from schanger_export.fp16 import to_fp16
from schanger_export.graph import Convolution, convolutions, float_tensors, read_model, write_card
from schanger_export.int8 import candidates, quantize
from schanger_export.parity import Reference
from schanger_export.ranges import Histogram, collect, largest_values

Method = Literal["auto", "percentile", "entropy", "minmax"]
METHODS = ("percentile", "entropy", "minmax")
LEAST, MOST_HELD = 8, 64
EVERY = 4  # of the held-aside tiles, those that each part alone is tried on
RANGE_TILES = 32  # for FP16
OPSET_FP16 = 19  # the first with FP16 scales
MEAN_DIFFERENCE = 0.02  # of probability: more is not accepted, whatever F1 says on a few tiles


@dataclasses.dataclass(frozen=True)
class Step:
    """One state of the search: which parts are back in high precision, and what is lost."""

    kept: tuple[str, ...]
    macs_share: float
    agreement: Agreement


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What a calibration made.

    Attributes:
        path: the model file.
        method: that chose the thresholds.
        tries: agreement of each method that was tried.
        parts: agreement with just this part in INT8, by part, worst first.
        steps: of the search; the last one is the model.
        agreement: of the finished file with its parent.
        tiles: (calibration, held aside).
        reports: JSON and picture.
    """

    path: Path
    method: str
    tries: dict[str, Agreement]
    parts: dict[str, Agreement]
    steps: list[Step]
    agreement: Agreement
    tiles: tuple[int, int]
    reports: tuple[Path, Path]


def calibrate(
    model: Path,
    sources: Sequence[str],
    target: Path,
    *,
    fp16: bool = False,
    method: Method = "auto",
    samples: int = 256,
    max_f1_loss: float = 0.5,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Calibration:
    """Make an INT8 model file.

    Args:
        model: an FP32 model file.
        sources: pairs to calibrate on, see `scene.tile_pool.parse_source`; a quarter as many tiles as `samples`, at
            most 64, are held aside to measure the loss on.
        target: the .onnx file to write, replaced where it exists; the reports are written beside it.
        fp16: what does not become INT8 becomes FP16 (opset 19) instead of FP32 (opset 17).
        method: how a tensor's range becomes its scale; auto tries all and keeps the best.
        samples: tiles to take ranges on.
        max_f1_loss: points of F1 that may be lost, both against labels, where all held-aside tiles have them, and
            against the parent's own map.
        seed: what the draw follows from.
        progress: told (stage, done, total).

    Raises:
        SchangerError: model, tiles or target are not usable, or the loss cannot be brought below the limit.
    """
    tell = progress or (lambda *_: None)
    if samples < LEAST:
        raise ModelError(f"--samples must be at least {LEAST}, not {samples}.")
    if not sources:
        raise ModelError("calibration needs images like those the model will see: give --pairs.")
    require("matplotlib", "quantize")
    parent, card, sha256 = read_model(model)
    reports = report_path(target), report_path(target, ".png")
    with (
        replacing(target, ModelError) as temporary,
        replacing(reports[0], ModelError) as json_file,
        replacing(reports[1], ModelError) as picture,
    ):
        with Reference(model) as reference:
            counts = samples, min(max(samples // 4, LEAST), MOST_HELD)
            drawn, held = draw_tiles(
                [parse_source(text) for text in sources], card.tile, counts, seed, reference.change,
                lambda done, total: tell("tiles", done, total),
            )  # fmt: skip
            if len(drawn) + len(held) < 2 * LEAST:
                raise ModelError(
                    f"the sources hold {len(drawn) + len(held)} whole tiles, calibration needs {2 * LEAST}: give more."
                )
            reference.look_at(held, lambda done: tell("reference", done, len(held)))

        convs = candidates(parent)
        if not convs:
            raise ModelError(f"{model} has no convolution that may become INT8: it is no SChanger.")
        histograms = collect(
            parent, sorted({conv.activation for conv in convs}), drawn, lambda done: tell("ranges", done, len(drawn))
        )
        chosen, tries = _choose(parent, convs, histograms, reference, METHODS if method == "auto" else (method,), tell)
        thresholds = {name: histogram.threshold(chosen) for name, histogram in histograms.items()}
        parts = _each_part(parent, convs, thresholds, reference, tell)
        steps = _search(parent, convs, thresholds, reference, list(parts), tries[chosen], max_f1_loss, tell)

        result, kept_fp32 = _built(parent, convs, thresholds, steps[-1].kept, drawn if fp16 else None)
        facts = {
            "method": chosen, "tiles_sha256": drawn.sha256(), "tiles": len(drawn), "held_aside": len(held),
            "with_change": drawn.changed, "kept_high_precision": list(steps[-1].kept),
            "int8_share_of_macs": round(steps[-1].macs_share, 4),
        }  # fmt: skip
        precision = "int8+fp16" if fp16 else "int8"
        calibration = {**facts, "agreement": steps[-1].agreement.as_dict()}
        write_card(result, converted_card(card, precision, sha256, calibration, kept_fp32))
        onnx.save_model(result, str(temporary))
        found = verified(parent, temporary, reference, lambda found: _limits(found, max_f1_loss))
        values = {
            "model": target.name, "parent": model.name, "parent_sha256": sha256, "max_f1_loss": max_f1_loss,
            **facts, "agreement": found.as_dict(),
            "methods": {name: tried.as_dict() for name, tried in tries.items()},
            "parts": {name: alone.as_dict() for name, alone in parts.items()},
            "search": [
                {"kept": step.kept, "int8_share_of_macs": round(step.macs_share, 4), **step.agreement.as_dict()}
                for step in steps
            ],
            "thresholds": {name: float(f"{value:.5g}") for name, value in thresholds.items()},
            "tile_names": {"calibration": drawn.names(), "held_aside": held.names()},
        }  # fmt: skip
        json_file.write_text(json.dumps(values, indent=1) + "\n")
        draw_report(picture, f"{card.name}: {chosen}", parts, steps, max_f1_loss)
    return Calibration(target, chosen, tries, parts, steps, found, (len(drawn), len(held)), reports)


def _choose(
    parent: onnx.ModelProto,
    convs: Sequence[Convolution],
    histograms: dict[str, Histogram],
    reference: Reference,
    methods: Sequence[str],
    tell: Progress,
) -> tuple[str, dict[str, Agreement]]:
    """The method that loses least, and how each one did."""
    tries = {}
    for number, method in enumerate(methods, 1):
        thresholds = {name: histogram.threshold(method) for name, histogram in histograms.items()}
        tries[method] = reference.score(quantize(parent, thresholds, [conv.name for conv in convs]))
        tell("methods", number, len(methods))
    return min(tries, key=lambda name: (tries[name].worst_f1_loss, tries[name].mean_difference)), tries


def _each_part(
    parent: onnx.ModelProto,
    convs: Sequence[Convolution],
    thresholds: dict[str, float],
    reference: Reference,
    tell: Progress,
) -> dict[str, Agreement]:
    """Agreement with one part in INT8 alone, by part; the part that moves probability most comes first."""
    names = list(dict.fromkeys(conv.part for conv in convs))
    found = {}
    for number, part in enumerate(names, 1):
        own = [conv.name for conv in convs if conv.part == part]
        found[part] = reference.score(quantize(parent, thresholds, own), EVERY)
        tell("parts", number, len(names))
    return dict(sorted(found.items(), key=lambda entry: -entry[1].mean_difference))


def _search(
    parent: onnx.ModelProto,
    convs: Sequence[Convolution],
    thresholds: dict[str, float],
    reference: Reference,
    worst_first: Sequence[str],
    everything: Agreement,
    limit: float,
    tell: Progress,
) -> list[Step]:
    """Put the worst part back to high precision until the gate holds.

    Raises:
        ModelError: with one part left it is not.
    """
    total = sum(conv.macs for conv in convolutions(parent))

    def share(kept: Sequence[str]) -> float:
        return sum(conv.macs for conv in convs if conv.part not in kept) / total

    steps = [Step((), share(()), everything)]
    while any(not value <= most for _, value, most in _limits(steps[-1].agreement, limit)):
        kept = tuple(worst_first[: len(steps)])
        if len(kept) == len(worst_first):
            raise ModelError(
                f"with only {worst_first[-1]} in INT8 the model still loses {steps[-1].agreement.worst_f1_loss:.2f} "
                f"points of F1 (at most {limit:g}): nothing is left to gain; raise --max-f1-loss or convert to FP16."
            )
        own = [conv.name for conv in convs if conv.part not in kept]
        steps.append(Step(kept, share(kept), reference.score(quantize(parent, thresholds, own))))
        tell("search", len(steps) - 1, len(worst_first) - 1)
    if len(steps) > 1:
        tell("search", 1, 1)
    return steps


def _built(
    parent: onnx.ModelProto,
    convs: Sequence[Convolution],
    thresholds: dict[str, float],
    kept: Sequence[str],
    range_tiles: TileSet | None,
) -> tuple[onnx.ModelProto, list[str]]:
    """The final graph; with tiles for ranges, FP16 where it is not INT8, and the nodes that stay FP32 then."""
    own = [conv.name for conv in convs if conv.part not in kept]
    if range_tiles is None:
        return quantize(parent, thresholds, own), []
    newer = onnx.version_converter.convert_version(parent, OPSET_FP16)
    some = range_tiles.every(max(1, len(range_tiles) // RANGE_TILES))
    ranges = largest_values(parent, list(float_tensors(parent)), some)
    converted = to_fp16(quantize(newer, thresholds, own), ranges, resize=True)
    return converted.model, converted.kept


def _limits(found: Agreement, max_f1_loss: float) -> list[tuple[str, float, float]]:
    return [
        ("mean difference of probability", found.mean_difference, MEAN_DIFFERENCE),
        ("points of F1 lost", found.worst_f1_loss, max_f1_loss),
    ]
