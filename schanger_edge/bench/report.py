"""bench.json, and what is made from it alone: bench.md, bench.html, pareto.png.

A file that cannot be written, or is no bench.json, is a ProductError.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schanger_edge.bench.pareto import draw_pareto
from schanger_edge.bench.tables import tables
from schanger_edge.errors import ProductError
from schanger_edge.files import read_json, replacing, to_json

BENCH, MARKDOWN, PAGE, PARETO = "bench.json", "bench.md", "bench.html", "pareto.png"
FORMAT = 1


def check_folder(folder: Path) -> None:
    """Before the work: raise ProductError where the folder cannot be made or written."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ProductError(f"{folder} cannot be written: choose another folder with -o.")


def read_document(path: Path) -> dict[str, Any]:
    """An earlier bench.json; the others that it shows are left out."""
    document = read_json(path)
    if document.get("format") != FORMAT:
        raise ProductError(f"{path} is not a bench.json of this version: use one that `schanger-edge bench` wrote.")
    return {key: value for key, value in document.items() if key != "others"}


def write_results(folder: Path, document: dict[str, Any]) -> list[Path]:
    """Write the four files; a plot only where F1 was measured. A plot that fails is one of the doubts.

    Returns:
        Their paths.
    """
    plot = folder / PARETO
    note = draw_pareto(plot, document)
    if note:
        document["doubts"].append(note)
    picture = plot.read_bytes() if not note and plot.exists() else None
    texts = {
        folder / PAGE: html(document, picture),
        folder / MARKDOWN: markdown(document, picture is not None),
        folder / BENCH: to_json(document) + "\n",
    }
    for path, content in texts.items():
        with replacing(path, ProductError) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return [*texts, *[plot] * (picture is not None)]


def markdown(document: Mapping[str, Any], has_picture: bool) -> str:
    """The whole of it as Markdown."""
    return _filled("bench.md.j2", document, PARETO if has_picture else None)


def html(document: Mapping[str, Any], picture: bytes | None) -> str:
    """The page, with the picture inside."""
    return _filled("bench.html.j2", document, None if picture is None else base64.b64encode(picture).decode("ascii"))


def _filled(template: str, document: Mapping[str, Any], picture: str | None) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    loader, escape = PackageLoader("schanger_edge.bench", "templates"), select_autoescape(("html.j2",))
    environment = Environment(loader=loader, autoescape=escape, undefined=StrictUndefined)
    environment.filters["plain"] = _plain
    options, machine = document["options"], document["machine"]
    content = {key: document[key] for key in ("advice", "doubts", "method")}
    content |= {"version": document["schanger_edge"], "facts": machine["facts"], "picture": picture}
    content |= {"tables": tables(document), "conditions": condition_lines(document)}
    content["title"] = f"Benchmark on {'; '.join(dict.fromkeys(machine['devices'].values()))}"
    content["subtitle"] = (
        f"schanger-edge {document['schanger_edge']}, ended {_clock(document['ended'])}; device "
        f"{', '.join(options['devices'])}; {options['rounds']} rounds, at least {options['repetitions']} timed calls "
        "of each case."
    )
    return environment.get_template(template).render(content)


def condition_lines(document: Mapping[str, Any]) -> list[str]:
    """Power mode, clocks, temperatures and load, before and after."""
    lines = []
    for sitting in document["conditions"]:
        for when, time in (("before", sitting["began"]), ("after", sitting["ended"])):
            lines.append(f"{when} ({_clock(time)}): {_state(sitting[when])}")
        lines += [f"idle power, {covers}: {watts:.2f} W" for covers, watts in sitting["idle_watts"].items()]
    return lines


def _clock(time: str) -> str:
    """`2020-01-02 03:04:05 UTC`."""
    return time.replace("T", " ").replace("+00:00", " UTC")


def _state(state: Mapping[str, Any]) -> str:
    heat = ", ".join(f"{zone} {celsius:.0f} C" for zone, celsius in state["celsius"].items())
    words = {"power mode": state["power_mode"], "governor": state["governor"]}
    clocks = {"CPU clock": state["cpu_mhz"], "GPU clock": state["gpu_mhz"]}
    words |= {name: f"{clock:.0f} MHz" for name, clock in clocks.items() if clock is not None}
    words |= {"temperature": heat or None, "load": None if state["load"] is None else f"{state['load']:g}"}
    unknown = [name for name, value in words.items() if value is None]
    known = [f"{name} {value}" for name, value in words.items() if value is not None]
    return ", ".join(known) + (f"; not readable: {', '.join(unknown)}" if unknown else "")


def _plain(text: str) -> str:
    """Names of files may contain marks of Markdown."""
    return re.sub(r"([\\|<*`\[])", r"\\\1", text).replace("\n", " ")
