"""The language of sources, in which commands are told where tiles come from: `[NAME=]PLACE[,key=value]...`.

PLACE is a folder, a list of pairs (.csv), or two images, BEFORE,AFTER. See docs/sources.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from schanger_edge.datasets.layouts import LabelledFiles, pair_files, single_date_files
from schanger_edge.errors import DatasetError
from schanger_edge.options import series

FOLDER, LIST, IMAGES = "a folder", "a list", "two images"
Takes = Mapping[str, tuple[str, ...]]
"""The kinds of place that a command takes, with an example of each of their keys."""

_CROPS = ("repeat=2", "scale=0.8:1.25", "glob=*.png", "label=auto")
TRAINING: Takes = {FOLDER: ("split=val", *_CROPS)}
SINGLE_DATES: Takes = {FOLDER: ("masks=DIR", *_CROPS)}
TILES: Takes = {IMAGES: ("label=FILE", "gsd=0.5"), LIST: (), FOLDER: ("split=val", "glob=*.png", "label=auto")}
SCORED: Takes = {FOLDER: ("split=val",)}

_WRITTEN = {FOLDER: "ROOT", LIST: "PAIRS.csv", IMAGES: "BEFORE,AFTER"}


@dataclasses.dataclass(frozen=True)
class Source:
    """Where tiles come from.

    Attributes:
        place: a folder, a list of pairs, or the first of two images.
        after: the second of two images.
        name: what results call it.
        split: of a folder of pairs: `train`, `val`, `test`; empty or "." where the folder itself holds the images.
        label: of two images, their label's file; of a folder, which values of a label count, see
            `LabelRule.for_files`.
        gsd: metres per pixel to resample two images to; None keeps their own.
        masks: folder of the masks, where a folder of single dates holds the images alone.
        glob: file names of a folder that take part.
        repeat: crops of each image in an epoch.
        scale: (smallest, largest) side of a crop in tiles, drawn log-uniformly; it is resized to one tile.
    """

    place: str
    after: str = ""
    name: str = ""
    split: str = "train"
    label: str = ""
    gsd: float | None = None
    masks: Path | None = None
    glob: str = "*"
    repeat: int = 1
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def kind(self) -> str:
        """FOLDER, LIST or IMAGES."""
        if self.after:
            return IMAGES
        return LIST if self.root.suffix.lower() == ".csv" and not self.root.is_dir() else FOLDER

    @property
    def root(self) -> Path:
        """The folder or the list."""
        return Path(self.place)

    def files(self, dates: int = 2) -> list[LabelledFiles]:
        """The labelled files of a folder of pairs, or of single dates.

        Raises:
            DatasetError: the folders do not hold what they should.
        """
        found = pair_files(self.root, self.split) if dates == 2 else single_date_files(self.root, self.masks)
        files = [entry for entry in found if entry.images[0].match(self.glob)]
        if not files:
            raise DatasetError(f"{self.root} holds no image named like {self.glob!r}: correct glob=.")
        return files


def parse_source(text: str, takes: Takes, *, named: bool = False, split: str = "train") -> Source:
    """Read a source.

    Args:
        text: as the user wrote it.
        takes: what the command takes.
        named: whether it begins with `NAME=`.
        split: where the text names none.

    Raises:
        DatasetError: it cannot be read, or names a place or key that the command does not take.
    """
    name, _, rest = text.partition("=") if named else ("", "", text)
    first, *parts = rest.split(",")
    if not first or (named and not name):
        raise DatasetError(f"source {text!r} needs {usage(takes, named=named)}.")
    values = dict(part.partition("=")[::2] for part in parts if "=" in part)
    places = _places(text, [first, *(part for part in parts if "=" not in part)], takes)
    source = Source(places[0], "".join(places[1:]), name=name, split=split)
    keys = [example.partition("=")[0] for example in takes[source.kind]]
    for key in values:
        if key not in keys:
            take = f"{source.kind} {'take' if source.after else 'takes'} {series(keys) or 'no key'}"
            raise DatasetError(f"source {text!r}: {take} here, not {key}.")
    read = {key: _value(text, key, value) for key, value in values.items()}
    if source.kind == FOLDER and "label" in read:
        read["label"] = read["label"].replace("+", ",")
    return dataclasses.replace(source, **read)


def usage(takes: Takes, *, named: bool = False) -> str:
    """How a source is written, such as `PAIRS.csv or ROOT[,split=val][,glob=*.png]`."""
    name = "NAME=" if named else ""
    keys = {kind: "".join(f"[,{example}]" for example in examples) for kind, examples in takes.items()}
    return series([f"{name}{_WRITTEN[kind]}{keys[kind]}" for kind in takes], "or")


def _places(text: str, names: Sequence[str], takes: Takes) -> tuple[str, ...]:
    """The place, or the two images; commas belong to the name where a folder or a list is called so."""
    whole = ",".join(names)
    path = Path(whole)
    if FOLDER in takes and path.is_dir():
        return (whole,)
    if LIST in takes and path.suffix.lower() == ".csv" and (len(names) == 1 or path.is_file()):
        return (whole,)
    if len(names) == 2 and all(names) and IMAGES in takes:
        return tuple(names)
    if len(names) == 1 and takes.keys() == {FOLDER} and path.suffix.lower() != ".csv":
        return (whole,)  # who looks for its files says what is missing
    kinds = [kind for kind in _WRITTEN if kind in takes]
    is_none = f"neither {' nor '.join(kinds)}" if len(kinds) > 1 else f"not {kinds[0]}"
    raise DatasetError(
        f"source {text!r} is {is_none}: write {usage(takes)}"
        f"{'; images with a comma in their names must stand in a list' if IMAGES in takes else ''}."
    )


def _scale(value: str) -> tuple[float, float]:
    low, high = (float(number) for number in value.split(":"))
    return low, high


_READ: dict[str, tuple[Callable[[str], Any], Callable[[Any], bool], str]] = {
    "repeat": (int, lambda number: number >= 1, "a whole number, at least 1"),
    "scale": (
        _scale,
        lambda sides: 0 < sides[0] <= sides[1] < math.inf,
        "the smallest and the largest side of a crop in tiles, such as 0.8:1.25",
    ),
    "gsd": (float, lambda number: 0 < number < math.inf, "metres per pixel"),
    "masks": (lambda value: Path(value) if value else None, lambda _: True, "a folder"),
}
"""How a value is read, whether it is fine, and what is wanted, in words; other keys take any text."""


def _value(text: str, key: str, value: str) -> Any:
    read, fine, wanted = _READ.get(key, (str, lambda _: True, ""))
    try:
        found = read(value)
        if fine(found):
            return found
    except ValueError:
        pass
    raise DatasetError(f"source {text!r} has {key}={value}: it must be {wanted}.")
