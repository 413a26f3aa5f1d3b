"""What is in the inbox, and which of it has arrived completely."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".img", ".ntf"})
"""Of scenes; all other files are left alone."""
UNFINISHED = (".part", ".partial", ".filepart", ".crdownload", ".tmp")
"""What programs append to a name while they copy."""
_WORLD = {".tfw", ".tifw", ".tiffw", ".pgw", ".pngw", ".jgw", ".jpgw", ".jpegw", ".j2w", ".wld"}
_BESIDE = _WORLD | {".prj", ".ovr", ".msk", ".aux"}
_LATER = (".ovr", ".aux.xml")
"""Sidecars that viewers add to a scene which stays the same."""
LATEST = 2**63 - 1
"""Nanoseconds of the epoch, in the year 2262: what SQLite's integers hold."""
_REFUSALS = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG)


@dataclasses.dataclass(frozen=True)
class File:
    """A file as it was listed: size in bytes, time of change in nanoseconds."""

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, stat: os.stat_result) -> File:
        """With a time of change no later than the ledger can hold."""
        return cls(path, stat.st_size, max(-LATEST, min(stat.st_mtime_ns, LATEST)))


@dataclasses.dataclass(frozen=True)
class Arrival:
    """A scene in the inbox.

    Attributes:
        name: path below the inbox, as text.
        main: the image.
        sidecars: files that belong to it, such as a world file.
    """

    name: str
    main: File
    sidecars: tuple[File, ...] = ()

    @property
    def key(self) -> tuple[str, int, int]:
        """Name, size and time of change: what the ledger knows it by."""
        return self.name, self.main.size, self.main.mtime_ns

    @property
    def files(self) -> tuple[File, ...]:
        """The image, then its sidecars."""
        return (self.main, *self.sidecars)

    @property
    def identifying(self) -> tuple[File, ...]:
        """The files whose content decides which scene it is."""
        return (self.main, *(file for file in self.sidecars if not file.path.name.lower().endswith(_LATER)))

    def is_unchanged(self) -> bool:
        """Whether all files are what they were when they were listed."""
        with contextlib.suppress(OSError):
            return all(File.of(file.path, file.path.stat()) == file for file in self.files)
        return False


def scan(inbox: Path, on_refused: Callable[[str, str], None] = lambda name, reason: None) -> list[Arrival]:
    """All scenes below the inbox that are not still being copied under another name; hidden files are ignored.

    Args:
        inbox: the folder.
        on_refused: called with the name and the reason for what the system will never let be read, such as a folder of
            another user's, or a link that leads to itself; it is passed over.

    Raises:
        OSError: a folder cannot be listed, such as a network share that is away.
    """
    return sorted(_walk(inbox, inbox, on_refused), key=lambda arrival: arrival.name)


def _walk(folder: Path, inbox: Path, on_refused: Callable[[str, str], None]) -> Iterator[Arrival]:
    files: dict[str, File] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk(Path(entry.path), inbox, on_refused)
                elif entry.is_file():
                    files[entry.name] = File.of(Path(entry.path), entry.stat())
            except FileNotFoundError:  # gone since it was listed
                continue
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
                on_refused(_as_text(Path(entry.path).relative_to(inbox)), str(error.strerror))
    for name, file in files.items():
        if file.path.suffix.lower() in SUFFIXES and not any(name + suffix in files for suffix in UNFINISHED):
            sidecars = (files[other] for other in sorted(files) if _belongs(other, name))
            yield Arrival(_as_text(file.path.relative_to(inbox)), file, tuple(sidecars))


def _belongs(other: str, scene: str) -> bool:
    """Whether a file is a sidecar of a scene beside it: `a.tif.aux.xml` or `a.tfw` of `a.tif`."""
    if other == scene or other.lower().endswith(UNFINISHED):
        return False
    stem, suffix = os.path.splitext(other)
    return other.startswith(f"{scene}.") or (suffix.lower() in _BESIDE and stem == os.path.splitext(scene)[0])


def _as_text(path: Path) -> str:
    """A path that can be printed and stored, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Settling:
    """Finds the arrivals whose files have all kept size and time of change for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Arrival, float] = {}

    def settled(self, arrivals: Iterable[Arrival], now: float) -> list[Arrival]:
        """Those of the arrivals that have settled; `now` is in seconds of a clock that never jumps."""
        self._since = {arrival: self._since.get(arrival, now) for arrival in arrivals}
        return [arrival for arrival, since in self._since.items() if now - since >= self._seconds]

    def remaining(self, now: float, until: float = math.inf) -> float | None:
        """Seconds until the next of the arrivals seen `until` then may have settled; None where there is none."""
        sinces = [since for since in self._since.values() if since <= until and now - since < self._seconds]
        left = [since + self._seconds - now for since in sinces]
        return min(left) if left else None
