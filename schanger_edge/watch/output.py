"""The output folder of a watch: results appear whole, each once; bad files are put aside, each with a sentence on why.

A result is made in `work`, then renamed into `results`. It is known by its `pair.json`, which names what it was made
of, so that a watch that was killed between the renaming and its ledger, or whose ledger is lost, recognizes it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from schanger_edge.errors import printable
from schanger_edge.files import PREFIX, flush, flush_folder, read_json, to_json, write_durably, writing
from schanger_edge.products import SUMMARY
from schanger_edge.watch.inbox import Arrival
from schanger_edge.watch.ledger import Job, Scene

PAIR, REASON = "pair.json", ".reason.txt"
_LONGEST = 100
"""Bytes of a scene's name that a result's name takes."""
_REMOVED = f"{PREFIX}removed."
"""Begins the hidden name of a result that is being removed: no scene can have it, for hidden files are none."""
_LONGEST_NAME = 255  # bytes


class Output:
    """The folders `results`, `work` and `quarantine` of an output folder, which exists.

    Raises:
        ProductError: one of them cannot be written. All methods raise it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.results, self._work, self._quarantine = (folder / name for name in ("results", "work", "quarantine"))
        for path in (self.results, self._work, self._quarantine):
            with writing(path):
                path.mkdir(exist_ok=True)
        for path in (*self.results.glob(f"{_REMOVED}*"), *self._work.glob(f"{_REMOVED}*")):
            with writing(path):
                shutil.rmtree(path)

    def free(self) -> int:
        """Bytes that are free."""
        return shutil.disk_usage(self._folder).free

    def free_name(self, before: Scene, after: Scene, taken: bool) -> str:
        """A name for the result of a pair: `plain_name`, extended where it is `taken` in the ledger, or by a result."""
        name = plain_name(before, after)
        if not taken and (not (self.results / name).exists() or self._is_made_of(name, before, after)):
            return name
        return f"{name}__{hashlib.sha256(f'{before.sha256}{after.sha256}'.encode()).hexdigest()[:8]}"

    def is_published(self, job: Job) -> bool:
        """Whether the result of a pair is there, such as where the watch was killed before its ledger knew."""
        return self._is_made_of(job.name, job.before, job.after)

    def _is_made_of(self, name: str, before: Scene, after: Scene) -> bool:
        """Whether the published result of that name is that of two scenes of this content."""
        made_of = read_json(self.results / name / PAIR)
        found = [made_of.get(date, {}).get("sha256") for date in ("before", "after")]
        return bool(made_of) and found == [before.sha256, after.sha256]

    def prepare(self, name: str, made_of: Mapping[str, Any], *, afresh: bool) -> Path:
        """The folder to make a result in, with what an interrupted run of the same pair left there, unless `afresh`.

        What was made of anything else than `made_of`, the content of `pair.json`, is dropped.
        """
        folder = self._work / name
        with writing(folder):
            if folder.exists() and (afresh or read_json(folder / PAIR) != json.loads(to_json(made_of))):
                shutil.rmtree(folder)
            if not folder.exists():
                folder.mkdir()
                write_durably(folder / PAIR, to_json(made_of) + "\n")
        return folder

    def publish(self, name: str) -> None:
        """Move a finished result from `work` to `results`, all of it at once."""
        folder = self._work / name
        with writing(self.results / name):
            for left in folder.glob(f"{PREFIX}*"):
                shutil.rmtree(left)
            os.rename(folder, self.results / name)
            flush_folder(self.results)
            flush_folder(self._work)

    def remove(self, name: str) -> None:
        """Remove a result, published or not; for its readers it is gone at once."""
        for folder in (self.results / name, self._work / name):
            if folder.exists():
                aside = folder.with_name(_REMOVED + folder.name)
                with writing(folder):
                    os.rename(folder, aside)
                    shutil.rmtree(aside)

    def quarantine_name(self, arrival: Arrival) -> str:
        """A name for a bad file that no other has in quarantine: its own, or with a number."""
        path = PurePosixPath(arrival.name)
        endings = [path.suffix, *(f"-{number}{path.suffix}" for number in range(2, 10_000))]
        names = (_cut(path.stem, _LONGEST_NAME - len((ending + REASON).encode())) + ending for ending in endings)
        return next(name for name in names if not self._reason(name).exists())

    def put_aside(self, arrival: Arrival, name: str, reason: str) -> None:
        """Move a scene with its sidecars into quarantine; may be repeated, such as after a power cut."""
        self.write_reason(name, reason)
        old, new = arrival.main.path.stem, PurePosixPath(name).stem
        for file in reversed(arrival.files):  # the image last: as long as it is there, this is done again
            if file.path.exists():
                with writing(self._quarantine):
                    target = name if file is arrival.main else new + file.path.name[len(old) :]
                    _move(file.path, self._quarantine / target)

    def write_reason(self, name: str, reason: str) -> None:
        """Write to NAME.reason.txt why a scene or a pair is bad, in one sentence."""
        path = self._reason(name)
        with writing(path):
            write_durably(path, printable(reason) + "\n")

    def remove_reason(self, name: str) -> None:
        """What failed has succeeded since."""
        with writing(self._quarantine):
            self._reason(name).unlink(missing_ok=True)

    def _reason(self, name: str) -> Path:
        return self._quarantine / f"{name}{REASON}"


def is_made(folder: Path) -> bool:
    """Whether a result is complete and has only to be published."""
    return (folder / SUMMARY).exists()


def plain_name(before: Scene, after: Scene) -> str:
    """AFTER__BEFORE, by the scenes' files without folders and suffixes; it is one line, and no option of a program."""
    stems = (PurePosixPath(scene.name).stem for scene in (after, before))
    name = "__".join(_cut(stem, _LONGEST) for stem in stems)
    name = "".join(letter if letter.isprintable() else "_" for letter in name)
    return f"_{name[1:]}" if name.startswith("-") else name


def _cut(text: str, size: int) -> str:
    """The beginning of a text that has no more bytes than that."""
    return text.encode()[:size].decode(errors="ignore")


def _move(source: Path, target: Path) -> None:
    """Rename, or copy where the target is on another disk; the source goes when the target is whole."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = target.with_name(f".{target.name}.part")
        try:
            shutil.copy2(source, temporary)
            flush(temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(target.parent)
        source.unlink()
