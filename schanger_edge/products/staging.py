"""A run's results appear under their names all together, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from rasterio._err import CPLE_BaseError  # the base of what GDAL raises; rasterio does not wrap all of it
from rasterio.errors import RasterioError

from schanger_edge.errors import BusyError, DiskFullError, ProductError
from schanger_edge.products import SUMMARY

PREFIX = ".schanger-edge."
"""Of all hidden names in an output folder."""
_TEMPORARY, _LOCK = f"{PREFIX}new.", f"{PREFIX}lock"
SIDECARS = (".aux.xml", ".ovr", "-wal", "-shm", "-journal")
"""Files that viewers and SQLite leave beside a product; beside a new product they would be wrong, or damage it."""

_ADVICE = {
    errno.ENOSPC: "free some space there or choose another output folder",
    errno.EDQUOT: "free some of your quota or choose another output folder",
    errno.EFBIG: "raise the limit on file sizes or choose another output folder",
    errno.EACCES: "choose an output folder you may write to, and close programs that have its files open",
    errno.EPERM: "choose an output folder you may write to, and close programs that have its files open",
    errno.EROFS: "choose an output folder you may write to",
    errno.EEXIST: "a file is in the way; move it or choose another output folder",
    errno.ENOTDIR: "a file is in the way; move it or choose another output folder",
    errno.EISDIR: "a folder is in the way; move it or choose another output folder",
}


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


@contextlib.contextmanager
def writing(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn the system's, GDAL's and the given errors inside the block into one `ProductError` about `path`.

    It is a `DiskFullError` where room is what was wanting.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise ProductError(f"{path!a} has a name that is no text: choose another output folder.") from error
    except (OSError, RasterioError, CPLE_BaseError, *errors) as error:
        code = _code(path, error)
        kind = DiskFullError if code in (errno.ENOSPC, errno.EDQUOT) else ProductError
        raise kind(_sentence(path, error, code)) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Like `writing`, for a product that a later one is made from."""
    try:
        yield
    except (OSError, RasterioError, CPLE_BaseError) as error:
        raise ProductError(f"{_shown(path)} could not be read ({_text(error)}): run the detection again.") from error


def _code(path: Path, error: Exception) -> int | None:
    """The system's number of the error, as far as it is known."""
    code = error.errno if isinstance(error, OSError) else None  # GDAL has numbers of its own
    if code is None and _is_full(path):  # GDAL says only that a write failed
        code = errno.ENOSPC
    return code


def _sentence(path: Path, error: Exception, code: int | None) -> str:
    """What happened to which file, and what to do."""
    in_the_way = getattr(error, "filename", None) if code == errno.EISDIR else None
    reason = os.strerror(code) if code else _text(error)
    advice = _ADVICE.get(code or 0, "check the disk or choose another output folder")
    return f"{in_the_way or _shown(path)} could not be written ({reason}): {advice}."


def _shown(path: Path) -> Path:
    """The path as the user knows it, without the temporary folder."""
    for hidden in path.parents:
        if hidden.name.startswith(PREFIX):
            return hidden.parent / path.name if hidden == path.parent else hidden.parent
    return path


def _text(error: BaseException) -> str:
    while error.__cause__ is not None:  # rasterio says "see previous exception"
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 1 << 20
    except OSError:
        return False


def write_durably(path: Path, text: str) -> None:
    """Put a small file under its name, whole and on the disk, into a folder that this process holds alone."""
    temporary = path.with_name(".part")
    temporary.write_text(text, encoding="utf-8")
    flush(temporary)
    os.replace(temporary, path)
    flush_folder(path.parent)


def flush(path: Path) -> None:
    """Have the bytes on the disk before the name says so: a full network disk may complain only here."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some file systems cannot; the moves themselves are done
                os.fsync(handle)
        finally:
            os.close(handle)


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


def locked(path: Path, refusal: str) -> FileLock:
    """A lock, held by this process alone until it ends.

    Raises:
        BusyError: the refusal, where another process holds it.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError(refusal) from error
    return lock


def _locked(folder: Path) -> FileLock:
    """A lock on the output folder."""
    while True:
        lock = locked(folder / _LOCK, f"another run writes to {folder}: wait for it, or choose another folder.")
        if (folder / _LOCK).exists():
            return lock
        lock.release()  # the run that held it has just ended and removed the file
