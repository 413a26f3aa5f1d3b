"""`schanger-edge calibrate`: an FP32 model file -> INT8 with explicit Q/DQ, its loss measured before it gets its name.

Reads from top to bottom in `calibrate`: draw tiles, take ranges, choose thresholds, look at each part alone, put the
worst parts back until the gate holds, convert, verify, report.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from schanger_edge.datasets.draw import TileSet, draw_tiles
from schanger_edge.datasets.tile_pool import source_items
from schanger_edge.drawing import draw
from schanger_edge.errors import ModelError, require
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.files import replacing
from schanger_edge.progress import Progress
from schanger_export.cards import converted_card
from schanger_export.convert import report_path, verified
from schanger_export.fp16 import rescaled, to_fp16
from schanger_export.graph import float_tensors, read_model, write_card
from schanger_export.int8 import Search, Step, candidates, quantize
from schanger_export.options import LEAST, METHODS, CalibrationOptions
from schanger_export.parity import Reference, told
from schanger_export.ranges import collect, largest_values

MOST_HELD = 64
RANGE_TILES = 32  # for FP16
OPSET_FP16 = 19  # the first with FP16 scales


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
        label_rules: which values of the labels count, in words; empty without labels.
        warnings: what is doubtful, in sentences: labels that are all alike, what the files of the tiles leave open, a
            picture that failed.
    """

    path: Path
    method: str
    tries: dict[str, Agreement]
    parts: dict[str, Agreement]
    steps: list[Step]
    agreement: Agreement
    tiles: tuple[int, int]
    reports: tuple[Path, Path]
    label_rules: list[str]
    warnings: tuple[str, ...]


def calibrate(
    model: Path,
    sources: Sequence[str],
    target: Path,
    options: CalibrationOptions | None = None,
    *,
    progress: Progress | None = None,
    **keywords: Any,
) -> Calibration:
    """Make an INT8 model file.

    Args:
        model: an FP32 model file.
        sources: pairs to calibrate on, see `sources.TILES`; a quarter as many tiles as `samples`, at most 64, are held
            aside to measure the loss on.
        target: the .onnx file to write, replaced where it exists; the reports are written beside it.
        options: see `CalibrationOptions`.
        progress: called with (stage, done, total).
        keywords: any of the options by name.

    Raises:
        SchangerError: model, tiles or target are not usable, or the loss cannot be brought below the limit.
    """
    options = dataclasses.replace(options or CalibrationOptions(), **keywords)
    notify = progress or (lambda *_: None)
    if not sources:
        raise ModelError("calibration needs images like those the model will see: use --data.")
    require("matplotlib", "quantize")
    parent, card, sha256 = read_model(model)
    reports = report_path(target), report_path(target, ".png")
    with replacing(target, ModelError) as temporary, replacing(reports[0], ModelError) as json_file:
        with Reference(model) as reference:
            drawn, held = _drawn(sources, reference.tile, options, reference, notify)
            reference.look_at(held, notify)

        convs = candidates(parent)
        if not convs:
            raise ModelError(f"{model} has no convolution that can be INT8: it is not a SChanger model.")
        tensors = sorted({conv.activation for conv in convs})
        histograms = collect(parent, tensors, told(drawn, "ranges", notify))
        search = Search(parent, convs, reference, options.max_f1_loss, notify)
        methods = METHODS if options.method == "auto" else (options.method,)
        chosen, tries = search.methods(histograms, methods)
        thresholds = {name: histogram.threshold(chosen) for name, histogram in histograms.items()}
        parts = search.each_part(thresholds)
        base, build = _builder(parent, drawn, thresholds, fp16=options.fp16)
        known = None if options.fp16 else tries[chosen]
        steps = search.steps(list(parts), lambda names: build(names)[0], known)

        last = steps[-1]
        result, kept_fp32 = build(search.names(last.kept))
        facts = {
            "method": chosen,
            "tiles_sha256": drawn.sha256(),
            "tiles": len(drawn),
            "held_aside": len(held),
            "with_change": drawn.changed,
            "kept_high_precision": list(last.kept),
            "int8_share_of_macs": round(last.macs_share, 4),
        }
        precision = "int8+fp16" if options.fp16 else "int8"
        calibration = {**facts, "agreement": last.agreement.as_dict()}
        write_card(result, converted_card(card, precision, sha256, calibration, kept_fp32))
        onnx.save_model(result, str(temporary))
        found = verified(base, temporary, reference, search.limits)
        rules = held.label_rules()
        warnings = [*filter(None, (found.warning(rules), *drawn.warnings))]
        values = {
            "model": target.name,
            "parent": model.name,
            "parent_sha256": sha256,
            "label_rules": rules,
            "max_f1_loss": options.max_f1_loss,
            **facts,
            "agreement": found.as_dict(),
            "methods": {name: tried.as_dict() for name, tried in tries.items()},
            "parts": {name: alone.as_dict() for name, alone in parts.items()},
            "search": [
                {"kept": step.kept, "int8_share_of_macs": round(step.macs_share, 4), **step.agreement.as_dict()}
                for step in steps
            ],
            "warnings": warnings,
            "thresholds": {name: float(f"{value:.5g}") for name, value in thresholds.items()},
            "tile_names": {"calibration": drawn.names(), "held_aside": held.names()},
        }
        json_file.write_text(json.dumps(values, indent=1) + "\n")
    failed = _draw_report(reports[1], f"{card.name}: {chosen}", parts, steps, options.max_f1_loss)
    return Calibration(
        path=target,
        method=chosen,
        tries=tries,
        parts=parts,
        steps=steps,
        agreement=found,
        tiles=(len(drawn), len(held)),
        reports=reports,
        label_rules=rules,
        warnings=(*warnings, *filter(None, [failed])),
    )


