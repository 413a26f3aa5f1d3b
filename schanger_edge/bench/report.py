"""bench.json, and what is made from it alone: bench.md, bench.html, pareto.png.

A file that cannot be written, or is no bench.json, is a ProductError.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schanger_edge.bench.pareto import draw_pareto
from schanger_edge.bench.tables import Table, tables
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
    found = [folder / BENCH, folder / MARKDOWN, folder / PAGE]
    picture, note = None, draw_pareto(folder / PARETO, document)
    if note:
        document["doubts"].append(note)
    elif (folder / PARETO).exists():
        picture = (folder / PARETO).read_bytes()
        found.append(folder / PARETO)
    page, text = html(document, picture), markdown(document, picture is not None)
    for path, content in zip(
        (folder / PAGE, folder / MARKDOWN, folder / BENCH), (page, text, to_json(document) + "\n"), strict=True
    ):
        with replacing(path, ProductError) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return found


def markdown(document: Mapping[str, Any], has_picture: bool) -> str:
    """The whole of it as Markdown."""
    lines = [f"# {title(document)}", "", subtitle(document), ""]
    lines += _list("Findings", document["advice"])
    lines += _list("Doubts", document["doubts"] or ["none."])
    if has_picture:
        lines += [f"![Latency against F1]({PARETO})", ""]
    for table in tables(document):
        lines += _markdown_table(table)
    lines += _list("Conditions", condition_lines(document))
    lines += _list("Versions", [f"{name}: {words}" for name, words in document["machine"]["facts"].items()])
    lines += _list("Method", document["method"])
    return "\n".join(lines)


def html(document: Mapping[str, Any], picture: bytes | None) -> str:
    """The page, with the picture inside."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("schanger_edge.bench", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    encoded = None if picture is None else base64.b64encode(picture).decode("ascii")
    content = {key: document[key] for key in ("advice", "doubts", "method")}
    content |= {"title": title(document), "subtitle": subtitle(document), "tables": tables(document)}
    content |= {"conditions": condition_lines(document), "facts": document["machine"]["facts"], "picture": encoded}
    return environment.get_template("bench.html.j2").render(content, version=document["schanger_edge"])


def title(document: Mapping[str, Any]) -> str:
    """One line."""
    return f"Benchmark on {'; '.join(dict.fromkeys(document['machine']['devices'].values()))}"


def subtitle(document: Mapping[str, Any]) -> str:
    """When, with what options."""
    options = document["options"]
    return (
        f"schanger-edge {document['schanger_edge']}, ended {_clock(document['ended'])}; device "
        f"{', '.join(options['devices'])}; {options['rounds']} rounds, at least {options['repetitions']} timed calls "
        "of each case."
    )


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
    for name, clock in (("CPU clock", state["cpu_mhz"]), ("GPU clock", state["gpu_mhz"])):
        if clock is not None:
            words[name] = f"{clock:.0f} MHz"
    words |= {"temperature": heat or None, "load": None if state["load"] is None else f"{state['load']:g}"}
    unknown = [name for name, value in words.items() if value is None]
    known = [f"{name} {value}" for name, value in words.items() if value is not None]
    return ", ".join(known) + (f"; not readable: {', '.join(unknown)}" if unknown else "")


def _list(heading: str, sentences: list[str]) -> list[str]:
    return [f"## {heading}", "", *(f"- {_plain(text)}" for text in sentences), ""] if sentences else []


def _markdown_table(table: Table) -> list[str]:
    rows = [table.head, ("---",) * len(table.head), *table.rows]
    lines = ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]
    return [f"## {table.title}", "", *lines, "", *([_plain(table.note), ""] if table.note else [])]


def _plain(text: str) -> str:
    """Names of files may contain marks of Markdown."""
    for mark in ("\\", "|", "<", "*", "`", "["):
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")
