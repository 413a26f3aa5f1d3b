"""What a run has finished so far, kept beside its results: after a power cut a later run goes on from there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schanger_edge.errors import OtherRunError, ProductError
from schanger_edge.files import PREFIX, flush, flush_folder, reading, sha256_of, to_json, write_durably, writing
from schanger_edge.geo.grid import Window

FOLDER = f"{PREFIX}unfinished"
_IDENTITY, _TEMPORARY, _DIGESTS = "run.json", "new.", "sha256.json"
_SECTION = re.compile(r"\d{8,}-\d{8,}-\d{8,}-\d{8,}")
_LISTED = 4
"""A sentence names so many differences."""


class Journal:
    """Sections of a run, each durable as soon as it has its name. Use it as a context manager, then `begin`.

    A section is a folder ROW-COLUMN-HEIGHT-WIDTH inside `.schanger-edge.unfinished` in the output folder. It is
    written under another name, flushed to the disk and renamed, so that a section that has its name is whole; it holds
    the digests of its files, so that one which the disk has changed since is not taken over. Leaving the context keeps
    the sections, unless there are none or `discard` was called.

    Args:
        folder: the output folder, held by a `Staging` that is open longer.
        resume: go on with what an earlier run left; where nothing is left, begin.
        restart: drop what an earlier run left.

    Raises:
        ProductError: an earlier run is left and neither `resume` nor `restart` is given, or both are.
    """

    def __init__(self, folder: Path, *, resume: bool = False, restart: bool = False) -> None:
        if resume and restart:
            raise ProductError("--resume and --restart are mutually exclusive: give one of them.")
        self.folder = Path(folder)
        self._root = self.folder / FOLDER
        self._resume, self._restart = resume, restart

    def __enter__(self) -> Journal:
        """Refuses at once what needs no knowledge of this run."""
        state = unfinished(self.folder)
        if state and not (self._resume or self._restart):
            raise ProductError(
                f"{self.folder} holds an unfinished run ({state}): continue it with --resume, or discard it with "
                "--restart."
            )
        return self

    def begin(self, identity: Mapping[str, Any], pixels: int) -> int:
        """Go on with the sections of an earlier run, or without any.

        Args:
            identity: all that decides about the bytes of a section: inputs, model, options. JSON.
            pixels: of the scene.

        Returns:
            How many sections were damaged: they are dropped.

        Raises:
            OtherRunError: the earlier run was another one than this.
            ProductError: the folder cannot be written.
        """
        now = json.loads(to_json({"pixels": pixels, **identity}))
        with writing(self.folder):
            if self._root.is_symlink():
                raise ProductError(f"{self._root} is a link, and no program of ours makes one there: remove it.")
            self._root.mkdir(exist_ok=True)
            for left in self._root.glob(f"{_TEMPORARY}*"):
                shutil.rmtree(left)
        was = _identity_in(self._root)
        if self._resume and was is not None and self.sections():
            if was.get("version") != now.get("version"):
                raise OtherRunError(
                    f"the unfinished run in {self.folder} was begun by schanger-edge {was.get('version')}, this is "
                    f"{now.get('version')}: finish it with that version, or drop it with --restart."
                )
            if different := differences(was, now):
                raise OtherRunError(
                    f"the unfinished run in {self.folder} differs from this one ({different}): repeat the same "
                    "command, or discard it with --restart."
                )
            damaged = [path for path in self.sections().values() if not _is_whole(path)]
            with writing(self.folder):
                for path in damaged:
                    shutil.rmtree(path)
            return len(damaged)
        self._clear()  # sections that nothing speaks for go, too
        with writing(self.folder):
            write_durably(self._root / _IDENTITY, json.dumps(now))
        return 0

    def sections(self) -> dict[Window, Path]:
        """The folder of each finished section, in the order of rows, then columns."""
        return {_window(path): path for path in _sections(self._root)}

    def path(self, section: Window) -> Path:
        """The folder that a section has when it is finished."""
        numbers = (section.row_off, section.col_off, section.height, section.width)
        return self._root / "-".join(f"{number:08d}" for number in numbers)

    @contextlib.contextmanager
    def adding(self, section: Window) -> Iterator[Path]:
        """A folder for the files of one section, which counts as finished when the block succeeds.

        Raises:
            ProductError: the disk is full, or the files could not be written.
        """
        path = self.path(section)
        with writing(path):
            folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._root))
            try:
                yield folder
                (folder / _DIGESTS).write_text(json.dumps(_digests(folder)), encoding="utf-8")
                for file in folder.iterdir():
                    flush(file)
                flush_folder(folder)
                os.rename(folder, path)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            flush_folder(self._root)

    def discard(self) -> None:
        """The results are published: the sections are not needed any more. What cannot be removed does no harm."""
        with contextlib.suppress(ProductError):
            self._clear()

    def __exit__(self, *_: object) -> None:
        if not self.sections():
            shutil.rmtree(self._root, ignore_errors=True)

    def _clear(self) -> None:
        """Remove all sections; what says whose they are goes first."""
        with writing(self.folder):
            (self._root / _IDENTITY).unlink(missing_ok=True)
            for path in self._root.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)


def join(parts: Sequence[Path], folder: Path) -> None:
    """Make the sections that several parts of one run have finished those of one unfinished run, ready to go on with.

    What is left of the parts is good for nothing afterwards; where it is stopped midway, the same call goes on.

    Args:
        parts: output folders of the parts; without sections where a part was empty.
        folder: output folder of the run, which exists.

    Raises:
        OtherRunError: the parts were not run with the same inputs and options, or differ from what `folder` holds.
        ProductError: a folder cannot be written.
    """
    root = Path(folder) / FOLDER
    identities = {path: _identity_in(path) for path in (root, *(Path(part) / FOLDER for part in parts))}
    if not _sections(root):
        identities[root] = None
    known = [identity for identity in identities.values() if identity is not None]
    for other in known[1:]:
        if different := differences(known[0], other):
            raise OtherRunError(f"parts of {folder} do not belong together ({different}): start over with --restart.")
    if not known:
        return
    with writing(root):
        root.mkdir(exist_ok=True)
        if identities[root] is None:
            for section in _sections(root):  # nothing speaks for them
                shutil.rmtree(section)
            write_durably(root / _IDENTITY, json.dumps(known[0]))
        for path in list(identities)[1:]:
            for section in _sections(path):
                if not (root / section.name).exists():
                    os.rename(section, root / section.name)
        flush_folder(root)


def unfinished(folder: Path) -> str | None:
    """What of an unfinished run is kept in an output folder, such as `37% of it is done`; None where nothing is."""
    root = Path(folder) / FOLDER
    try:
        identity, windows = _identity_in(root), [_window(path) for path in _sections(root)]
    except (OSError, ProductError):
        return None
    if identity is None or not windows:
        return None
    return f"{sum(w.width * w.height for w in windows) / identity['pixels']:.0%} done"


def differences(was: Any, now: Any) -> str:
    """In what two JSON values differ, the first few leaves by name; empty where in nothing."""
    found = list(_differences(was, now))
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return "; ".join(found[:_LISTED]) + more


def _identity_in(root: Path) -> Any:
    """What decides about the bytes of its sections; None where that is not known, as where the file is damaged."""
    path = root / _IDENTITY
    with reading(path):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return None
    pixels = content.get("pixels") if isinstance(content, dict) else None
    return content if isinstance(pixels, int) and pixels > 0 else None


def _sections(root: Path) -> list[Path]:
    """Folders of finished sections; copies under other names, as of a program that synchronizes folders, are none."""
    found = root.glob("*-*-*-*")
    return sorted(path for path in found if _SECTION.fullmatch(path.name) and path.is_dir() and not path.is_symlink())


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != _DIGESTS}


def _is_whole(section: Path) -> bool:
    """Whether all files of a section are as they were written."""
    try:
        stated = json.loads((section / _DIGESTS).read_text(encoding="utf-8"))
        present = _digests(section)
        gone = stated.keys() - present.keys()
        edges = all(name.endswith(".npy") for name in gone)  # they go when the section that asked for them is durable
        return edges and all(stated.get(name) == digest for name, digest in present.items())
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _window(path: Path) -> Window:
    row, col, height, width = map(int, path.name.split("-"))
    return Window(col, row, width, height)


def _differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """Sentences on the leaves in which two JSON values differ."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            yield from _differences(was.get(key), now.get(key), f"{name}, {key}" if name else key)
    elif was != now:
        short = all(len(json.dumps(value)) < 60 for value in (was, now))
        yield f"{name} was {json.dumps(was)}, now {json.dumps(now)}" if short else f"{name} differs"
