"""Blocks of the pages about tile and halo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from figure_text import fixed, of_earlier_weights, paragraph, percent, result, table

WINDOW = 256
DEFAULT, SMALLER, PAIR = (512, 32), (256, 32), "joplin/pre_337-9136"
TILING_DATA = {"levir/val": "`levir/val`", "rendered": "rendered", "levir/train": "trained on"}


def tiling() -> str:
    """Tile and halo."""
    found = result("tiling")
    seams = {(seam["data"], seam["tile"], seam["halo"]): seam for seam in found["seams"]}
    names = {data: found["images"][data]["names"] for data in TILING_DATA}
    trained = " and ".join(f"`{name}`" for name in names["levir/train"])
    head = ["tile", "halo", "cost", "CPU s", *(f"F1, {words}" for words in TILING_DATA.values()), "per CPU s", "jumps"]
    rows = [_tiling_row(row, seams[("levir/val", row["tile"], row["halo"])]) for row in found["rows"]]
    intro = f"""Tiles overlap in `run`, which those of the official protocol don't, and are blended over half a halo on
        either side of the border between their cores. Cost is pixels through the network per pixel of a large scene,
        CPU s the seconds of inference per megapixel of it (`{found["device"]}`, at a load of
        {fixed(found["load"], 0)}). F1 is that of whole images, joined as in `run`: {len(names["levir/val"])} of
        `levir/val`, {len(names["rendered"])} rendered scenes, and {trained} of LEVIR-CD, on which the network was
        trained, so that only differences tell; in brackets the difference to the default in points, with bounds of
        90 % (quarters of images drawn anew). Per CPU s is F1 on `levir/val` over those seconds; jumps are the mean
        difference of probability between neighbours across the borders there, as a ratio to that elsewhere, and in
        brackets with cores kept (`benchmarks/tiling.py`).{of_earlier_weights(found["weights_sha256"])}"""
    return "\n\n".join((paragraph(intro), table(head, rows), paragraph(_choice(found, seams))))


def _tiling_row(row: Mapping[str, Any], seam: Mapping[str, Any]) -> list[str]:
    own = (row["tile"], row["halo"]) == DEFAULT
    return [
        str(row["tile"]),
        f"{row['halo']}{', the default' if own else ''}",
        fixed(row["network_pixels_per_pixel"], 2),
        fixed(row["cpu_seconds_per_megapixel"], 2),
        *(_f1(row["data"][name], own) for name in TILING_DATA),
        percent(row["data"]["levir/val"]["f1_per_cpu_second"]),
        f"{_jump(seam, 'blended')} ({_jump(seam, 'kept')})",
    ]


def _f1(found: Mapping[str, Any], default: bool = False) -> str:
    return percent(found["f1"]) + ("" if default else f" ({_bounds(found['against_default'])})")


def _bounds(values: Sequence[float]) -> str:
    """A difference and its bounds, in points."""
    change, low, high = (f"{100 * value:+.1f}" for value in values)
    return f"{change}, {low} to {high}"


def _jump(seam: Mapping[str, Any], way: str) -> str:
    return fixed(seam[f"{way}_mean"] / seam["elsewhere_mean"], 1)


def _choice(found: Mapping[str, Any], seams: Mapping[Any, Any]) -> str:
    own = seams[(PAIR, *DEFAULT)]
    p99 = {way: fixed(own[f"{way}_p99"], 2) for way in ("kept", "blended", "elsewhere")}
    protocol = percent(found["images"]["levir/val"]["protocol"]["f1"])
    cost = {(row["tile"], row["halo"]): row["cpu_seconds_per_megapixel"] for row in found["rows"]}
    grids = {(row["tile"], row["halo"]): row["data"]["levir/val"] for row in found["rows"]}
    again = "; ".join(
        f"{tile} with halo {halo} {_bounds(data['against_default_all_grids'])}"
        for (tile, halo), data in grids.items()
        if "by_grid" in data and (tile, halo) != DEFAULT
    )
    return f"""Tiles of {WINDOW} side by side, each on its own as in the published protocol, score {protocol} on
        `levir/val`. Blending takes the seams away: on a real pair without labels (Joplin) jumps across borders are
        {_jump(own, "blended")} times those elsewhere, with cores kept {_jump(own, "kept")} times, and their 99th
        percentile is {p99["blended"]} instead of {p99["kept"]} ({p99["elsewhere"]} elsewhere). Where borders fall is
        chance: cut {found["images"]["levir/val"]["grids"]} times, the borders elsewhere each time, the differences to
        the default on `levir/val` are together: {again}. On so few images such differences
        are small. The bundled model has its tile for what it calls change where nothing was built
        ([models](models.md)), and since it costs {percent(1 - cost[DEFAULT] / cost[SMALLER], 0)} % less than
        {SMALLER[0]} with halo {SMALLER[1]}."""


def pooling_window() -> str:
    """A mean over windows inside a larger tile."""
    words = {"whole": "the whole tile", "windows": f"windows of {WINDOW}", "centre": f"{WINDOW} in the middle"}
    rows = [
        [str(row["tile"]), str(row["halo"]), words[row["mean"]], _f1(row["data"]["levir/val"])]
        for row in result("pooling_window")["rows"]
    ]
    intro = f"""Squeeze-excite takes the mean of a whole tile, so a larger tile shows it other means than training did.
        Taken over windows of the training tile instead, their gates interpolated, with the same weights, in points
        against tile {SMALLER[0]} with halo {SMALLER[1]} (`benchmarks/pooling_window.py`):"""
    after = "Windows mend nothing that a larger tile loses, so an export has no such option."
    after += of_earlier_weights(result("pooling_window")["weights_sha256"])
    head = ["tile", "halo", "mean over", "F1, `levir/val`"]
    return "\n\n".join((paragraph(intro), table(head, rows), paragraph(after)))


BLOCKS: dict[str, Callable[[], str]] = {"tiling": tiling, "pooling-window": pooling_window}
