"""What a watch knows: every scene and every pair, in an SQLite file that survives power cuts. All SQL is here."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePath
from typing import Any, TypeVar, get_type_hints

import shapely

from schanger_edge.errors import DiskFullError, ProductError
from schanger_edge.watch.inbox import Arrival

LEDGER = "watch.sqlite"
LOOKING, READY, QUARANTINED, DUPLICATE, EXPIRED = "looking", "ready", "quarantined", "duplicate", "expired"
"""States of a scene: being examined, good, bad, seen before under another name, deleted because of --keep."""
QUEUED, DONE, FAILED = "queued", "done", "failed"
"""States of a pair."""
NO_HOOK, HOOK_DUE, HOOK_RAN, HOOK_FAILED = "none", "due", "ran", "failed"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scenes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    state TEXT NOT NULL, reason TEXT, put_at TEXT,
    sha256 TEXT, taken TEXT, place TEXT, outline BLOB,
    starts INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, seen REAL NOT NULL,
    UNIQUE (name, size, mtime_ns)
);
CREATE INDEX IF NOT EXISTS scenes_by_content ON scenes (sha256);
CREATE INDEX IF NOT EXISTS scenes_by_state ON scenes (state);
CREATE TABLE IF NOT EXISTS pairs (
    after INTEGER PRIMARY KEY REFERENCES scenes, before INTEGER NOT NULL REFERENCES scenes,
    name TEXT NOT NULL UNIQUE, state TEXT NOT NULL, reason TEXT,
    starts INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    queued REAL NOT NULL, ended REAL, seconds REAL, pixels INTEGER, hook TEXT NOT NULL DEFAULT 'none', hook_reason TEXT
);
CREATE INDEX IF NOT EXISTS pairs_by_state ON pairs (state, queued);
CREATE TABLE IF NOT EXISTS service (key TEXT PRIMARY KEY, value TEXT);
"""
_LAST = datetime.max.replace(tzinfo=timezone.utc).timestamp() - 1
_KEYS = {"scenes": "id", "pairs": "after"}


@dataclasses.dataclass(frozen=True)
class Scene:
    """A row of `scenes`.

    Attributes:
        name: path below the inbox.
        put_at: its name in quarantine.
        sha256: of its content, including its world file and the like.
        taken: when it was taken: ISO 8601, UTC, without a zone, so that text sorts as time.
        place: by its name; None where places are known by footprint.
        outline: footprint in degrees, WKB.
        starts: how often examining it began and did not end.
        attempts: how often examining it failed for a reason that may pass.
        seen: when it was first seen, seconds of the epoch.
    """

    id: int
    name: str
    size: int
    mtime_ns: int
    state: str
    reason: str | None
    put_at: str | None
    sha256: str | None
    taken: str | None
    place: str | None
    outline: bytes | None
    starts: int
    attempts: int
    seen: float

    @functools.cached_property
    def polygon(self) -> Any:
        """The outline as a shapely geometry; None where places are known by name."""
        return self.outline and shapely.from_wkb(self.outline, on_invalid="ignore")

    def is_sound(self) -> bool:
        """Whether all values are such as a watch writes; a page that the disk has changed may hold any."""
        polygon, dated = self.outline is None or self.polygon is not None, self.state != READY or self.taken is not None
        return _typed(self) and polygon and dated and (self.put_at is None or _is_name(self.put_at))

    def is_in(self, listing: Mapping[str, Arrival]) -> bool:
        """Whether the file that was examined is still there."""
        arrival = listing.get(self.name)
        return arrival is not None and arrival.key == (self.name, self.size, self.mtime_ns)


@dataclasses.dataclass(frozen=True)
class Job:
    """A row of `pairs` with its scenes."""

    before: Scene
    after: Scene
    name: str
    state: str
    reason: str | None
    starts: int
    attempts: int
    queued: float
    ended: float | None
    seconds: float | None
    pixels: int | None
    hook: str
    hook_reason: str | None

    def is_sound(self) -> bool:
        """See `Scene.is_sound`; the name becomes that of a folder, which may be removed."""
        return _typed(self) and self.name.isprintable() and _is_name(self.name)


_Row = TypeVar("_Row", Scene, Job)
_TYPES: dict[Any, dict[str, Any]] = {kind: get_type_hints(kind) for kind in (Scene, Job)}  # takes 1 ms each


def _typed(row: Scene | Job) -> bool:
    return all(_is(getattr(row, name), kind) for name, kind in _TYPES[type(row)].items())


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (not isinstance(value, float) or math.isfinite(value))


def _is_name(text: str) -> bool:
    """Whether it names a file or folder right below another, and no other place."""
    return text == PurePath(text).name and text not in ("", "..")


