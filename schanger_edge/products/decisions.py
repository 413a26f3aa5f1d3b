"""What a reviewer decided of a run's changes, as the report saves it: decisions.json."""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from schanger_edge.errors import ReviewError

FORMAT = "schanger-edge decisions"
VERSION = 1
ACCEPT, REJECT, UNSURE = DECISIONS = ("accept", "reject", "unsure")


@dataclasses.dataclass(frozen=True)
class Decision:
    """What was decided of one change: `accept`, `reject` or `unsure`, and why; the note may be empty."""

    decision: str
    note: str


def read_decisions(path: Path, changes_sha256: str, changes: int) -> dict[int, Decision]:
    """The decisions in a file, by the id of the change; those not reviewed are not in it.

    Args:
        path: as the report saved it, or written by hand: `format`, `version`, `changes_sha256` of summary.json, and
            `decisions`, a list of `id`, `decision` and maybe `note`.
        changes_sha256: of the run that is reviewed.
        changes: how many it has; ids are 1 to this.

    Raises:
        ReviewError: the file cannot be read, is damaged, or belongs to another run.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ReviewError(f"{path} cannot be read ({error.strerror}): name the file that the report saved.") from error
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"{path} is damaged, it is no JSON: save the decisions again in the report.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ReviewError(f"{path} holds no decisions: name the file that the report saved.")
    if content.get("version") != VERSION:
        raise ReviewError(
            f"{path} has version {_shown(content.get('version'))} of its format, and this program reads {VERSION}: "
            "save the decisions again in the report of this version."
        )
    if content.get("changes_sha256") != changes_sha256:
        raise ReviewError(
            f"{path} holds decisions on another run's changes: name the result whose report they were made in."
        )
    entries = content.get("decisions")
    if not isinstance(entries, list):
        raise ReviewError(f"{path} is damaged, it has no list of decisions: save them again in the report.")
    return _by_id(path, entries, changes)


def counted(decisions: Mapping[int, Decision]) -> dict[str, int]:
    """How many of each kind."""
    return {kind: sum(one.decision == kind for one in decisions.values()) for kind in DECISIONS}


def _by_id(path: Path, entries: Iterable[Any], changes: int) -> dict[int, Decision]:
    found: dict[int, Decision] = {}
    for position, entry in enumerate(entries, 1):
        where = f"{path} is damaged, its decision {position}"
        if not isinstance(entry, dict):
            raise ReviewError(f"{where} is no object: save the decisions again in the report.")
        number, decision, note = entry.get("id"), entry.get("decision"), entry.get("note", "")
        if type(number) is not int or not 1 <= number <= changes:
            raise ReviewError(f"{where} has the id {_shown(number)}, and ids are 1 to {changes}: correct or remove it.")
        if number in found:
            raise ReviewError(f"{where} is a second one on change {number}: remove one of them.")
        if decision not in DECISIONS:
            raise ReviewError(f"{where} is {_shown(decision)}: write accept, reject or unsure.")
        if not isinstance(note, str) or {"Cc", "Cs"} & set(map(unicodedata.category, " ".join(note.split()))):
            raise ReviewError(f"{where} has a note that is no text: correct or remove it.")
        found[number] = Decision(decision, " ".join(note.split()))
    return found


def _shown(value: Any) -> str:
    return json.dumps(value)[:40]
