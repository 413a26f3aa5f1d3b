"""A scene that has arrived: which one it is, whether it is good, when and where it was taken."""

from __future__ import annotations

import hashlib
import os
import traceback
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from schanger_edge.errors import DiskFullError, ProductError, SceneError, SchangerError, StoppedError
from schanger_edge.geo.footprint import footprint
from schanger_edge.scene.checking import Probe, probe
from schanger_edge.watch.inbox import Arrival
from schanger_edge.watch.ledger import DUPLICATE, QUARANTINED, READY, Ledger, Scene
from schanger_edge.watch.pairing import named, time_of_change
from schanger_edge.watch.quarantine import Quarantine
from schanger_edge.watch.settings import Settings

ATTEMPTS = 3
"""Of what fails for a reason that may pass, such as a share that is away."""
STARTS = 10
"""Ends without a word (the process was killed, or crashed) after which it is not tried again."""
_CHUNK = 1 << 22


class Intake:
    """Takes arrivals into the ledger, or into quarantine.

    Args:
        alive: called again and again while a scene is looked at; may raise StoppedError.
        say: told in a sentence what became of a scene.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, quarantine: Quarantine,
        alive: Callable[[], None], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._settings, self._ledger, self._quarantine = settings, ledger, quarantine
        self._alive, self._say = alive, say

    def take(self, arrival: Arrival, listing: dict[str, Arrival]) -> bool:
        """Look at an arrival that has settled; False where it is to be tried again later.

        Args:
            arrival: the scene.
            listing: all scenes in the inbox by name.

        Raises:
            ProductError: quarantine or ledger cannot be written.
            StoppedError: the watch is to stop.
        """
        scene = self._ledger.begin_look(arrival)
        if scene.starts > STARTS:
            self.reject(scene, arrival, f"the process ended {STARTS} times while it looked at it: it may be malicious.")
            return True
        try:
            self._look(scene, arrival, listing)
        except StoppedError:
            self._ledger.set_scene(scene, starts=scene.starts - 1)
            raise
        except FileNotFoundError:
            self._ledger.forget(scene)
        except SceneError as error:
            if is_unchanged(arrival):
                self.reject(scene, arrival, str(error))
            else:
                self._ledger.forget(scene)
        except Exception as error:  # whatever a file does to a library, the next one is not to suffer
            if isinstance(error, SchangerError):
                raise
            if not isinstance(error, OSError):
                traceback.print_exc()
            return self._try_again(scene, arrival, error)
        return True

    def reject(self, scene: Scene, arrival: Arrival, reason: str) -> None:
        """Put a bad scene aside."""
        name = self._quarantine.free_name(arrival)
        self._ledger.set_scene(scene, state=QUARANTINED, reason=reason, put_at=name)
        self._say(f"quarantined {scene.name}: {reason}")
        self._put_aside(scene, arrival, name, reason)

    def reject_again(self, scene: Scene, arrival: Arrival) -> None:
        """Finish what a power cut or a full disk left half done."""
        if scene.put_at and scene.reason:
            self._put_aside(scene, arrival, scene.put_at, scene.reason)

    def _put_aside(self, scene: Scene, arrival: Arrival, name: str, reason: str) -> None:
        try:
            self._quarantine.put(arrival, name, reason)
        except DiskFullError:
            raise
        except ProductError as error:  # such as an inbox that may only be read
            self._say(f"{scene.name} stays where it is: {error}")

    def _try_again(self, scene: Scene, arrival: Arrival, error: Exception) -> bool:
        reason = f"{arrival.main.path} cannot be read ({error or type(error).__name__})"
        if scene.attempts + 1 >= ATTEMPTS:
            self.reject(scene, arrival, f"{reason}, tried {ATTEMPTS} times: get a fresh copy.")
            return True
        self._ledger.set_scene(scene, attempts=scene.attempts + 1, reason=reason, starts=0)
        self._say(f"{scene.name} will be tried again: {reason}.")
        return False

    def _look(self, scene: Scene, arrival: Arrival, listing: dict[str, Arrival]) -> None:
        sha256 = self._digest(arrival)
        twin = self._ledger.twin(sha256)
        moved = twin is not None and (twin.name == arrival.name or self._ledger.is_gone(twin, listing))
        if twin is not None and (twin.state != READY or not moved):
            reason = f"the same as {twin.name}"
            self._ledger.set_scene(scene, state=DUPLICATE, sha256=sha256, reason=reason, starts=0)
            self._say(f"{scene.name} is {reason}: left alone.")
            return
        if twin is not None:
            self._ledger.follow(twin, scene)
            self._say(f"{twin.name} is now {scene.name}.")
            return
        known = self._describe(arrival)
        if not is_unchanged(arrival):
            self._ledger.forget(scene)
            return
        self._ledger.set_scene(scene, state=READY, sha256=sha256, reason=None, starts=0, attempts=0, **known)

    def _describe(self, arrival: Arrival) -> dict[str, Any]:
        path = arrival.main.path
        if os.fsencode(path) != str(path).encode("utf-8", "replace"):
            raise SceneError(f"{arrival.name} has a name that is no text: rename it.")
        found = probe(str(path), **self._settings.reading, on_rows=self._alive)
        stem, changed = PurePosixPath(arrival.name).stem, time_of_change(arrival.main.mtime_ns)
        if self._settings.pair_by == "name":
            try:
                place, date = named(stem, self._settings.name_pattern)
            except SchangerError as error:
                raise SceneError(str(error)) from error
            return {"taken": date or found.date or changed, "place": place}
        return {"taken": found.date or _date_in(stem) or changed, "outline": _outline(found, arrival)}

    def _digest(self, arrival: Arrival) -> str:
        """SHA-256 of the image; where it has sidecars that tell, of the image followed by their endings and bytes."""
        digest = hashlib.sha256()
        for file in arrival.telling:
            if file is not arrival.main:
                ending = file.path.name[len(arrival.main.path.stem) :]
                digest.update(f"\0{ending}\0{file.size}\0".encode("utf-8", "replace"))
            with open(file.path, "rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    self._alive()
        return digest.hexdigest()


def is_unchanged(arrival: Arrival) -> bool:
    """Whether all files of a scene are what they were when they were listed."""
    try:
        stats = [os.stat(file.path) for file in arrival.files]
    except OSError:
        return False
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats] == [
        (file.size, file.mtime_ns) for file in arrival.files
    ]


def _date_in(stem: str) -> str | None:
    try:
        return named(stem)[1]
    except SchangerError:  # it looks like a date and is none
        return None


def _outline(found: Probe, arrival: Arrival) -> bytes:
    import shapely
    import shapely.geometry

    place = footprint(found.grid)
    if place is None:
        raise SceneError(
            f"{arrival.main.path} does not say where on Earth it lies: set its CRS with gdal_edit -a_srs, or give "
            "--pair-by name."
        )
    outline: bytes = shapely.to_wkb(shapely.geometry.shape(place.geometry))
    return outline
