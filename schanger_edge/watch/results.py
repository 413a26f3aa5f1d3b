"""Results appear in the output folder whole, each once: made in `work`, then renamed into `results`.

A result is known by its `pair.json`, which names what it was made of, so that a watch that was killed between the
renaming and its ledger, or whose ledger is lost, recognizes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from schanger_edge.files import PREFIX, flush_folder, to_json, write_durably, writing
from schanger_edge.products import SUMMARY
from schanger_edge.watch.ledger import Scene

PAIR = "pair.json"
_LONGEST = 100
"""Bytes of a scene's name that a result's name takes."""
_REMOVED = ".removed"


class Results:
    """The folders `work` and `results` of an output folder, which exists.

    Raises:
        ProductError: one of them cannot be written. So do all methods.
    """

    def __init__(self, output: Path) -> None:
        self.folder, self._work = output / "results", output / "work"
        for folder in (self.folder, self._work):
            with writing(folder):
                folder.mkdir(exist_ok=True)
                for left in folder.glob(f"*{_REMOVED}"):
                    shutil.rmtree(left)

    def path(self, name: str) -> Path:
        """Where a result lies when it is published."""
        return self.folder / name

    def free_name(self, before: Scene, after: Scene, taken: bool) -> str:
        """What to call the result of a pair: AFTER__BEFORE, and more of it where another pair is called so.

        Args:
            before: the earlier scene.
            after: the later one.
            taken: whether the ledger has another pair of that name.
        """
        name = plain_name(before, after)
        if not taken and (not self.path(name).exists() or self.is_of(name, before, after)):
            return name
        return f"{name}__{hashlib.sha256(f'{before.sha256}{after.sha256}'.encode()).hexdigest()[:8]}"

    def is_of(self, name: str, before: Scene, after: Scene) -> bool:
        """Whether a published result is that of two scenes of this content."""
        told = _told(self.path(name))
        return told is not None and [told.get(date, {}).get("sha256") for date in ("before", "after")] == [
            before.sha256, after.sha256,
        ]  # fmt: skip

    def prepare(self, name: str, told: Mapping[str, Any], *, afresh: bool) -> Path:
        """The folder to make a result in, with what an interrupted run of the same left there.

        Args:
            name: of the result.
            told: what `pair.json` is to say; what was made of anything else is dropped.
            afresh: drop in any case.
        """
        folder = self._work / name
        with writing(folder):
            if folder.exists() and (afresh or _told(folder) != json.loads(to_json(told))):
                shutil.rmtree(folder)
            if not folder.exists():
                folder.mkdir()
                write_durably(folder / PAIR, to_json(told) + "\n")
        return folder

    def is_made(self, name: str) -> bool:
        """Whether the result lies in `work`, whole, and has only to be renamed."""
        return (self._work / name / SUMMARY).exists()

    def publish(self, name: str) -> None:
        """Rename a result that is made, all of it at once."""
        folder = self._work / name
        with writing(self.path(name)):
            for left in folder.glob(f"{PREFIX}*"):
                shutil.rmtree(left)
            os.rename(folder, self.path(name))
            flush_folder(self.folder)
            flush_folder(self._work)

    def remove(self, name: str) -> None:
        """Remove a result, published or not; at once, as far as its readers can see."""
        for folder in (self.path(name), self._work / name):
            if folder.exists():
                aside = folder.with_name(folder.name + _REMOVED)
                with writing(folder):
                    os.rename(folder, aside)
                    shutil.rmtree(aside)


def plain_name(before: Scene, after: Scene) -> str:
    """AFTER__BEFORE, by the scenes' files without folders and suffixes."""
    return "__".join(_short(PurePosixPath(scene.name).stem) for scene in (after, before))


def _short(stem: str) -> str:
    return stem.encode()[:_LONGEST].decode(errors="ignore")


def _told(folder: Path) -> dict[str, Any] | None:
    try:
        told = json.loads((folder / PAIR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
