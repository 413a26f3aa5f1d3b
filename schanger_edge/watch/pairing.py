"""Which earlier scene a new one is compared with: pure functions of dates, names and footprints."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from schanger_edge.errors import SchangerError

_DATE = re.compile(
    r"(?<!\d)(?P<date>(?:19|20)\d\d([-_]?)(?:0[1-9]|1[0-2])\2(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T_-]?(?:[01]\d|2[0-3])[:-]?[0-5]\d(?:[:-]?[0-5]\d)?Z?)?)(?!\d)"
)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What pairing knows of a scene.

    Attributes:
        id: in the ledger.
        taken: when it was taken; ISO 8601, UTC, without a zone, so that text sorts as time.
        place: what its name calls the place; None where places are known by footprint.
        outline: its footprint, a shapely geometry in degrees; None where places are known by name.
    """

    id: int
    taken: str
    place: str | None
    outline: Any | None


def named(stem: str, pattern: str | None = None) -> tuple[str, str | None]:
    """Place and date (ISO 8601) that a file's name tells; None for a date that is not there.

    Args:
        stem: the name without its suffix.
        pattern: regular expression with a group `place` and maybe a group `date`, searched in the stem; None takes the
            first date such as 20240501, 2024-05-01 or 20240501T101500 for the date, and the rest for the place.

    Raises:
        SchangerError: the pattern does not fit the name, or what it calls a date is none.
    """
    if pattern is None:
        found = _DATE.search(stem)
        if found is None:
            return stem, None
        rest = f"{stem[: found.start()]} {stem[found.end() :]}"
        return " ".join(part for part in re.split(r"[\s_.-]+", rest) if part), _as_time(found["date"])
    found = re.search(pattern, stem)
    if found is None or not found.groupdict().get("place"):
        raise SchangerError(f"its name does not fit the pattern {pattern}: rename it, or mend --name-pattern.")
    date = found.groupdict().get("date")
    return found["place"], _as_time(date) if date else None


def check_pattern(pattern: str) -> None:
    """Raise a SchangerError unless the pattern is a regular expression with a group `place`."""
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise SchangerError(f"--name-pattern {pattern!r} is no regular expression ({error}): mend it.") from None
    if "place" not in groups:
        raise SchangerError(f"--name-pattern needs a group (?P<place>...), and may have (?P<date>...): {pattern!r}.")


def _as_time(text: str) -> str:
    digits = re.sub(r"\D", "", text)
    forms = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    try:
        return datetime.strptime(digits, forms[len(digits)]).isoformat()
    except (KeyError, ValueError):
        raise SchangerError(f"its name has {text!r} for a date, which is none: rename it.") from None


def time_of_change(mtime_ns: int) -> str:
    """A file's time of change in the form of `Candidate.taken`."""
    return datetime.fromtimestamp(mtime_ns / 1e9, timezone.utc).replace(tzinfo=None).isoformat()


def same_place(one: Candidate, other: Candidate, share: float) -> bool:
    """Whether both bear the name of one place, or footprints overlap by that share of the smaller one."""
    if one.outline is None or other.outline is None:
        return one.outline is other.outline and one.place == other.place
    smaller = min(one.outline.area, other.outline.area)
    common: float = one.outline.intersection(other.outline).area
    return common > 0 and common >= share * smaller


def earlier_one(scene: Candidate, others: Iterable[Candidate], share: float) -> Candidate | None:
    """The newest of the others that is older than the scene and shows the same place; None where there is none."""
    older = sorted((other for other in others if other.taken < scene.taken), key=lambda other: (other.taken, other.id))
    return next((other for other in reversed(older) if same_place(scene, other, share)), None)


def superseded(scenes: Iterable[Candidate], keep: int, share: float) -> list[Candidate]:
    """Scenes of whose place there are at least `keep` newer ones."""
    newest_first = sorted(scenes, key=lambda scene: (scene.taken, scene.id), reverse=True)
    return [
        scene
        for rank, scene in enumerate(newest_first)
        if rank >= keep and sum(same_place(scene, newer, share) for newer in newest_first[:rank]) >= keep
    ]
