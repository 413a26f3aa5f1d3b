"""Bad files are put aside, each with a sentence on why."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path, PurePosixPath

from schanger_edge.files import flush, flush_folder, write_durably, writing
from schanger_edge.watch.inbox import Arrival

REASON = ".reason.txt"


class Quarantine:
    """The folder `quarantine` of an output folder, which exists.

    Raises:
        ProductError: it cannot be written. So do all methods.
    """

    def __init__(self, output: Path) -> None:
        self.folder = output / "quarantine"
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)

    def free_name(self, arrival: Arrival) -> str:
        """A name for a bad file that no other has there: its own, or with a number."""
        path = PurePosixPath(arrival.name)
        names = [path.name, *(f"{path.stem}-{number}{path.suffix}" for number in range(2, 10_000))]
        return next(name for name in names if not (self.folder / f"{name}{REASON}").exists())

    def put(self, arrival: Arrival, name: str, reason: str) -> None:
        """Move a scene with its sidecars out of the inbox; doing it again, after a power cut, does no harm."""
        self.tell(name, reason)
        old, new = arrival.main.path.stem, PurePosixPath(name).stem
        for file in reversed(arrival.files):  # the image last: while it lies there, this is done again
            if file.path.exists():
                with writing(self.folder):
                    target = name if file is arrival.main else new + file.path.name[len(old) :]
                    _move(file.path, self.folder / target)

    def tell(self, name: str, reason: str) -> None:
        """Write why, one sentence, to NAME.reason.txt."""
        path = self.folder / f"{name}{REASON}"
        with writing(path):
            write_durably(path, reason + "\n")

    def withdraw(self, name: str) -> None:
        """What failed has succeeded since."""
        with writing(self.folder):
            (self.folder / f"{name}{REASON}").unlink(missing_ok=True)


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
