"""Takes in a scene that has arrived: which one it is, whether it is good, when and where it was taken."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import traceback
from pathlib import PurePosixPath
from typing import Any

import shapely
import shapely.geometry

from schanger_edge.errors import SceneError, SchangerError, StoppedError
from schanger_edge.geo.footprint import footprint
from schanger_edge.scene.checking import probe
from schanger_edge.watch.inbox import LATEST, Arrival
from schanger_edge.watch.ledger import DUPLICATE, EXPIRED, QUARANTINED, READY, Scene
from schanger_edge.watch.pairing import named, time_of_change
from schanger_edge.watch.station import ATTEMPTS, STARTS, Station

_CHUNK = 1 << 22


class Intake:
    """Takes arrivals into the ledger, or into quarantine."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._settings, self._ledger, self._output = station.settings, station.ledger, station.output

    def take(self, arrival: Arrival, listing: dict[str, Arrival]) -> None:
        """Examine an arrival that has settled, or try it again later.

        The listing has all scenes in the inbox by name. ProductError where quarantine or ledger cannot be written,
        StoppedError where the watch is to stop.
        """
        scene = self._ledger.begin(arrival)
        if scene.starts > STARTS:
            self.reject(scene, arrival, f"the process died {STARTS} times while examining it: it may be malicious.")
            return
        try:
            self._examine(scene, arrival, listing)
        except StoppedError:
            self._ledger.set(scene, starts=scene.starts - 1)
            raise
        except (FileNotFoundError, SceneError) as error:
            if isinstance(error, SceneError) and arrival.is_unchanged():
                self.reject(scene, arrival, str(error))
            else:
                self._ledger.forget(scene)
        except SchangerError:
            raise
        except Exception as error:  # whatever a file does to a library, the next one must not suffer
            if not isinstance(error, OSError):
                traceback.print_exc()
            reason = f"{arrival.main.path} cannot be read ({error or type(error).__name__})"
            if not self._station.retry(scene, arrival, f"{reason}."):
                self.reject(scene, arrival, f"{reason}, tried {ATTEMPTS} times: get a fresh copy.")

    def reject(self, scene: Scene, arrival: Arrival, reason: str) -> None:
        """Put a bad scene into quarantine."""
        rejected: dict[str, Any] = {"reason": reason, "put_at": self._output.quarantine_name(arrival)}
        self._ledger.set(scene, state=QUARANTINED, **rejected)
        self._station.report(f"quarantined {scene.name}: {reason}")
        self.put_aside(dataclasses.replace(scene, **rejected), arrival)

    def put_aside(self, scene: Scene, arrival: Arrival) -> None:
        """Move the files of a rejected scene, or what a power cut or a full disk left of them in the inbox."""
        if scene.put_at and scene.reason:
            with self._station.surviving(f"move {scene.id}", f"{scene.name} could not be moved: "):
                self._output.put_aside(arrival, scene.put_at, scene.reason)

    def _examine(self, scene: Scene, arrival: Arrival, listing: dict[str, Arrival]) -> None:
        sha256 = self._digest(arrival)
        twin = next(iter(self._ledger.scenes(sha256=sha256, state=(READY, EXPIRED))), None)
        if twin is None:
            known = self._describe(arrival)
            if arrival.is_unchanged():
                self._ledger.set(scene, state=READY, sha256=sha256, reason=None, starts=0, attempts=0, **known)
            else:
                self._ledger.forget(scene)
        elif twin.state == READY and (twin.name == arrival.name or self._ledger.is_gone(twin, listing)):
            self._ledger.follow(twin, scene)
            self._station.report(f"{twin.name} is now {scene.name}.")
        else:
            reason = f"a copy of {twin.name}"
            self._ledger.set(scene, state=DUPLICATE, sha256=sha256, reason=reason, starts=0)
            self._station.report(f"{scene.name} is {reason}: ignored.")

    def _describe(self, arrival: Arrival) -> dict[str, Any]:
        """Date, and place or outline."""
        path = arrival.main.path
        if os.fsencode(path) != str(path).encode("utf-8", "replace"):
            raise SceneError(f"{arrival.name} has a name that is not valid text: rename it.")
        found = probe(str(path), **self._settings.reading, on_rows=self._station.alive)
        stem = PurePosixPath(arrival.name).stem
        if self._settings.pairing.pair_by == "name":
            try:
                place, date = named(stem, self._settings.pairing.name_pattern)
            except SchangerError as error:
                raise SceneError(str(error)) from error
            return {"taken": date or found.date or _changed(arrival), "place": place}
        ground = footprint(found.grid)
        if ground is None:
            raise SceneError(
                f"{path} has no location on Earth: set its CRS with gdal_edit -a_srs, or use --pair-by name."
            )
        outline = shapely.to_wkb(shapely.geometry.shape(ground.geometry))
        return {"taken": found.date or _date_in(stem) or _changed(arrival), "outline": outline}

    def _digest(self, arrival: Arrival) -> str:
        """SHA-256 of the image, followed by endings and bytes of the sidecars that identify it."""
        digest = hashlib.sha256()
        for file in arrival.identifying:
            if file is not arrival.main:
                ending = file.path.name[len(arrival.main.path.stem) :]
                digest.update(f"\0{ending}\0{file.size}\0".encode("utf-8", "replace"))
            with open(file.path, "rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    self._station.alive()
        return digest.hexdigest()


def _changed(arrival: Arrival) -> str:
    """When a scene was taken, where nothing but its file's time of change says so."""
    if abs(arrival.main.mtime_ns) >= LATEST:
        raise SceneError(
            f"{arrival.name} has no date, and its time of change lies beyond the year 2262: put its date into its "
            "name, or set it with touch."
        )
    return time_of_change(arrival.main.mtime_ns)


def _date_in(stem: str) -> str | None:
    try:
        return named(stem)[1]
    except SchangerError:  # it looks like a date and is none
        return None
