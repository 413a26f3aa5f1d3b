"""How it went with one pair, and the record by which a later batch knows that it is done."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.batch.pairs import ListedPair
from schanger_edge.errors import ProductError
from schanger_edge.files import PREFIX, read_json, replacing, sha256_of
from schanger_edge.products import SUMMARY
from schanger_edge.products.register import STANDARD_NAMES
from schanger_edge.run.options import Engine, RunOptions
from schanger_edge.scene.remote import is_plain, public_name

RECORD = f"{PREFIX}batch.json"
"""In the folder of each pair that is done."""
DONE, KEPT, FAILED = "done", "kept", "failed"
"""Run now; done by an earlier batch and left alone; given up."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A row of the results table.

    Attributes:
        id: of the pair.
        status: `done`, `kept` (by an earlier batch, nothing has changed since) or `failed`.
        reason: why it failed, in a sentence; or why it was run again.
        before: image of the first date, without what gives access to a URL.
        after: image of the second date.
        crs: of the products; None for plain images.
        valid_m2: area with data in both dates; None without a CRS.
        changed_m2: of this, area called change.
        changed_share: share of the valid pixels called change.
        polygons: their number.
        warnings: what makes the result doubtful.
        seconds: of work, of all workers that had a part in it.
        worker: who finished it.
    """

    id: str
    status: str
    reason: str | None
    before: str
    after: str
    crs: str | None = None
    valid_m2: float | None = None
    changed_m2: float | None = None
    changed_share: float | None = None
    polygons: int | None = None
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    worker: str | None = None


def succeeded(pair: ListedPair, summary: Mapping[str, Any], *, seconds: float, worker: str) -> Outcome:
    """Of a pair that was run, by its summary.json."""
    return dataclasses.replace(
        failed(pair, ""),
        status=DONE,
        reason=None,
        crs=summary["grid"]["crs"],
        valid_m2=summary["area_m2"]["valid"],
        changed_m2=summary["area_m2"]["changed"],
        changed_share=summary["changed_share_of_valid"],
        polygons=summary["polygons"],
        warnings=tuple(summary["warnings"]),
        seconds=round(seconds, 3),
        worker=worker,
    )


def failed(pair: ListedPair, reason: str) -> Outcome:
    """Of a pair that was given up."""
    return Outcome(pair.id, FAILED, reason, public_name(pair.before), public_name(pair.after))


def identity(pair: ListedPair, model: str, options: RunOptions) -> dict[str, Any]:
    """What decides about the results of a pair, as JSON would give it back.

    Its files count with size and time, the model with the SHA-256 of its file, options plain.
    """
    files = {name: _stamp(path) for name, path in pair.files.items()}
    engine = {one.name for one in Engine.described()} - {"batch_size"}  # of which the model's hash counts
    decides = {name: value for name, value in options.as_json().items() if name not in engine}
    own = {"version": __version__, "model": model, **decides, **files}
    content: dict[str, Any] = json.loads(json.dumps(own))
    return content


def write_record(folder: Path, known_by: Mapping[str, Any], outcome: Outcome) -> None:
    """Say in the folder of a pair that its results are complete."""
    with replacing(folder / RECORD, ProductError) as path:
        summary = sha256_of(folder / SUMMARY)
        content = {"identity": dict(known_by), "outcome": dataclasses.asdict(outcome), "summary": summary}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_record(folder: Path, known_by: Mapping[str, Any]) -> tuple[Outcome | None, str | None]:
    """What an earlier batch left of a pair.

    Returns:
        (its outcome where all products are there and nothing has changed since, otherwise in words what has changed).
    """
    content = read_json(folder / RECORD)
    try:
        was, outcome, summary = content["identity"], Outcome(**content["outcome"]), content["summary"]
    except (KeyError, TypeError):
        version = read_json(folder / SUMMARY).get("schanger_edge")
        found = None if version is None else f"run again: no batch has recorded the results there, of version {version}"
        return None, found
    if was.get("version") != __version__:  # its files may be others, and so may its maps
        return None, f"run again: the results are of version {was.get('version')}, this is {__version__}"
    lost = [name for name in STANDARD_NAMES if not (folder / name).is_file()]
    if lost:
        return None, f"run again: missing {', '.join(lost)}"
    if summary != sha256_of(folder / SUMMARY):  # it tells when they were made
        return None, "run again: the results are from another run"
    differing = [name for name in dict.fromkeys([*was, *known_by]) if _text(was.get(name)) != _text(known_by.get(name))]
    if differing:
        return None, f"run again: {', '.join(differing)} differed from last time"
    return dataclasses.replace(outcome, status=KEPT, warnings=tuple(outcome.warnings)), None


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # NaN, which may be a nodata value, is not equal to itself


def _stamp(path: str) -> list[Any]:
    if not is_plain(path):
        return [public_name(path)]
    stat = os.stat(path)
    return [os.path.realpath(path), stat.st_size, stat.st_mtime_ns]
