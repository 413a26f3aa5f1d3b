"""A run's results appear under their names all together, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from filelock import FileLock

from schanger_edge.files import PREFIX, flush, flush_folder, locked, writing
from schanger_edge.products import SUMMARY

_TEMPORARY, _LOCK = f"{PREFIX}new.", f"{PREFIX}lock"
SIDECARS = (".aux.xml", ".ovr", "-wal", "-shm", "-journal")
"""Files that viewers and SQLite leave beside a product; beside a new product they would be wrong, or damage it."""


class Staging:
    """Holds the output folder for one run, whose results wait in a hidden folder inside until all of them are whole.

    While it is held, no other process can enter it. Leaving the context without `publish` (an error, Ctrl-C) removes
    what the run wrote, and what it created; results of an earlier run stay as they were.

    Args:
        folder: the output folder; it is made where it is absent.
        products: every name that a run may write.

    Raises:
        ProductError: another run holds the folder, it cannot be made or written, or a folder stands under a product's
            name.
    """

    def __init__(self, folder: Path, products: Iterable[str]) -> None:
        self.folder, self._products = Path(folder), tuple(products)
        self._names: list[str] = []
        self._created: list[Path] = []
        self._lock: FileLock | None = None
        self._temporary: Path | None = None

    def __enter__(self) -> Staging:
        with writing(self.folder):
            try:
                str(self.folder.absolute()).encode()  # GDAL takes no other names
                self._created = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock = _locked(self.folder)
                _remove_stale(self.folder)
                self._refuse_folders(self._products)
                self._temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.folder))
            except BaseException:
                self._leave()
                raise
        return self

    def path(self, name: str) -> Path:
        """Where to write the product that `publish` will call `name` (a plain file name)."""
        if self._temporary is None:
            raise RuntimeError("a staging folder is open only inside its context, before publish.")
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not a plain file name.")
        if name not in self._names:
            self._names.append(name)
        return self._temporary / name

    def publish(self) -> None:
        """Move every product that was written to its name, `summary.json` last.

        A folder with a `summary.json` is therefore complete. Results of an earlier run go, also those that this run
        did not make, unless the folder's `summary.json` is none of ours; where a move fails, they are put back.

        Raises:
            ProductError: a file could not be written out to the disk or moved.
        """
        if self._temporary is None:
            raise RuntimeError("a staging folder is published once, inside its context.")
        made = [name for name in self._names if (self._temporary / name).is_file()]
        made.sort(key=lambda name: name == SUMMARY)
        for name in made:
            with writing(self.folder / name):
                flush(self._temporary / name)
        old = self._earlier([*(self._products if _is_ours(self.folder / SUMMARY) else ()), *made])
        with writing(self.folder):
            self._refuse_folders([*old, *made])
            self._swap(old, made)
            flush_folder(self.folder)
        self._created = []
        self._clean()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _earlier(self, names: list[str]) -> list[str]:
        """What stands in the folder under these names, or as a sidecar of them; the summary first."""
        names = sorted(names, key=lambda name: name != SUMMARY)
        wanted = dict.fromkeys([*names, *(name + sidecar for name in names for sidecar in SIDECARS)])
        return [name for name in wanted if os.path.lexists(self.folder / name)]

    def _refuse_folders(self, names: Iterable[str]) -> None:
        for name in names:
            target = self.folder / name
            if target.is_dir() and not target.is_symlink():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))

    def _swap(self, old: list[str], made: list[str]) -> None:
        assert self._temporary is not None
        aside = Path(tempfile.mkdtemp(prefix="old.", dir=self._temporary))
        moves = [(self.folder / name, aside / name) for name in old]
        moves += [(self._temporary / name, self.folder / name) for name in made]
        done: list[tuple[Path, Path]] = []
        try:
            for source, target in moves:
                done.append((source, target))
                os.replace(source, target)
        except BaseException:
            for source, target in reversed(done):
                if os.path.lexists(target) and not os.path.lexists(source):
                    os.replace(target, source)
            raise

    def _clean(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def _leave(self) -> None:
        self._clean()
        if self._lock is not None:
            with contextlib.suppress(OSError):  # Windows removes it when it is released
                (self.folder / _LOCK).unlink()
            self._lock.release()
            self._lock = None
        for folder in self._created:
            try:
                folder.rmdir()
            except OSError:  # not empty, so not only ours
                break
        self._created = []


def _is_ours(summary: Path) -> bool:
    """Whether an earlier run of this tool wrote it."""
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "schanger_edge" in content


def _put_back(temporary: Path, folder: Path) -> None:
    """Give earlier results their names again that a run had moved aside when it was killed."""
    if not any(path.is_file() for path in temporary.iterdir()):
        return  # all of the new results had been moved
    for path in temporary.glob("old.*/*"):
        os.replace(path, folder / path.name)


def _remove_stale(folder: Path) -> None:
    """Remove what killed runs left behind: while the folder is held, nobody else's can be in use."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        _put_back(path, folder)
        shutil.rmtree(path, ignore_errors=True)


def _locked(folder: Path) -> FileLock:
    """A lock on the output folder."""
    while True:
        lock = locked(folder / _LOCK, f"another run is writing to {folder}: wait for it, or choose another folder.")
        if (folder / _LOCK).exists():
            return lock
        lock.release()  # the run that held it has just ended and removed the file
