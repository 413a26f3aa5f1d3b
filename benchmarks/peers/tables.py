"""How results are told: tables in Markdown; needs the standard library alone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


def told(fact: Mapping[str, Any] | None) -> str:
    """One behaviour in words."""
    if fact is None:
        return "takes one image"
    if "refused" in fact:
        return textwrap.shorten(f"refused: {fact['refused']}", 130, placeholder=" ...")
    if "hole_nodata" in fact:
        parts = [(fact[f"hole_{word.replace(' ', '_')}"], word) for word in ("nodata", "change", "no change")]
        hole = ", ".join(f"{percent(share)} {word}" for share, word in parts if share)
        return f"hole: {hole}; {percent(fact['rest_nodata'])} of the rest reads as nodata"
    words = f"{percent(fact['differ'])} differ"
    if fact["changed"] != fact["changed_reference"] and fact["changed"] in (0, 1):
        words += f" ({'nothing' if fact['changed'] == 0 else 'everything'} is change, exit code 0)"
    return words


def percent(share: float) -> str:
    """Two digits behind the point, but never 0 or 100 for what is neither."""
    if 0 < share < 0.0001:
        return "< 0.01 %"
    if 0.9999 < share < 1:
        return "> 99.99 %"
    return f"{100 * share:.2f} %" if share % 1 else f"{100 * share:.0f} %"


def cost_table(result: Mapping[str, Any]) -> str:
    """Markdown: what each tool costs on the large scene, medians with their range."""
    heads = ["tool", "dates", "writes", "CPU s", "of it start-up", "against the bare loop", "wall s", "peak MB"]
    heads += ["at half the side", "pixels that differ from one pass"]
    rows = [_row(heads), _row(["---"] * len(heads), "")]
    floors = {tool["dates"]: _work(tool) for tool in reversed(result["tools"].values())}  # the first of its kind
    for name, tool in result["tools"].items():
        cost = tool["cost"]
        cells = [name, str(tool["dates"]), tool["writes"], _range(cost["cpu"]), f"{cost['start_cpu']['median']:.1f}"]
        cells += [f"{_work(tool) / floors[tool['dates']]:.2f} x", _range(cost["wall"])]
        cells += [f"{cost['peak_mb']['median']:.0f}", f"{tool['peak_mb_at_half_the_side']:.0f}"]
        rows.append(_row([*cells, percent(tool["differ_from_one_pass"])]))
    return "\n".join(rows)


def behaviour_table(result: Mapping[str, Any]) -> str:
    """Markdown: what each tool makes of one pass, two dates, 16 bits, two CRSs and nodata; what is not installed."""
    tools = {name: tool["behaviour"] for name, tool in result["tools"].items() if "behaviour" in tool}
    cases = dict.fromkeys(case for behaviour in reversed(tools.values()) for case in behaviour)  # two dates first
    rows = [_row(["", *tools]), _row(["---"] * (len(tools) + 1), "")]
    for case in cases:
        words = [told(behaviour[case]) if case in behaviour else "-" for behaviour in tools.values()]
        rows.append(_row([case, *words]))
    rows += [f"\nNot installed: {name} ({reason})" for name, reason in result["not_installed"].items()]
    return "\n".join(rows)


def _row(cells: Sequence[str], space: str = " ") -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return "|" + "|".join(f"{space}{cell}{space}" for cell in escaped) + "|"


def _work(tool: Mapping[str, Any]) -> float:
    """CPU seconds after the imports."""
    return float(tool["cost"]["cpu"]["median"] - tool["cost"]["start_cpu"]["median"])


def _range(figure: Mapping[str, float]) -> str:
    return f"{figure['median']:.1f} ({figure['least']:.1f} to {figure['most']:.1f})"
