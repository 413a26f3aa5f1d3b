"""What a watch knows: every scene and every pair, in an SQLite file that outlives power cuts."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from schanger_edge.errors import DiskFullError, ProductError
from schanger_edge.watch.inbox import Arrival, File

LEDGER = "watch.sqlite"
LOOKING, READY, QUARANTINED, DUPLICATE, EXPIRED = "looking", "ready", "quarantined", "duplicate", "expired"
"""States of a scene: being looked at, good, bad, seen before under another name, deleted because of --keep."""
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


@dataclasses.dataclass(frozen=True)
class Scene:
    """A row of `scenes`.

    Attributes:
        name: path below the inbox.
        put_at: what it is called in the quarantine.
        sha256: of its content, its world file and the like included.
        taken: when it was taken, ISO 8601, UTC.
        place: by its name; None where places are known by footprint.
        outline: footprint in degrees, WKB.
        starts: how often looking at it was begun and did not end.
        attempts: how often looking at it failed for what may pass.
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

    def is_in(self, listing: dict[str, Arrival]) -> bool:
        """Whether the file that was looked at is still there."""
        arrival = listing.get(self.name)
        return arrival is not None and _key(self.name, arrival.main) == (self.name, self.size, self.mtime_ns)


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


class Ledger:
    """The SQLite file of an output folder. Every change is on the disk when its method returns.

    Args:
        folder: the output folder, which exists.
        read_only: for those who only look, while a watch may be running.

    Raises:
        DiskFullError: there is no room for a change.
        ProductError: the file is not there, is damaged, or cannot be written. So do all methods.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = Path(folder) / LEDGER
        with self._errors():
            if read_only:
                self._db = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
            else:
                self._db = sqlite3.connect(self.path, timeout=10)
            self._db.row_factory = sqlite3.Row
        try:
            with self._errors():
                if not read_only:
                    pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                    self._db.executescript(f"{pragmas} BEGIN; {_SCHEMA} COMMIT;")
                self._db.execute("SELECT count(*) FROM pairs").fetchone()
        except BaseException:
            self._db.close()
            raise

    def scene_of(self, arrival: Arrival) -> Scene | None:
        """The row of a file that has not changed since; None for a new one."""
        key = _key(arrival.name, arrival.main)
        found = self._scenes("WHERE name = ? AND size = ? AND mtime_ns = ?", key)
        return found[0] if found else None

    def unknown(self, arrivals: Iterable[Arrival]) -> list[Arrival]:
        """Those that have not been looked at to the end."""
        with self._errors():
            rows = self._db.execute("SELECT name, size, mtime_ns FROM scenes WHERE state != ?", (LOOKING,)).fetchall()
        known = {tuple(row) for row in rows}
        return [arrival for arrival in arrivals if _key(arrival.name, arrival.main) not in known]

    def twin(self, sha256: str) -> Scene | None:
        """A scene of the same content that was good."""
        found = self._scenes("WHERE sha256 = ? AND state IN (?, ?)", (sha256, READY, EXPIRED))
        return found[0] if found else None

    def is_gone(self, scene: Scene, listing: dict[str, Arrival]) -> bool:
        """Whether a good scene is no longer in the inbox; one that is just being sent again is not gone."""
        arrival = listing.get(scene.name)
        if arrival is None or scene.is_in(listing):
            return arrival is None
        other = self.scene_of(arrival)
        return other is not None and other.state != LOOKING

    def scenes(self, *states: str) -> list[Scene]:
        """All scenes in these states."""
        return self._scenes(f"WHERE state IN ({', '.join('?' * len(states))})", states)

    def begin_look(self, arrival: Arrival) -> Scene:
        """Looking at a scene begins; `starts` tells how often it has."""
        key = _key(arrival.name, arrival.main)
        self._change(
            "INSERT INTO scenes (name, size, mtime_ns, state, seen, starts) VALUES (?, ?, ?, ?, ?, 1) "
            "ON CONFLICT DO UPDATE SET starts = starts + 1, state = excluded.state",
            (*key, LOOKING, time.time()),
        )
        scene = self.scene_of(arrival)
        assert scene is not None
        return scene

    def forget(self, scene: Scene) -> None:
        """A file that was looked at is gone, or has become another one."""
        self._change("DELETE FROM scenes WHERE id = ? AND state = ?", (scene.id, LOOKING))

    def follow(self, scene: Scene, looked_at: Scene) -> None:
        """A known scene has moved to where another row was being looked at; if its pair had failed, that is undone."""
        with self._errors(), self._db:
            self._db.execute("DELETE FROM scenes WHERE id = ?", (looked_at.id,))
            place = (looked_at.name, looked_at.size, looked_at.mtime_ns, scene.id)
            self._db.execute("UPDATE scenes SET name = ?, size = ?, mtime_ns = ? WHERE id = ?", place)
            self._db.execute("DELETE FROM pairs WHERE after = ? AND state = ?", (scene.id, FAILED))

    def set_scene(self, scene: Scene, **values: Any) -> None:
        """Set columns of a scene."""
        self._set("scenes", "id", scene.id, values)

    def unpaired(self) -> list[Scene]:
        """Good scenes that have had no partner yet."""
        return self._scenes("WHERE state = ? AND id NOT IN (SELECT after FROM pairs)", (READY,))

    def name_of(self, after: Scene) -> str | None:
        """What the pair of a scene is called."""
        with self._errors():
            row = self._db.execute("SELECT name FROM pairs WHERE after = ?", (after.id,)).fetchone()
        return None if row is None else str(row["name"])

    def has_name(self, name: str) -> bool:
        """Whether a pair is called so."""
        with self._errors():
            return self._db.execute("SELECT 1 FROM pairs WHERE name = ?", (name,)).fetchone() is not None

    def queue(self, after: Scene, before: Scene, name: str) -> None:
        """A pair is to be run."""
        self._change(
            "INSERT INTO pairs (after, before, name, state, queued) VALUES (?, ?, ?, ?, ?)",
            (after.id, before.id, name, QUEUED, time.time()),
        )

    def unqueue(self, job: Job) -> None:
        """A pair is not to be run: its after image waits for another partner."""
        self._change("DELETE FROM pairs WHERE after = ?", (job.after.id,))

    def jobs(self, where: str = "", values: Iterable[Any] = ()) -> list[Job]:
        """Pairs that meet an SQL condition on table `pairs`, oldest first."""
        with self._errors():
            rows = self._db.execute(f"SELECT * FROM pairs {where}", tuple(values)).fetchall()
        rows.sort(key=lambda row: row["queued"])
        ids = {row[column] for row in rows for column in ("after", "before")}
        scenes = {scene.id: scene for scene in self._by_id(ids)}
        plain = [name for name in rows[0].keys() if name not in ("after", "before")] if rows else []  # noqa: SIM118
        return [Job(scenes[row["before"]], scenes[row["after"]], **{name: row[name] for name in plain}) for row in rows]

    def queued(self) -> list[Job]:
        """Pairs that are to be run, oldest first."""
        return self.jobs("WHERE state = ?", (QUEUED,))

    def set_job(self, job: Job, **values: Any) -> None:
        """Set columns of a pair."""
        self._set("pairs", "after", job.after.id, values)

    def note(self, **values: str | None) -> None:
        """What the service says of itself, and when."""
        rows = [*values.items(), ("heard", repr(time.time()))]
        with self._errors(), self._db:
            self._db.executemany("INSERT OR REPLACE INTO service VALUES (?, ?)", rows)

    def notes(self) -> dict[str, str]:
        """What the service last said of itself; `heard` is when, in seconds of the epoch."""
        with self._errors():
            return {row["key"]: row["value"] for row in self._db.execute("SELECT key, value FROM service")}

    def counts(self) -> dict[str, int]:
        """Number of scenes and pairs in each state, and of those `waiting` for a partner."""
        counts = dict.fromkeys((LOOKING, READY, QUARANTINED, DUPLICATE, EXPIRED, QUEUED, DONE, FAILED), 0)
        with self._errors():
            for table in ("scenes", "pairs"):
                counts |= dict(self._db.execute(f"SELECT state, count(*) FROM {table} GROUP BY state").fetchall())
        return {**counts, "waiting": len(self.unpaired())}

    def totals(self, since: float = 0.0) -> dict[str, float]:
        """Results, pixels and seconds of pairs that were published since then (seconds of the epoch)."""
        with self._errors():
            row = self._db.execute(
                "SELECT count(*) AS results, total(pixels) AS pixels, total(seconds) AS seconds, "
                "coalesce(max(ended), 0) AS last FROM pairs WHERE state = ? AND ended >= ?",
                (DONE, since),
            ).fetchone()
        return dict(row)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _by_id(self, ids: set[int]) -> list[Scene]:
        return [scene for number in ids for scene in self._scenes("WHERE id = ?", (number,))]

    def _scenes(self, where: str, values: Iterable[Any]) -> list[Scene]:
        with self._errors():
            rows = self._db.execute(f"SELECT * FROM scenes {where} ORDER BY id", tuple(values)).fetchall()
        return [Scene(**dict(row)) for row in rows]

    def _set(self, table: str, key: str, number: int, values: dict[str, Any]) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        self._change(f"UPDATE {table} SET {columns} WHERE {key} = ?", (*values.values(), number))

    def _change(self, statement: str, values: Iterable[Any]) -> None:
        with self._errors(), self._db:
            self._db.execute(statement, tuple(values))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if "full" in str(error):
                raise DiskFullError(f"{self.path} cannot be written ({error}): free some space there.") from error
            if isinstance(error, sqlite3.OperationalError):
                raise ProductError(f"{self.path} cannot be used ({error}): check the folder and its disk.") from error
            raise ProductError(
                f"{self.path} is damaged ({error}): move it away; results that are there will be recognized."
            ) from error


def _key(name: str, file: File) -> tuple[str, int, int]:
    return name, file.size, file.mtime_ns
