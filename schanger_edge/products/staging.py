"""A run's results appear under their names all together, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from schanger_edge.errors import ProductError
from schanger_edge.files import PREFIX, flush, flush_folder, locked, read_json, write_durably, writing
from schanger_edge.products import SUMMARY

_TEMPORARY, _LOCK = f"{PREFIX}new.", f"{PREFIX}lock"
_MOVING = "moving.json"
"""Beside the new results while they get their names: which files they are, so that half of them can be taken back."""
SIDECARS = (".aux.xml", ".ovr", "-wal", "-shm", "-journal")
"""Files that viewers and SQLite leave beside a product; beside a new product they would be wrong, or damage it."""


class Staging:
    """Holds the output folder for one run, whose results wait in a hidden folder inside until all of them are whole.

    While it is held, no other process can enter it. Leaving the context without `publish` (an error, Ctrl-C) removes
    what the run wrote, and what it created; results of an earlier run stay as they were.

    Args:
        folder: the output folder; it is made where it is absent.
        products: every name that a run may write.
        intended: of these, the ones that this run is going to write; None: all of them.

    Raises:
        ProductError: another run holds the folder, it cannot be made or written, or something that is no product
            stands under a product's name.
    """

    def __init__(self, folder: Path, products: Iterable[str], intended: Iterable[str] | None = None) -> None:
        self.folder, self._products = Path(folder), tuple(products)
        self._intended = self._products if intended is None else tuple(intended)
        self._created: list[Path] = []
        self._lock: FileLock | None = None
        self._temporary: Path | None = None

    def __enter__(self) -> Staging:
        with writing(self.folder):
            try:
                str(self.folder.absolute()).encode()  # GDAL takes no other names
                self._created = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
                self.folder.mkdir(parents=True, exist_ok=True)
                refusal = f"another run is writing to {self.folder}: wait for it, or choose another folder."
                self._lock = locked(self.folder / _LOCK, refusal)
                _remove_stale(self.folder)
                self._refuse_folders(self._products)
                self._refuse_foreign(self._intended)
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
        return self._temporary / name

    def protect(self, files: Iterable[str | os.PathLike[str]]) -> None:
        """Refuse a run one of whose own files would be replaced by a product, or removed as the sidecar of one.

        Args:
            files: what the run reads; names that are no local file are passed over.

        Raises:
            ProductError: a file lies under such a name.
        """
        taken = [self.folder / name for name in self._earlier([*self._products])]
        for file in files:
            for target in taken:
                with contextlib.suppress(OSError, ValueError):  # absent, or no file of this machine
                    if os.path.samefile(file, target):
                        raise ProductError(
                            f"{target} is an input of this run, and a product of the same name would replace it: "
                            "choose another output folder."
                        )

    def publish(self) -> None:
        """Move every product that was written to its name, `summary.json` last.

        A folder with a `summary.json` is therefore complete. Results of an earlier run go, also those that this run
        did not make, as far as its `summary.json` lists them; where a move fails, they are put back.

        Raises:
            ProductError: a file could not be written out to the disk or moved.
        """
        if self._temporary is None:
            raise RuntimeError("a staging folder is published once, inside its context.")
        made = [name for name in self._products if (self._temporary / name).is_file()]
        made.sort(key=lambda name: name == SUMMARY)
        for name in made:
            with writing(self.folder / name):
                flush(self._temporary / name)
        old = self._earlier([*self._own(), *made])
        with writing(self.folder):
            self._refuse_folders([*old, *made])
            self._refuse_foreign(made)
            self._swap(old, made)
            flush_folder(self.folder)
        self._created = []
        self._clean()

    def __exit__(self, *_: object) -> None:
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

    def _own(self) -> tuple[str, ...]:
        """The names of products under which an earlier run's results stand, by what its summary lists."""
        summary = read_json(self.folder / SUMMARY)
        if "schanger_edge" not in summary:
            return ()
        listed = summary.get("products")
        names = self._products
        if isinstance(listed, dict):
            names = tuple(name for name in names if name in listed or name == SUMMARY)
        return tuple(name for name in names if not _is_special(self.folder / name))

    def _refuse_foreign(self, names: Iterable[str]) -> None:
        """A file that no run wrote is never replaced."""
        own = self._own()
        for name in names:
            target = self.folder / name
            if name not in own and os.path.lexists(target):
                raise ProductError(
                    f"{target} is no result of an earlier run, and a product would replace it: move it or choose "
                    "another output folder."
                )

    def _swap(self, old: list[str], made: list[str]) -> None:
        assert self._temporary is not None
        identities = {name: _identity(self._temporary / name) for name in made}
        write_durably(self._temporary / _MOVING, json.dumps(identities))
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
            with contextlib.suppress(OSError):  # not empty, so not only ours
                folder.rmdir()
        self._created = []


def _is_special(path: Path) -> bool:
    """Whether there is something else than a plain file: a link, a device, a pipe."""
    return os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode)


def _identity(path: Path) -> list[int]:
    """What a file keeps when it is renamed."""
    found = path.lstat()
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _put_back(temporary: Path, folder: Path) -> None:
    """Undo what a run that was killed had moved: new results go, and earlier ones get their names again."""
    if not any(path.is_file() and path.name != _MOVING for path in temporary.iterdir()):
        return  # all of the new results had been moved
    for name, identity in read_json(temporary / _MOVING).items():
        target = folder / Path(name).name
        with contextlib.suppress(FileNotFoundError):
            if not (temporary / name).exists() and _identity(target) == identity:
                target.unlink()
    for aside in temporary.glob("old.*"):
        for path in () if aside.is_symlink() else aside.iterdir():
            os.replace(path, folder / path.name)


def _remove_stale(folder: Path) -> None:
    """Remove what killed runs left behind: while the folder is held, nobody else's can be in use."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        if path.is_symlink() or not path.is_dir():  # no run made it, and nothing may be moved out of where it leads
            continue
        _put_back(path, folder)
        shutil.rmtree(path, ignore_errors=True)
