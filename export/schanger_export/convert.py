"""`schanger-edge convert`: an FP32 model file -> FP16, with the ranges that decide what stays FP32."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx

from schanger_edge.datasets.draw import draw_tiles
from schanger_edge.datasets.tile_pool import sources_or_rendered
from schanger_edge.errors import ModelError
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.files import replacing
from schanger_edge.progress import Progress
from schanger_export.cards import converted_card
from schanger_export.fp16 import LARGEST, rescaled, to_fp16
from schanger_export.graph import check_graph, float_tensors, read_model, write_card
from schanger_export.options import SEED
from schanger_export.parity import Reference, check_parity, check_weights, told
from schanger_export.ranges import largest_values

HELD = 16
MEAN_DIFFERENCE, DISAGREEMENT, F1_LOSS = 1e-3, 1e-3, 0.1
"""What an FP16 model may differ from its parent: in probability, in share of pixels, in points of F1."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        path: the model file.
        bytes: its size, and that of its parent.
        agreement: with its parent, on tiles whose ranges were not looked at.
        resize_fp16: whether Resize works in FP16.
        kept_by_range: nodes that stay FP32 because a tensor of theirs is too large.
        report: the JSON file beside the model.
        label_rules: which values of the labels count, in words; empty without labels.
        warnings: what is doubtful, in sentences: labels that are all alike, what the files of the tiles leave open.
    """

    path: Path
    bytes: tuple[int, int]
    agreement: Agreement
    resize_fp16: bool
    kept_by_range: list[str]
    report: Path
    label_rules: list[str]
    warnings: tuple[str, ...]


def convert(
    model: Path, target: Path, *, sources: Sequence[str] = (), samples: int = 32, progress: Progress | None = None
) -> Conversion:
    """Make an FP16 model file.

    Args:
        model: an FP32 model file.
        target: the .onnx file to write, replaced where it exists; the report is written beside it.
        sources: real tiles, see `sources.TILES`; rendered scenes where there are none.
        samples: tiles to measure ranges on.
        progress: called with (stage, done, total).

    Raises:
        SchangerError: the model or the tiles are not usable, or the result differs from its parent.
    """
    notify = progress or (lambda *_: None)
    parent, card, sha256 = read_model(model)
    report = report_path(target)
    with replacing(target, ModelError) as temporary, replacing(report, ModelError) as report_temporary:
        with Reference(model) as reference:
            measured, held = draw_tiles(
                sources_or_rendered(sources),
                reference.tile,
                (samples, HELD),
                SEED,
                reference.change,
                lambda done, total: notify("tiles", done, total),
            )
            reference.look_at(held, lambda *_: None)
        ranges = largest_values(parent, list(float_tensors(parent)), told(measured, "ranges", notify))
        safe, others = rescaled(parent, ranges)
        for resize in (True, False):
            converted = to_fp16(safe, others, resize=resize)
            found = reference.score(converted.model)
            if found.mean_difference <= MEAN_DIFFERENCE or not resize:
                break
        write_card(converted.model, converted_card(card, "fp16", sha256, kept_fp32=converted.kept))
        onnx.save_model(converted.model, str(temporary))
        found = verified(safe, temporary, reference, fp16_limits)
        rules = held.label_rules()
        warnings = tuple(filter(None, (found.warning(rules), *measured.warnings)))
        values: dict[str, Any] = {
            "model": target.name,
            "parent": model.name,
            "parent_sha256": sha256,
            "precision": "fp16",
            "label_rules": rules,
            "resize_fp16": resize,
            "limit": LARGEST,
            "kept_by_range": converted.by_range,
            "agreement": found.as_dict(),
            "tiles": {"ranges": measured.names(), "parity": held.names()},
            "warnings": warnings,
            "largest_values": {name: float(f"{value:.5g}") for name, value in ranges.items()},
        }
        report_temporary.write_text(json.dumps(values, indent=1) + "\n")
    return Conversion(
        path=target,
        bytes=(target.stat().st_size, model.stat().st_size),
        agreement=found,
        resize_fp16=resize,
        kept_by_range=converted.by_range,
        report=report,
        label_rules=rules,
        warnings=warnings,
    )


def report_path(target: Path, suffix: str = ".json") -> Path:
    """`model.fp16.onnx` -> `model.fp16.report.json`."""
    return target.with_name(f"{target.name.removesuffix('.onnx')}.report{suffix}")


def verified(
    parent: onnx.ModelProto,
    path: Path,
    reference: Reference,
    limits: Callable[[Agreement], Sequence[tuple[str, float, float]]],
) -> Agreement:
    """How a finished file agrees with its parent.

    Raises:
        ModelError: it is no valid ONNX, a weight is not its parent's, or it differs by more than the limits.
    """
    check_graph(path, "converted")
    check_weights(parent, onnx.load(str(path)))
    found = reference.score(path)
    check_parity(found, limits(found))
    return found


def fp16_limits(found: Agreement) -> list[tuple[str, float, float]]:
    """For `parity.check_parity`."""
    limits = [
        ("mean difference of probability", found.mean_difference, MEAN_DIFFERENCE),
        ("share of pixels classified differently", 1 - found.agreement, DISAGREEMENT),
    ]
    return [*limits, ("points of F1 lost", found.f1_loss, F1_LOSS)] if found.labelled else limits
