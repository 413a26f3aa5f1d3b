"""`--keep`: of each place the newest scenes and their results stay."""

from __future__ import annotations

from collections.abc import Iterator

import shapely

from schanger_edge.files import writing
from schanger_edge.watch.inbox import Arrival
from schanger_edge.watch.ledger import EXPIRED, HOOK_DUE, QUEUED, READY, Ledger, Scene
from schanger_edge.watch.pairing import Candidate, same_place, superseded
from schanger_edge.watch.results import Results
from schanger_edge.watch.settings import Settings


def candidate(scene: Scene) -> Candidate:
    """A good scene as pairing sees it."""
    assert scene.taken is not None
    return Candidate(scene.id, scene.taken, scene.place, scene.outline and shapely.from_wkb(scene.outline))


def expire(after: Scene, settings: Settings, ledger: Ledger) -> None:
    """Mark the scenes that are too old, after the pair of one is done: those with `keep` newer ones of their place.

    Scenes of a pair that is queued, or whose hook is due, stay.
    """
    assert settings.keep is not None
    newest = candidate(after)
    scenes = {scene.id: scene for scene in ledger.scenes(READY)}
    near = [other for other in map(candidate, scenes.values()) if same_place(newest, other, settings.min_overlap)]
    waiting = ledger.jobs("WHERE state = ? OR hook = ?", (QUEUED, HOOK_DUE))
    needed = {scene.id for job in waiting for scene in (job.before, job.after)}
    for old in superseded(near, settings.keep, settings.min_overlap):
        if old.id not in needed:
            ledger.set_scene(scenes[old.id], state=EXPIRED)


def remove_expired(ledger: Ledger, results: Results, listing: dict[str, Arrival]) -> Iterator[str]:
    """Delete expired scenes with their sidecars and the results whose later date they are; yields their names.

    Raises:
        ProductError: something cannot be deleted.
    """
    for scene in ledger.scenes(EXPIRED):
        name = ledger.name_of(scene)
        if name is not None:
            results.remove(name)
        if scene.is_in(listing):
            for file in reversed(listing[scene.name].files):
                with writing(file.path):
                    file.path.unlink(missing_ok=True)
            yield scene.name