def _drawn(
    sources: Sequence[str], tile: int, options: CalibrationOptions, reference: Reference, notify: Progress
) -> tuple[TileSet, TileSet]:
    """The tiles to take ranges on, and those held aside."""
    drawn, held = draw_tiles(
        [source_items(text) for text in sources],
        tile,
        (options.samples, min(max(options.samples // 4, LEAST), MOST_HELD)),
        options.seed,
        reference.change,
        lambda done, total: notify("tiles", done, total),
    )
    if len(drawn) + len(held) < 2 * LEAST:
        raise ModelError(
            f"the sources have {len(drawn) + len(held)} whole tiles, calibration needs {2 * LEAST}: add more."
        )
    return drawn, held


def _builder(
    parent: onnx.ModelProto, tiles: TileSet, thresholds: Mapping[str, float], *, fp16: bool
) -> tuple[onnx.ModelProto, Callable[[Sequence[str]], tuple[onnx.ModelProto, list[str]]]]:
    """The graph to begin with, and what makes the final one: of the convolutions that become INT8, it gives the graph
    and the names of the nodes that stay FP32 where the rest becomes FP16.
    """
    if not fp16:
        return parent, lambda chosen: (quantize(parent, thresholds, chosen), [])
    some = tiles.every(max(1, len(tiles) // RANGE_TILES))
    safe, ranges = rescaled(parent, largest_values(parent, list(float_tensors(parent)), some))
    newer = onnx.version_converter.convert_version(safe, OPSET_FP16)

    def build(chosen: Sequence[str]) -> tuple[onnx.ModelProto, list[str]]:
        converted = to_fp16(quantize(newer, thresholds, chosen), ranges, resize=True)
        return converted.model, converted.kept

    return safe, build


def _draw_report(
    path: Path, title: str, parts: Mapping[str, Agreement], steps: Sequence[Step], max_f1_loss: float
) -> str:
    """What each part loses, and loss against share of work in INT8, as PNG; returns as `drawing.draw`."""

    def paint(figure: Any) -> None:
        figure.suptitle(title)
        left, right = figure.subplots(1, 2)
        names = list(parts)[::-1]
        left.barh(names, [parts[name].mean_difference for name in names], color="#3b6fb6")
        left.set_xlabel("mean difference of probability, only this part in INT8")
        shares, losses = [100 * step.macs_share for step in steps], [step.agreement.worst_f1_loss for step in steps]
        right.plot([0, *shares[::-1]], [0, *losses[::-1]], "o-", color="#3b6fb6")
        right.axhline(max_f1_loss, color="#b03a2e", linestyle="--", label=f"limit {max_f1_loss:g}")
        right.annotate("this model", (shares[-1], losses[-1]), textcoords="offset points", xytext=(-6, 8), ha="right")
        right.set_xlabel("share of multiply-adds in INT8, %")
        right.set_ylabel("points of F1 lost, the worse of labels and own map")
        right.legend()

    return draw(path, paint, figsize=(11, 4.5), dpi=110, layout="constrained")
