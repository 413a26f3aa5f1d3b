"""Files that appear whole or not at all, and one sentence where the system refuses."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from platformdirs import user_cache_path

from schanger_edge.errors import BusyError, DiskFullError, ProductError, SchangerError, raised_by_gdal

if TYPE_CHECKING:
    from filelock import FileLock

PREFIX = ".schanger-edge."
"""Of all hidden names in an output folder."""

CACHE_VARIABLE = "SCHANGER_EDGE_CACHE"
OTHER_CACHE = f"set {CACHE_VARIABLE} to a writable folder."

_MOST_LINKS = 40  # in a row, as the system follows them
_ADVICE = {
    errno.ENOSPC: "free some space there or choose another output folder",
    errno.EDQUOT: "free some of your quota or choose another output folder",
    errno.EFBIG: "raise the limit on file sizes or choose another output folder",
    errno.EACCES: "choose a writable output folder, and close programs that have its files open",
    errno.EPERM: "choose a writable output folder, and close programs that have its files open",
    errno.EROFS: "choose a writable output folder",
    errno.EEXIST: "a file is in the way; move it or choose another output folder",
    errno.ENOTDIR: "a file is in the way; move it or choose another output folder",
    errno.EISDIR: "a folder is in the way; move it or choose another output folder",
}


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file that fits into memory."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cache_folder(kind: str, error_class: type[SchangerError]) -> Path:
    """The user's own folder for engines or models: in SCHANGER_EDGE_CACHE, else where the system keeps caches.

    Args:
        kind: `engine` or `model`.
        error_class: what to raise where this user has no home folder.
    """
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own) / f"{kind}s"
    try:
        folder = user_cache_path("schanger-edge", appauthor=False)
    except RuntimeError:
        folder = Path("~")  # as older versions leave it
    if folder.parts[0] == "~":
        raise error_class(f"there is no home folder for the {kind} cache: {OTHER_CACHE}")
    return folder / f"{kind}s"


@contextlib.contextmanager
def replacing(path: Path, error_class: type[SchangerError], *errors: type[Exception]) -> Iterator[Path]:
    """A temporary name in the folder of `path`, which becomes `path` if the block succeeds and vanishes if it fails.

    The folder is made where it does not exist, and is gone again if the block fails.

    Args:
        path: the file, replaced where it exists. Where it is a link, what it leads to is replaced; a device, a pipe or
            standard output is written to when the block has succeeded.
        error_class: what to raise where the file cannot be written.
        errors: kinds of exception besides the system's and GDAL's that mean so.

    Raises:
        SchangerError: of the class given, where the file cannot be written.
    """
    target = Path(path)
    in_place = _is_device(target)
    if not in_place and target.is_symlink():
        target = target.resolve()
    folder = Path(tempfile.gettempdir()) if in_place else target.parent
    temporary = folder / f".{target.stem}.{secrets.token_hex(4)}{target.suffix}"
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # a folder that cannot be written fails here, before the work
        yield temporary
        if in_place:
            _pour(temporary, target)
        else:
            os.replace(temporary, target)
    except Exception as error:
        if not (isinstance(error, (OSError, *errors)) or raised_by_gdal(error)):
            raise
        reason = getattr(error, "strerror", None) or error.__cause__ or error
        raise error_class(f"{path} cannot be written ({reason}): choose a writable folder with free space.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
        for one in new:
            with contextlib.suppress(OSError):  # there is something in it
                one.rmdir()


def check_writable(path: Path, error_class: type[SchangerError]) -> None:
    """Before the work whose result it shall hold: raise an error of the class where the file could not be written."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
        raise error_class(f"{path} cannot be written: choose a file in a writable folder.")


