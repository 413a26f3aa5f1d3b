"""The offset between the dates before a run: estimated, judged, taken away where that was asked for."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from affine import Affine

from schanger_edge.geo.grid import Grid
from schanger_edge.registration.consensus import ROUGHLY, Offset
from schanger_edge.registration.offset import Registration, estimate_offset
from schanger_edge.scene import Pair

MAX_OFFSET = 2.0  # pixels; at LEVIR's scale a house's edge moves by a metre
WORTH_IT = 0.25  # pixels: less is no better than the blur that interpolation costs
WORTH_IT_ROUGHLY = ROUGHLY  # pixels: where windows scatter by so much, a smaller shift helps some and hurts others
ASTRAY_SHARE = 0.2  # of the windows that match; more, and a warning says where
WORST = 3  # places named in the summary
DECIMALS = 3


@dataclasses.dataclass(frozen=True)
class Registered:
    """What was found and done.

    Attributes:
        estimate: the offset by the files' own georeference.
        applied: the motion by which the after image is moved while it is read; None where it is not.
        residual: the offset after that; None where nothing was moved.
        note: a sentence for the screen.
        warnings: reasons to doubt the result, in sentences.
        max_offset: pixels above which an offset is worth a warning.
    """

    estimate: Registration
    applied: Affine | None
    residual: Registration | None
    note: str
    warnings: tuple[str, ...]
    max_offset: float

    def summary(self) -> dict[str, Any]:
        """For summary.json: everything in pixels of the common grid unless its name says otherwise."""
        return {
            "note": self.note,
            "area": dataclasses.asdict(self.estimate.area),
            **_report(self.estimate, self.max_offset),
            "max_offset": self.max_offset if math.isfinite(self.max_offset) else None,
            "aligned": self.applied is not None,
            "applied": None if self.applied is None else _numbers(list(self.applied)[:6]),
            "residual": None if self.residual is None else _report(self.residual, self.max_offset),
        }


def register(pair: Pair, *, max_offset: float = MAX_OFFSET, align: bool = False) -> Registered | None:
    """Estimate the offset between the dates and, where asked and worth it, take it away.

    Args:
        pair: two dates; aligning changes how it is read, never the files.
        max_offset: pixels above which there is a warning. Infinity without `align` skips the estimate: nobody asks.
        align: move the image that does not own the grid, where the offset is known and at least `WORTH_IT`, or
            `WORTH_IT_ROUGHLY` where it is only roughly known.

    Returns:
        None where the estimate was skipped.

    Raises:
        SceneError: a file is damaged.
    """
    if math.isinf(max_offset) and not align:
        return None
    estimate = estimate_offset(pair)
    applied, residual, warnings = None, None, []
    if align and estimate.consensus is None:
        warnings.append(f"--align moved nothing: {_not_known(estimate)}.")
    elif align and estimate.consensus is not None and _is_worth_it(estimate):
        applied = pair.align(estimate.consensus.motion)
        residual = estimate_offset(pair)
        if residual.consensus is None or residual.largest >= estimate.largest:
            pair.align(Affine.identity())
            applied, residual = None, None
            warnings.append("--align moved nothing: correcting the offset did not make the dates agree better.")
    warnings += _warnings(residual or estimate, max_offset, asked=align, aligned=applied is not None)
    return Registered(estimate, applied, residual, _note(estimate, residual), tuple(warnings), max_offset)


def _is_worth_it(estimate: Registration) -> bool:
    rough = estimate.consensus is not None and estimate.consensus.kind == "rough"
    return estimate.largest >= (WORTH_IT_ROUGHLY if rough else WORTH_IT)


def _warnings(found: Registration, max_offset: float, *, asked: bool, aligned: bool) -> list[str]:
    warnings = []
    if found.consensus is not None and found.largest > max_offset:
        still = "are still" if aligned else "are"
        mend = "" if asked or not _is_worth_it(found) else "; --align corrects this"
        warnings.append(
            f"the dates {still} {_length(found)} apart, more than {max_offset:g} pixels: expect false alarms along "
            f"edges{mend}."
        )
    astray = found.astray(max_offset)
    if astray and len(astray) >= max(2, ASTRAY_SHARE * len(found.matched)):
        distance, worst = astray[0]
        common = "the common offset" if found.consensus is not None else "where they should be"
        warnings.append(
            f"{len(astray)} of {len(found.matched)} comparable places are more than {max_offset:g} pixels from "
            f"{common}, the worst {distance:.1f} pixels at {_place(found.grid, worst.col, worst.row)}: relief or "
            "oblique views, which no shift can correct; expect false alarms there."
        )
    return warnings


def _note(estimate: Registration, residual: Registration | None) -> str:
    if estimate.consensus is None:
        return _not_known(estimate)
    agree = "agree roughly" if estimate.consensus.kind == "rough" else "agree"
    note = f"the dates are {_length(estimate)} apart ({estimate.agreeing} of {estimate.tried} windows {agree})"
    if residual is None:
        return note
    kind = " by an affine motion" if estimate.consensus.kind == "affine" else ""
    return f"{note}, aligned{kind} to {_length(residual)}"


def _not_known(estimate: Registration) -> str:
    return (
        f"the offset between the dates is unknown: {len(estimate.matched)} of {estimate.tried} windows match "
        "distinctly, and too few of these agree"
    )


def _length(found: Registration) -> str:
    offset = found.offset
    assert offset is not None
    metres = _metres(found.grid, offset)
    rough = found.consensus is not None and found.consensus.kind == "rough"
    pixels = f"about {found.largest:.0f} pixels" if rough else f"{found.largest:.2f} pixels"
    return pixels + ("" if metres is None else f" ({metres:.2g} m)")


def _place(grid: Grid, col: float, row: float) -> str:
    text = f"pixel ({col:.0f}, {row:.0f})"
    lonlat = _lonlat(grid, col, row)
    return text if lonlat is None else f"{text}, {lonlat[0]:.6f} {lonlat[1]:.6f}"


def _report(found: Registration, max_offset: float) -> dict[str, Any]:
    offset, consensus, astray = found.offset, found.consensus, found.astray(max_offset)
    return {
        "offset": None if offset is None else _numbers(offset),
        "offset_m": None if offset is None else _rounded(_metres(found.grid, offset)),
        "kind": None if consensus is None else consensus.kind,
        "motion": None if consensus is None else _numbers(list(consensus.motion)[:6], 9),
        "largest": None if consensus is None else _rounded(found.largest),
        "spread": None if consensus is None else _rounded(consensus.spread),
        "confidence": _rounded(found.agreeing / found.tried if found.tried else 0.0),
        "windows": {"tried": found.tried, "matched": len(found.matched), "agreeing": found.agreeing},
        "astray_share": _rounded(len(astray) / len(found.matched)) if found.matched else None,
        "worst": [
            {
                "pixel": [window.col, window.row],
                "lonlat": _lonlat(found.grid, window.col, window.row),
                "offset": _numbers(window.offset),
                "off_common": _rounded(distance),
            }
            for distance, window in astray[:WORST]
        ],
        "local": [
            {
                "pixel": [window.col, window.row],
                "offset": _numbers(window.offset),
                "distinctness": _rounded(window.distinctness),
            }
            for window in found.matched
        ],
    }


def _numbers(values: Any, decimals: int = DECIMALS) -> list[float]:
    return [round(float(value), decimals) for value in values]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), DECIMALS)


def _metres(grid: Grid, offset: Offset) -> float | None:
    """Length of an offset at the centre of the grid, on the ellipsoid; None where the grid's place is not known."""
    from pyproj import Geod

    col, row = grid.width / 2, grid.height / 2
    ends = _lonlat(grid, col, row), _lonlat(grid, col + offset[0], row + offset[1])
    if ends[0] is None or ends[1] is None:
        return None
    return float(Geod(ellps="WGS84").inv(*ends[0], *ends[1])[2])


def _lonlat(grid: Grid, col: float, row: float) -> tuple[float, float] | None:
    """Degrees east and north of a pixel; None without CRS, or where it has no place on Earth."""
    found = grid.lonlat(col, row)
    if found is None or math.isnan(found[0]):
        return None
    return float(found[0]), float(found[1])
