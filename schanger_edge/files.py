"""Files that appear under their name whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from schanger_edge.errors import SchangerError


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file that fits into memory."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def replacing(path: Path, error_class: type[SchangerError], *errors: type[Exception]) -> Iterator[Path]:
    """A temporary name in the folder of `path`, which becomes `path` if the block succeeds and vanishes if it fails.

    Args:
        path: the file, replaced where it exists.
        error_class: what to raise where the file cannot be written.
        errors: kinds of exception besides OSError that mean so.

    Raises:
        SchangerError: of the class given, where the system refuses to write.
    """
    kinds: tuple[type[Exception], ...] = (OSError, *errors)
    temporary = path.parent / f".{path.stem}.{secrets.token_hex(4)}{path.suffix}"
    try:
        temporary.touch()  # a folder that cannot be written fails here, before the work
        yield temporary
        os.replace(temporary, path)
    except kinds as error:
        reason = getattr(error, "strerror", None) or error.__cause__ or error
        raise error_class(
            f"{path} cannot be written ({reason}): choose a folder that exists, may be written and has room."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
