"""What a benchmark is asked for: models, labelled datasets, a pair; looked at before anything long begins."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schanger_edge.datasets.benchmarks import DATASETS, BenchmarkDataset
from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.datasets.sources import SCORED, parse_source
from schanger_edge.errors import DatasetError, ModelError, ProductError
from schanger_edge.model.bundled import model_path, names
from schanger_edge.model.info import info
from schanger_edge.scene import open_pair

BATCHES = (1, 4, 8)
MAX_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class Model:
    """A model file or a plan.

    Attributes:
        name: how tables call it, unlike all others.
        path: the file.
        facts: what `schanger-edge info` tells of it.
    """

    name: str
    path: Path
    facts: dict[str, Any]

    @property
    def tile(self) -> int:
        """Side of a tile in pixels."""
        return int(self.facts["tile"])

    @property
    def core(self) -> int:
        """Side in pixels of what a tile owns."""
        return self.tile - 2 * int(self.facts["halo"])


@dataclasses.dataclass(frozen=True)
class Labelled:
    """One split of a labelled dataset.

    Attributes:
        name: of one of the six benchmark datasets, or any other.
        root: its folder.
        split: which.
        images: how many pairs.
        pixels: of all of them, if all are as large as the first.
        digest: names, sizes and times of its files, which tell whether it is still the same.
    """

    name: str
    root: Path
    split: str
    images: int
    pixels: int
    digest: str

    @property
    def label(self) -> str:
        """As tables call it."""
        return f"{self.name} {self.split}".removesuffix(" .")

    @property
    def published(self) -> BenchmarkDataset | None:
        """What was published on it; None where it is none of the six."""
        return DATASETS.get(self.name)


@dataclasses.dataclass(frozen=True)
class ImagePair:
    """Two images of one place; pixels of their grid, and its metres per pixel."""

    before: str
    after: str
    width: int
    height: int
    gsd: float | None
    identity: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the tables."""

    device: str
    model: Model
    batch: int

    @property
    def key(self) -> str:
        return f"{self.device}, {self.model.name}, batch {self.batch}"


def find_models(given: Sequence[str]) -> list[Model]:
    """The models by name or file; all bundled ones where none is given.

    Raises:
        SchangerError: one is unknown, damaged, or given twice.
    """
    paths = [model_path(name) for name in given or names()]
    if len({path.resolve() for path in paths}) < len(paths):
        raise ModelError("a model is given twice: give each once.")
    stems = [path.stem for path in paths]
    called = [path.stem if stems.count(path.stem) == 1 else str(path) for path in paths]
    return [Model(name, path, info(path)) for name, path in zip(called, paths, strict=True)]


def find_datasets(given: Sequence[str]) -> list[Labelled]:
    """Datasets as `sources.SCORED` says, with a name: `NAME=ROOT[,split=test]`.

    Raises:
        DatasetError: a text is no such thing, the split is incomplete or without labels, or given twice.
    """
    found = [_labelled(text) for text in given]
    labels = [entry.label for entry in found]
    if len(set(labels)) < len(labels):
        raise DatasetError("a dataset is given twice with the same split: give it once, or another name.")
    return found


def find_pair(given: Sequence[str] | None) -> ImagePair | None:
    """The pair, opened once to see that it fits.

    Raises:
        SceneError: an image cannot be opened, or the two cannot be laid on one grid.
    """
    if given is None:
        return None
    before, after = given
    with open_pair(before, after) as pair:
        grid = pair.grid
        return ImagePair(before, after, grid.width, grid.height, grid.gsd, pair.identity())


def parse_batches(text: str) -> tuple[int, ...]:
    """`1,4,8`, in rising order.

    Raises:
        ProductError: the text is no such list.
    """
    try:
        batches = sorted({int(part) for part in text.split(",")})
    except ValueError:
        batches = []
    if not batches or not 1 <= batches[0] <= batches[-1] <= MAX_BATCH:
        raise ProductError(f"--batch needs numbers from 1 to {MAX_BATCH} such as 1,4,8, not {text!r}.")
    return tuple(batches)


def check_numbers(repetitions: int, pair_runs: int, gsd: float | None) -> None:
    """Raise a ProductError where an option is out of its range."""
    if repetitions < 1 or pair_runs < 1:
        raise ProductError("--repetitions and --pair-runs must be at least 1.")
    if gsd is not None and not 0 < gsd < math.inf:
        raise ProductError(f"--gsd must be a positive number of metres per pixel, not {gsd}.")


def _labelled(text: str) -> Labelled:
    source = parse_source(text, SCORED, named=True, split="test")
    if not source.split:
        raise DatasetError(f"--dataset needs NAME=ROOT or NAME=ROOT,split=val, not {text!r}.")
    files = source.files()
    with Sample(files[0], LabelRule.for_files(files)) as sample:
        pixels = len(files) * sample.width * sample.height
    name = source.name.lower() if source.name.lower() in DATASETS else source.name
    return Labelled(name, source.root.absolute(), source.split, len(files), pixels, _digest(files))


def _digest(files: Sequence[LabelledFiles]) -> str:
    lines = []
    for entry in files:
        for path in (*entry.images, entry.label):
            state = path.stat()
            lines.append(f"{path.name} {state.st_size} {state.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
