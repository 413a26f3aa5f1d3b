"""What a report says of a run in words and figures, from the summary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

LONGEST = 600
"""Characters of a text from a file; longer ones are cut."""

Summary = Mapping[str, Any]


class Figure(NamedTuple):
    """One of the numbers at the top: what it is, the number, and what to hold it against."""

    label: str
    value: str
    note: str


def figures(summary: Summary) -> list[Figure]:
    """The numbers that a reader looks for first."""
    pixels, options = summary["pixels"], summary["options"]
    share = summary["changed_share_of_valid"]
    return [
        Figure("Changes", f"{summary['polygons']:,}", _least(options["min_area"], summary) or "of any size"),
        Figure(
            "Changed area",
            area_text(summary["area_m2"]["changed"], pixels["changed"]),
            f"{_percent(share)} of compared",
        ),
        Figure("Compared", _percent(pixels["valid"] / pixels["total"]), "of the image"),
        Figure("Pixel size", _metres(summary["grid"]["gsd"]), f"the model: {_metres(summary['model']['card']['gsd'])}"),
    ]


def fact_groups(summary: Summary) -> dict[str, dict[str, str]]:
    """All that the report says beside pictures and list: groups of facts by title, each text by name."""
    groups = {
        "Before": _image(summary["inputs"]["before"]),
        "After": _image(summary["inputs"]["after"]),
        "Model": _model(summary["model"]),
        "Run": _run(summary),
    }
    return {title: {name: shortened(text) for name, text in facts.items() if text} for title, facts in groups.items()}


def cover_facts(summary: Summary, middle: tuple[float, float] | None) -> dict[str, str]:
    """What stands on the printed cover: place and dates. `middle` is in degrees east and north."""
    dates = summary["options"]["dates"] or [summary["inputs"][date]["date"] for date in ("before", "after")]
    facts = {"Place": "not known"}
    if middle is not None and not any(map(math.isnan, middle)):
        lon, lat = map(float, middle)
        facts["Place"] = f"{abs(lat):.5f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.5f}° {'E' if lon >= 0 else 'W'}"
    for date, title, taken in zip(("before", "after"), ("Before", "After"), dates, strict=True):
        name = PurePath(summary["inputs"][date]["path"]).name
        facts[title] = shortened(f"{name}, {taken or 'date not stated'}")
    return facts


def area_text(square_metres: float | None, pixels: int) -> str:
    """An area as a reader wants it: m2, hectares or km2; in pixels where metres are not known."""
    if square_metres is None:
        return f"{pixels:,} px"
    if square_metres < 10:
        return f"{square_metres:.1f} m²"
    if square_metres < 10_000:
        return f"{square_metres:,.0f} m²"
    if square_metres < 1_000_000:
        return f"{square_metres / 10_000:,.2f} ha"
    return f"{square_metres / 1_000_000:,.2f} km²"


def shortened(text: str) -> str:
    """The text, cut where it is longer than a page can bear."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _image(info: Mapping[str, Any]) -> dict[str, str]:
    bands = ", ".join(map(str, info["bands"]))
    return {
        "file": PurePath(info["path"]).name,
        "size": f"{info['width']:,} x {info['height']:,} pixels, {info['dtype']}, bands {bands}",
        "CRS": info["crs"] or "none",
        "pixel size": _metres(info["gsd"]),
        "read": "unchanged" if info["resampling"] == "none" else f"resampled ({info['resampling']})",
        "contrast": _contrast(info["stretch"]),
        "histograms": "" if info["match"] is None else "matched to those of the before image",
        "usable": ", ".join(f"where {PurePath(name).name} allows it" for name in info["valid_masks"]),
    }


def _contrast(stretch: Mapping[str, Any] | None) -> str:
    if stretch is None:
        return ""
    if stretch["kind"] == "none":
        return "values used as 0 to 255"
    if stretch["kind"] == "percentiles":
        return "stretched to 8 bits, percentiles 1 to 99"
    pairs = zip(stretch["low"], stretch["high"], strict=True)
    return "stretched to 8 bits from " + ", ".join(dict.fromkeys(f"{low:g} to {high:g}" for low, high in pairs))


def _model(model: Mapping[str, Any]) -> dict[str, str]:
    card = model["card"]
    scores = "; ".join(f"{100 * score['f1']:.1f} on {data}" for data, score in card["scores"].items() if "f1" in score)
    return {
        "name": f"{card['name']}, {card['precision']}",
        "trained on": card["dataset"],
        "pixel size": _metres(card["gsd"]),
        "measured F1": scores,
        "tile": f"{card['tile']} pixels, halo {card['halo']}",
        "licence": card["license"],
        "sha256": model["sha256"][:16],
    }


def _run(summary: Summary) -> dict[str, str]:
    grid, options, tiles = summary["grid"], summary["options"], summary["tiles"]
    seconds, pace = summary["seconds"]["total"], summary["megapixels_per_second"]
    skipped = f", {tiles['skipped']:,} skipped" if tiles["skipped"] else ""
    resumed = f", {tiles['taken_over']:,} of them before the run was resumed" if tiles["taken_over"] else ""
    registration = summary["registration"]
    side = tiles.get("side", summary["model"]["card"]["tile"])  # runs of 0.1 say only that
    return {
        "device": summary["device"],
        "grid": f"that of the {options['grid']} image: {grid['width']:,} x {grid['height']:,} pixels, "
        f"{grid['crs'] or 'no CRS'}",
        "overlap": f"{_percent(summary['overlap'])} of the grid is covered by the other image",
        "area of interest": PurePath(options["clip"]).name if options["clip"] else "",
        "registration": "" if registration is None else registration["note"],
        "threshold": f"change where probability is greater than {options['threshold']:g}",
        "changes": _least(options["min_area"], summary),
        "outlines": _shaping(options, summary),
        "tiles": f"{tiles['run']:,} run{skipped}{resumed}, of {side} x {side} pixels, batch {options['batch_size']}",
        "time": f"{seconds:,.1f} s, {pace:,.2f} megapixels per second",
        "version": f"schanger-edge {summary['schanger_edge']}",
    }


def _least(min_area: float, summary: Summary) -> str:
    if not min_area:
        return ""
    small = summary["too_small"]["areas"]
    return f"of {min_area:,g} {_unit(summary, '²')} or more" + (f"; {small:,} smaller left out" if small else "")


def _shaping(options: Mapping[str, Any], summary: Summary) -> str:
    parts = []
    if options["simplify"]:
        parts.append(f"simplified by up to {options['simplify']:g} {_unit(summary)}")
    if options["fill_holes"]:
        parts.append(f"holes below {options['fill_holes']:,g} {_unit(summary, '²')} filled")
    return ", ".join(parts)


def _unit(summary: Summary, power: str = "") -> str:
    return "pixels" if summary["grid"]["crs"] is None else f"m{power}"


def _metres(gsd: float | None) -> str:
    return "unknown" if gsd is None else f"{gsd:.3g} m"


def _percent(share: float) -> str:
    """Never 0 % or 100 % for what is only nearly so."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9 %"
    if text == "0.0" and share > 0:
        return "< 0.1 %"
    return f"{text} %"
