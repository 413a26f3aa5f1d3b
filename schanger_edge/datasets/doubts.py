"""What the files of a dataset leave in doubt: each kind of doubt once, however many files share it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from schanger_edge.datasets.layouts import LabelledFiles

LOOKED_AT = 500  # samples of a split, which takes a second

_NUMBERS = re.compile(r"\d+([.,]\d+)*")


class Doubts:
    """Gathers sentences about files, and joins those that differ in the file and in numbers alone."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._more: dict[str, int] = {}

    def add(self, sentences: Iterable[str], *names: object) -> None:
        """Take what is said of the files called so."""
        for sentence in sentences:
            kind = sentence
            for name in names:
                kind = kind.replace(str(name), "")
            kind = _NUMBERS.sub("", kind)
            if kind in self._first:
                self._more[kind] = self._more.get(kind, 0) + (sentence != self._first[kind])
            else:
                self._first[kind] = sentence

    @property
    def sentences(self) -> tuple[str, ...]:
        """One for each kind."""
        return tuple(
            f"{sentence} So it is with {more} more." if (more := self._more.get(kind)) else sentence
            for kind, sentence in self._first.items()
        )


def spread(files: Sequence[LabelledFiles]) -> Sequence[LabelledFiles]:
    """`LOOKED_AT` of them at most, spread over all."""
    return files[:: -(-len(files) // LOOKED_AT) or 1]