def _sound(row: _Row) -> _Row:
    """The row, unless it is none of a watch's."""
    if not row.is_sound():
        raise sqlite3.DatabaseError(f"{type(row).__name__.lower()} {row.name!r:.60} holds what no watch writes")
    return row


class Ledger:
    """The SQLite file of an output folder. Every change is on the disk when its method returns.

    The folder exists; `read_only` is to look, while a watch may be running. Where there is no room for a change all
    methods raise a DiskFullError; where the file is missing, damaged, or cannot be written, a ProductError.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = Path(folder) / LEDGER
        with contextlib.ExitStack() as failed, self._errors():
            mode = "ro" if read_only else "rwc"
            self._db = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=10)
            failed.callback(self._db.close)
            self._db.row_factory = sqlite3.Row
            if not read_only:
                pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                self._db.executescript(f"{pragmas} BEGIN; {_SCHEMA} COMMIT;")
            self._run("SELECT count(*) FROM pairs")
            failed.pop_all()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def scenes(self, **columns: Any) -> list[Scene]:
        """Scenes with these values in these columns, in the order in which they came; a tuple lists alternatives."""
        with self._errors():
            return [_sound(Scene(**dict(row))) for row in self._select("scenes", columns, "id")]

    def scene_of(self, arrival: Arrival) -> Scene | None:
        """The row of a file that has not changed since; None for a new one."""
        name, size, mtime_ns = arrival.key
        return next(iter(self.scenes(name=name, size=size, mtime_ns=mtime_ns)), None)

    def unknown(self, arrivals: Iterable[Arrival]) -> list[Arrival]:
        """Those that have not been examined to the end."""
        known = {tuple(row) for row in self._run("SELECT name, size, mtime_ns FROM scenes WHERE state != ?", LOOKING)}
        return [arrival for arrival in arrivals if arrival.key not in known]

    def paired(self) -> set[int]:
        """Ids of scenes that have a partner."""
        return {row[0] for row in self._run("SELECT after FROM pairs")}

    def is_gone(self, scene: Scene, listing: Mapping[str, Arrival]) -> bool:
        """Whether a good scene is no longer in the inbox; one that is just being sent again is not gone."""
        arrival = listing.get(scene.name)
        if arrival is None or scene.is_in(listing):
            return arrival is None
        other = self.scene_of(arrival)
        return other is not None and other.state != LOOKING

    def begin(self, arrival: Arrival) -> Scene:
        """Record that a scene is about to be examined; its `starts` tells how often that has been."""
        self._run(
            "INSERT INTO scenes (name, size, mtime_ns, state, seen, starts) VALUES (?, ?, ?, ?, ?, 1) "
            "ON CONFLICT DO UPDATE SET starts = starts + 1, state = excluded.state",
            *(*arrival.key, LOOKING, time.time()),
        )
        scene = self.scene_of(arrival)
        assert scene is not None
        return scene

    def forget(self, scene: Scene) -> None:
        """A file that was being examined is gone, or has become another one."""
        self._run("DELETE FROM scenes WHERE id = ? AND state = ?", scene.id, LOOKING)

    def follow(self, scene: Scene, arrived: Scene) -> None:
        """A known scene has moved to where another row was being examined; if its pair had failed, that is undone."""
        with self._errors(), self._db:
            self._db.execute("DELETE FROM scenes WHERE id = ?", (arrived.id,))
            place = (arrived.name, arrived.size, arrived.mtime_ns, scene.id)
            self._db.execute("UPDATE scenes SET name = ?, size = ?, mtime_ns = ? WHERE id = ?", place)
            self._db.execute("DELETE FROM pairs WHERE after = ? AND state = ?", (scene.id, FAILED))

    def set(self, row: Scene | Job, **values: Any) -> None:
        """Set columns of a scene or a pair."""
        table, key = ("scenes", row.id) if isinstance(row, Scene) else ("pairs", row.after.id)
        columns = ", ".join(f"{name} = ?" for name in values)
        self._run(f"UPDATE {table} SET {columns} WHERE {_KEYS[table]} = ?", *values.values(), key)

    def jobs(self, **columns: Any) -> list[Job]:
        """Pairs with these values in these columns, oldest first; a tuple lists alternatives."""
        jobs = []
        for row in map(dict, self._select("pairs", columns, "queued, after")):
            dates = self.scenes(id=row.pop("before")), self.scenes(id=row.pop("after"))
            with self._errors():
                if not all(dates):
                    raise sqlite3.DatabaseError(f"pair {row['name']!r:.60} lacks a scene")
                jobs.append(_sound(Job(dates[0][0], dates[1][0], **row)))
        return jobs

    def queue(self, after: Scene, before: Scene, name: str) -> None:
        """A pair is to be run."""
        self._run(
            "INSERT INTO pairs (after, before, name, state, queued) VALUES (?, ?, ?, ?, ?)",
            *(after.id, before.id, name, QUEUED, time.time()),
        )

    def unqueue(self, job: Job) -> None:
        """A pair is not to be run: its after image waits for another partner."""
        self._run("DELETE FROM pairs WHERE after = ?", job.after.id)

    def note(self, state: str) -> None:
        """Record what the service does now, and when it said so."""
        values = ("state", state, "heard", repr(time.time()))
        self._run("INSERT OR REPLACE INTO service VALUES (?, ?), (?, ?)", *values)

    def notes(self) -> dict[str, str]:
        """`state`: what the service last said it does; `heard`: when, in seconds of the epoch."""
        found = {row[0]: row[1] for row in self._run("SELECT key, value FROM service", kinds=(str, str))}
        with self._errors():
            if not found.get("heard", "0.").replace(".", "", 1).isdecimal():
                raise sqlite3.DatabaseError(f"{found['heard']!r:.60} is no time")
        return found

    def counts(self) -> dict[str, int]:
        """Number of scenes and pairs in each state, and of scenes `waiting` for a partner."""
        counts = dict.fromkeys((LOOKING, READY, QUARANTINED, DUPLICATE, EXPIRED, QUEUED, DONE, FAILED), 0)
        for table in _KEYS:
            found = self._run(f"SELECT state, count(*) FROM {table} GROUP BY state", kinds=(str, int))
            counts |= {row[0]: row[1] for row in found}
        waiting = "SELECT count(*) FROM scenes WHERE state = ? AND id NOT IN (SELECT after FROM pairs)"
        return {**counts, "waiting": self._run(waiting, READY)[0][0]}

    def totals(self, since: float = 0.0) -> dict[str, float]:
        """Results, pixels and seconds of pairs that were published since then (seconds of the epoch)."""
        (row,) = self._run(
            "SELECT count(*) AS results, total(pixels) AS pixels, total(seconds) AS seconds, "
            "coalesce(max(ended), 0) AS last FROM pairs WHERE state = ? AND ended >= ?",
            *(DONE, since),
            kinds=(int, float, float, (int, float)),
        )
        return dict(row)

    def errors(self, limit: int) -> list[dict[str, str]]:
        """`when` (ISO 8601, UTC), `what` (scene or pair) and `reason` of what went wrong last, the latest first.

        Scenes that overlap their earlier ones too little are among them.
        """
        rows = self._run(
            "SELECT seen AS at, name, reason FROM scenes WHERE state IN (?, ?, ?) AND reason IS NOT NULL "
            "UNION ALL SELECT coalesce(ended, queued), name, coalesce(reason, hook_reason) FROM pairs "
            "WHERE reason IS NOT NULL OR hook = ? ORDER BY at DESC LIMIT ?",
            *(QUARANTINED, LOOKING, READY, HOOK_FAILED, limit),
            kinds=(float, str, str),
        )
        when = (datetime.fromtimestamp(min(max(row["at"], 0.0), _LAST), timezone.utc) for row in rows)
        dates = (at.isoformat(timespec="seconds") for at in when)
        return [{"when": date, "what": row[1], "reason": row[2]} for date, row in zip(dates, rows, strict=True)]

    def _select(self, table: str, columns: Mapping[str, Any], order: str) -> list[sqlite3.Row]:
        given = {name: value if isinstance(value, tuple) else (value,) for name, value in columns.items()}
        where = " AND ".join(f"{name} IN ({', '.join('?' * len(values))})" for name, values in given.items())
        values = (value for values in given.values() for value in values)
        return self._run(f"SELECT * FROM {table} WHERE {where or 1} ORDER BY {order}", *values)

    def _run(self, statement: str, *values: Any, kinds: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Rows, whose values are of these types where they are named."""
        with self._errors(), self._db:
            rows = self._db.execute(statement, values).fetchall()
            for row in rows if kinds else ():
                if not all(map(_is, row, kinds)):
                    raise sqlite3.DatabaseError(f"{tuple(row)!r:.60} is nothing that a watch writes")
            return rows

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            kind, words = ProductError, f"is damaged ({error}): move it away; existing results will be recognized"
            if "full" in str(error):
                kind, words = DiskFullError, f"cannot be written ({error}): free some space there"
            elif isinstance(error, sqlite3.OperationalError):
                words = f"cannot be used ({error}): check the folder and its disk"
            raise kind(f"{self.path} {words}.") from error