def _is_device(path: Path) -> bool:
    """Whether what is written goes to a device, a pipe or an open file, as with /dev/stdout: none of them is replaced.

    A link is followed, one step after the other: /dev/stdout leads to a plain file where the shell has redirected it.
    """
    if os.name != "posix":
        return False
    step = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        if step.startswith(("/dev/", "/proc/")) and not step.startswith("/dev/shm/"):
            return True
        if not os.path.islink(step):
            break
        step = os.path.normpath(os.path.join(os.path.dirname(step), os.readlink(step)))
    return path.exists() and not path.is_file() and not path.is_dir()


def _pour(source: Path, target: Path) -> None:
    """Write a file's bytes to what is open already, at its end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    opened = [number for number in (1, 2) if _is_open_as(target, number)]
    handle = os.dup(opened[0]) if opened else os.open(target, os.O_WRONLY | os.O_APPEND)
    with os.fdopen(handle, "wb") as stream, open(source, "rb") as file:
        shutil.copyfileobj(file, stream)


def _is_open_as(path: Path, number: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(number))
    return False


@contextlib.contextmanager
def writing(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn the system's, GDAL's and the given errors inside the block into one `ProductError` about `path`.

    It is a `DiskFullError` where the disk or the quota is full.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise ProductError(f"{str(path)!a} has a name that is not valid text: choose another output folder.") from error
    except Exception as error:
        if not (isinstance(error, (OSError, *errors)) or raised_by_gdal(error)):
            raise
        code = _code(path, error)
        kind = DiskFullError if code in (errno.ENOSPC, errno.EDQUOT) else ProductError
        raise kind(_sentence(path, error, code)) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Like `writing`, for a product that a later one is made from."""
    try:
        yield
    except Exception as error:
        if not (isinstance(error, OSError) or raised_by_gdal(error)):
            raise
        raise ProductError(f"{_shown(path)} could not be read ({_text(error)}): run the detection again.") from error


def write_durably(path: Path, text: str) -> None:
    """Put a small file under its name, whole and on the disk, into a folder that this process holds alone."""
    temporary = path.with_name(".part")
    temporary.unlink(missing_ok=True)
    with open(temporary, "x", encoding="utf-8") as file:  # never through a link that somebody has planted
        file.write(text)
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


def locked(path: Path, refusal: str | None) -> FileLock:
    """A lock, held by this process alone until it ends; without a refusal it is waited for.

    Raises:
        BusyError: the refusal, where another process holds it.
        ProductError: a link lies there, whose target some versions of filelock would empty.
    """
    from filelock import FileLock, Timeout

    if path.is_symlink():
        raise ProductError(f"{path} is a link, and no program of ours makes one there: remove it.")
    while True:
        lock = FileLock(path)
        try:
            lock.acquire(timeout=-1 if refusal is None else 0)
        except Timeout as error:
            raise BusyError(str(refusal)) from error
        if path.exists():
            return lock
        lock.release()  # who held it has just ended and removed the file


@contextlib.contextmanager
def held(folder: Path, lock: str, refusal: str) -> Iterator[None]:
    """A folder for this process alone, by the lock of this name in it.

    It is made where it is absent, and goes again where nothing but the lock is in it at the end.

    Raises:
        BusyError: the refusal, where another process holds it.
        ProductError: it cannot be made or written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        taken = locked(folder / lock, refusal)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if os.listdir(folder) == [lock]:
                (folder / lock).unlink()  # while it is held, so that it is no other's
        taken.release()
        with contextlib.suppress(OSError):  # not empty, or another process has come meanwhile
            folder.rmdir()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as indented UTF-8 JSON, see `to_json`.

    Raises:
        ProductError: the file could not be written.
        ValueError: a number is NaN or infinite.
    """
    text = to_json(values)
    with writing(path):
        path.write_text(text + "\n", encoding="utf-8")


def to_json(values: Mapping[str, Any]) -> str:
    """Indented JSON; NumPy values and paths may stand anywhere among the values.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot say; write None for what is not known.
    """
    return json.dumps(dict(values), indent=2, ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a summary cannot hold a {type(value).__name__}.")


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
