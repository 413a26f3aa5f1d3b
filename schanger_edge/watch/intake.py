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


def take(station: Station, arrival: Arrival) -> None:
    """Examine an arrival that has settled, or try it again later.

    ProductError where quarantine or ledger cannot be written, StoppedError where the watch is to stop.
    """
    scene = station.ledger.begin(arrival)
    if scene.starts > STARTS:
        reject(station, scene, arrival, f"the process died {STARTS} times while examining it: it may be malicious.")
        return
    try:
        _examine(station, scene, arrival)
    except StoppedError:
        station.ledger.set(scene, starts=scene.starts - 1)
        raise
    except (FileNotFoundError, SceneError) as error:
        if isinstance(error, SceneError) and arrival.is_unchanged():
            reject(station, scene, arrival, str(error))
        else:
            station.ledger.forget(scene)
    except SchangerError:
        raise
    except Exception as error:  # whatever a file does to a library, the next one must not suffer
        if not isinstance(error, OSError):
            traceback.print_exc()
        reason = f"{arrival.main.path} cannot be read ({error or type(error).__name__})"
        if not station.retry(scene, arrival, f"{reason}."):
            reject(station, scene, arrival, f"{reason}, tried {ATTEMPTS} times: get a fresh copy.")


def reject(station: Station, scene: Scene, arrival: Arrival, reason: str) -> None:
    """Put a bad scene into quarantine."""
    rejected: dict[str, Any] = {"reason": reason, "put_at": station.output.quarantine_name(arrival)}
    station.ledger.set(scene, state=QUARANTINED, **rejected)
    station.report(f"quarantined {scene.name}: {reason}")
    put_aside(station, dataclasses.replace(scene, **rejected), arrival)


def put_aside(station: Station, scene: Scene, arrival: Arrival) -> None:
    """Move the files of a rejected scene, or what a power cut or a full disk left of them in the inbox."""
    if scene.put_at and scene.reason:
        with station.surviving(f"move {scene.id}", f"{scene.name} could not be moved: "):
            station.output.put_aside(arrival, scene.put_at, scene.reason)


def _examine(station: Station, scene: Scene, arrival: Arrival) -> None:
    sha256 = _digest(station, arrival)
    twin = next(iter(station.ledger.scenes(sha256=sha256, state=(READY, EXPIRED))), None)
    if twin is None:
        known = _describe(station, arrival)
        if arrival.is_unchanged():
            station.ledger.set(scene, state=READY, sha256=sha256, reason=None, starts=0, attempts=0, **known)
        else:
            station.ledger.forget(scene)
    elif twin.state == READY and (twin.name == arrival.name or station.ledger.is_gone(twin, station.listing)):
        station.ledger.follow(twin, scene)
        station.report(f"{twin.name} is now {scene.name}.")
    else:
        reason = f"a copy of {twin.name}"
        station.ledger.set(scene, state=DUPLICATE, sha256=sha256, reason=reason, starts=0)
        station.report(f"{scene.name} is {reason}: ignored.")


def _describe(station: Station, arrival: Arrival) -> dict[str, Any]:
    """Date, and place or outline."""
    path = arrival.main.path
    if os.fsencode(path) != str(path).encode("utf-8", "replace"):
        raise SceneError(f"{arrival.name} has a name that is not valid text: rename it.")
    found = probe(str(path), **station.settings.reading, on_rows=station.alive)
    stem = PurePosixPath(arrival.name).stem
    if station.settings.pairing.pair_by == "name":
        place, date = named(stem, station.settings.pairing.name_pattern)
        return {"taken": date or found.date or _changed(arrival), "place": place}
    ground = footprint(found.grid)
    if ground is None:
        raise SceneError(f"{path} has no location on Earth: set its CRS with gdal_edit -a_srs, or use --pair-by name.")
    outline = shapely.to_wkb(shapely.geometry.shape(ground.geometry))
    return {"taken": found.date or _date_in(stem) or _changed(arrival), "outline": outline}


def _digest(station: Station, arrival: Arrival) -> str:
    """SHA-256 of the image, followed by endings and bytes of the sidecars that identify it."""
    digest = hashlib.sha256()
    for file in arrival.identifying:
        if file is not arrival.main:
            ending = file.path.name[len(arrival.main.path.stem) :]
            digest.update(f"\0{ending}\0{file.size}\0".encode("utf-8", "replace"))
        with open(file.path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                station.alive()
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
    except SceneError:  # it looks like a date and is none
        return None
