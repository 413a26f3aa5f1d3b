"""Blocks of figures on work in the field, like those of `figures_of_models.py`: nobody watching, and a first hour."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any

from figure_text import fixed, machines, paragraph, percent, result, table


def field() -> str:
    """What a watched folder, a list of pairs and another processor were put through, and what came of it."""
    rows = [
        [*_storm(), "`benchmarks/watch_storm.py`"],
        [*_killed_worker(), "`benchmarks/batch.py`"],
        [*_divided_scene(), "`benchmarks/batch.py`"],
        [*_overhead(), "`benchmarks/batch.py`"],
        [*_arm64(), "`jetson/emulated_arm64.sh`"],
    ]
    intro = f"With nobody watching, on {machines('watch_storm', 'batch')}:"
    return f"{paragraph(intro)}\n\n{table(['what', 'figure', 'method'], rows)}"


def _storm() -> tuple[str, str]:
    found = result("watch_storm")
    what = (
        f"`watch`: {found['files']} small files in bursts, {found['written_in_pieces']} written in pieces, "
        f"{found['copies']} copies, {found['bad']} damaged; SIGKILL {found['kills']} times, the disk full for "
        f"{fixed(found['full_disk_seconds'])} s"
    )
    wrong = sum(len(found[fault]) for fault in FAULTS)
    without_reason = len(found["bad_without_reason"])
    return what, (
        f"{found['pairs']} pairs published once each with the bytes of `run`, {wrong or 'none'} otherwise; "
        f"{without_reason or 'no'} damaged file without its reason"
    )


FAULTS = ("missing", "published_twice", "published_again", "differing_from_run", "unexpected")


def _killed_worker() -> tuple[str, str]:
    found = result("batch")["kill"]
    what = (
        f"`batch`: {found['pairs']} pairs, one of them damaged, over {found['workers']} workers, "
        f"{found['killed_workers']} of them killed midway"
    )
    reported = len(found["reported"])
    return what, f"{found['equal']} pairs equal to single runs, to the byte; {reported} reported with its reason"


def _divided_scene() -> tuple[str, str]:
    found = result("batch")["split"]
    what = (
        f"`batch --divide`: a scene of {fixed(found['megapixels'])} megapixels over {found['workers']} workers, "
        f"network {found['model'].removesuffix('.onnx')}"
    )
    differing = ", ".join(found["differing"]) or "nothing"
    faster, twice = fixed(found["seconds_whole"] / found["seconds_split"], 2), percent(found["computed_twice"])
    return what, f"{differing} differs from `run`; {faster} x as fast, {twice} % computed twice"


def _overhead() -> tuple[str, str]:
    found = result("batch")["overhead"]
    seconds = found["seconds"]
    what = (
        f"`batch` of {found['pairs']} pairs of {found['side']} x {found['side']} with the stand-in network, against a "
        "loop with a warm session"
    )
    shares = {way: fixed(seconds[way] / seconds["loop"], 2) for way in ("one_worker", "two_workers", "commands")}
    return what, (
        f"one worker {shares['one_worker']} x its time, two {shares['two_workers']} x; `run` commands "
        f"{shares['commands']} x"
    )


def _arm64() -> tuple[str, str]:
    found = result("arm64")
    what = (
        f"the wheel and all it needs installed on emulated 64-bit Arm, the demo with a pair of {found['side']} pixels"
    )
    return what, f"F1 {percent(found['f1'])}" if found["passed"] else f"failed at {found['failed_at']}"


def hour() -> str:
    """The commands of README and guides, in fresh environments."""
    found = result("first_hour")
    steps, side = found["steps"], found["side"]
    run = [step for step in steps if "skipped" not in step]
    skipped = Counter(step["skipped"] for step in steps if "skipped" in step)
    altered = sum("run" in step and not _installs(step) for step in run)
    failed = sum(step["exit_code"] != 0 for step in run)
    starts = " and ".join(f"`{name}` {fixed(seconds, 2)} s" for name, seconds in found["starts"].items())
    others = ", ".join(f"{why} ({count})" for why, count in skipped.items())
    busy = f" (busy: load {found['load'][0]} to {found['load'][1]})" if max(found["load"]) > BUSY else ""
    intro = f"""
        The commands of these pages as they stand there, one after the other in fresh environments, without torch but
        for the ML engineers (`benchmarks/first_hour.py`), with pairs of {side} x {side} pixels, on
        {machines("first_hour")}{busy}. {len(run)} of {len(steps)} were run, {altered} of them with fewer epochs or
        tiles or as the page words it for Debian, and {failed or "none"} failed. Why others were not run: {others}.
        Installing includes downloads. {starts}."""
    pages = dict.fromkeys(step["page"] for step in run)
    rows = [_page(page, [step for step in run if step["page"] == page]) for page in pages]
    head = ["page", "commands", "installing, s", "all others, s", "the longest of them"]
    return f"{paragraph(intro)}\n\n{table(head, rows)}"


def _page(page: str, steps: list[dict[str, Any]]) -> list[str]:
    others = [step for step in steps if not _installs(step)]
    seconds = [sum(step["seconds"] for step in some) for some in ([s for s in steps if _installs(s)], others)]
    longest = max(others, key=lambda step: step["seconds"])
    shown = textwrap.shorten(longest["command"], SHOWN, placeholder=" ...")
    times = [fixed(value) if value else "-" for value in seconds]
    return [f"`{page}`", str(len(steps)), *times, f"`{shown}`, {fixed(longest['seconds'])} s"]


def _installs(step: dict[str, Any]) -> bool:
    return "pip " in step["command"]


SHOWN = 60
"""Characters of a command."""
BUSY = 4.0
"""Load average above that of the commands alone."""
BLOCKS: dict[str, Callable[[], str]] = {"field": field, "hour": hour}
