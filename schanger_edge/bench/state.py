"""The finished parts of a benchmark, kept beside its results: after an interruption the same command goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from schanger_edge.errors import ProductError
from schanger_edge.files import replacing
from schanger_edge.products.journal import differences

UNFINISHED = "bench.unfinished.json"


def part(kind: str, *of: str) -> str:
    """The name of a part, such as `memory: cpu, schanger-small, batch 1`."""
    return f"{kind}: {', '.join(of)}"


class State:
    """Parts of a benchmark by name, each on the disk as soon as it is finished.

    Args:
        folder: of the results; made where it is absent.
        identity: all that decides about the figures: files, devices, options, versions. JSON.
        restart: drop what an interrupted benchmark left.

    Raises:
        ProductError: what is left there is of another benchmark, or the folder cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, restart: bool = False) -> None:
        self._path = folder / UNFINISHED
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._parts: dict[str, Any] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if restart:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise ProductError(
                f"{folder} cannot be created or written ({error.strerror}): choose another folder."
            ) from error
        self._take_over()

    @property
    def finished(self) -> int:
        """Number of finished parts."""
        return len(self._parts)

    def get(self, name: str) -> Any:
        """A finished part; None where it is not finished."""
        return self._parts.get(name)

    def put(self, name: str, value: Any) -> None:
        """Keep a part.

        Raises:
            ProductError: the disk is full or gone.
        """
        self._parts[name] = value
        self._write()

    def once(self, name: str, measure: Callable[[], Any]) -> None:
        """Measure a part and keep it, unless it is finished."""
        if name not in self._parts:
            self.put(name, measure())

    def discard(self) -> None:
        """The results are written: nothing is left to be continued."""
        self._path.unlink(missing_ok=True)

    def _take_over(self) -> None:
        if not self._path.exists():
            self._write()
            return
        try:
            left = json.loads(self._path.read_text(encoding="utf-8"))
            was, parts = left["identity"], left["parts"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProductError(f"{self._path} is damaged: start over with --restart.") from error
        different = differences(was, self._identity) if parts else ""
        if different:
            raise ProductError(
                f"the unfinished benchmark in {self._path.parent} has other settings ({different}): repeat the same "
                "command, or discard it with --restart."
            )
        self._parts = parts

    def _write(self) -> None:
        with replacing(self._path, ProductError) as temporary:
            temporary.write_text(json.dumps({"identity": self._identity, "parts": self._parts}), encoding="utf-8")
