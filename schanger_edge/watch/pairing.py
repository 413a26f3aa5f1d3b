"""Which earlier scene a new one is compared with: pure functions of dates, names and footprints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone

from schanger_edge.errors import SceneError, SchangerError
from schanger_edge.watch.ledger import Scene

_DATE = re.compile(
    r"(?<!\d)(?P<date>(?:19|20)\d\d([-_]?)(?:0[1-9]|1[0-2])\2(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T_-]?(?:[01]\d|2[0-3])[:-]?[0-5]\d(?:[:-]?[0-5]\d)?Z?)?)(?!\d)"
)


def named(stem: str, pattern: str | None = None) -> tuple[str, str | None]:
    """Place and date (ISO 8601) in a file's name without its suffix; the date is None where there is none.

    The pattern is a regular expression with a group `place` and maybe a group `date`, searched in the stem; None takes
    the first date such as 20240501, 2024-05-01 or 20240501T101500 for the date, and the rest for the place.
    SceneError where the pattern does not fit the name, or what it calls a date is none.
    """
    if pattern is None:
        found = _DATE.search(stem)
        if found is None:
            return stem, None
        rest = f"{stem[: found.start()]} {stem[found.end() :]}"
        return " ".join(part for part in re.split(r"[\s_.-]+", rest) if part), _as_time(found["date"])
    found = re.search(pattern, stem)
    if found is None or not found.groupdict().get("place"):
        raise SceneError(f"its name does not match the pattern {pattern}: rename it, or correct --name-pattern.")
    date = found.groupdict().get("date")
    return found["place"], _as_time(date) if date else None


def check_pattern(pattern: str) -> None:
    """Raise a SchangerError unless the pattern is a regular expression with a group `place`."""
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise SchangerError(
            f"--name-pattern {pattern!r} is not a valid regular expression ({error}): correct it."
        ) from None
    if "place" not in groups:
        raise SchangerError(f"--name-pattern needs a group (?P<place>...), and may have (?P<date>...): {pattern!r}.")


def _as_time(text: str) -> str:
    digits = re.sub(r"\D", "", text)
    forms = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    try:
        return datetime.strptime(digits, forms[len(digits)]).isoformat()
    except (KeyError, ValueError):
        raise SceneError(f"its name contains {text!r}, which is not a date: rename it.") from None


def time_of_change(mtime_ns: int) -> str:
    """A file's time of change in the form of `Scene.taken`."""
    return datetime.fromtimestamp(mtime_ns / 1e9, timezone.utc).replace(tzinfo=None).isoformat()


def same_place(one: Scene, other: Scene, share: float) -> bool:
    """Whether both names give one place, or footprints overlap by that share of the smaller one."""
    if one.polygon is None or other.polygon is None:
        return one.polygon is other.polygon and one.place == other.place
    common = _overlap(one, other)
    return common > 0 and common >= share


def _overlap(one: Scene, other: Scene) -> float:
    """Share of the smaller footprint that both have in common, 0-1."""
    smaller: float = min(one.polygon.area, other.polygon.area)
    return float(one.polygon.intersection(other.polygon).area) / smaller if smaller else 0.0


def best_overlap(scene: Scene, others: Iterable[Scene]) -> tuple[Scene, float] | None:
    """The earlier scene whose footprint overlaps most, and by what share; None where none does, or places are names."""
    older = [o for o in others if o.polygon is not None and scene.polygon is not None and _age(o)[0] < _age(scene)[0]]
    shares = ((other, _overlap(scene, other)) for other in older)
    return max((found for found in shares if found[1] > 0), key=lambda found: found[1], default=None)


def earlier_one(scene: Scene, others: Iterable[Scene], share: float) -> Scene | None:
    """The newest of the others that is older than the scene and shows the same place; None where there is none."""
    older = sorted((other for other in others if _age(other)[0] < _age(scene)[0]), key=_age, reverse=True)
    return next((other for other in older if same_place(scene, other, share)), None)


def superseded(scenes: Iterable[Scene], keep: int, share: float) -> list[Scene]:
    """Scenes of whose place there are at least `keep` newer ones."""
    newest_first = sorted(scenes, key=_age, reverse=True)
    return [
        scene
        for rank, scene in enumerate(newest_first)
        if rank >= keep and sum(same_place(scene, newer, share) for newer in newest_first[:rank]) >= keep
    ]


def _age(scene: Scene) -> tuple[str, int]:
    assert scene.taken is not None  # every good scene has a date
    return scene.taken, scene.id
