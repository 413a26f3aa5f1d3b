"""What a benchmark measures: models, devices, labelled datasets, a pair; all opened once before the long work.

What is unknown, damaged, given twice, does not open or cannot be laid on one grid is a SchangerError of one sentence.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schanger_edge._version import __version__
from schanger_edge.bench.memory import RUNS
from schanger_edge.bench.method import BLOCK_SECONDS, PAIR_RUNS, REPETITIONS, ROUNDS, WINDOW, tiles_for, timed
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.datasets.sources import SCORED, parse_source
from schanger_edge.errors import DatasetError, ModelError, ProductError, SessionError
from schanger_edge.host.board import board_name, cpu_model
from schanger_edge.model.bundled import model_path, names
from schanger_edge.model.plan import info
from schanger_edge.model.published import DATASETS
from schanger_edge.options import Options, option
from schanger_edge.progress import Progress
from schanger_edge.scene import open_pair
from schanger_edge.sessions import open_session
from schanger_edge.sessions.doctor import doctor
from schanger_edge.sessions.ort import available_cores

MAX_BATCH_SIZE = 1024
START_SECONDS = 3.0
"""Of a process with all libraries, roughly."""
LEFT_OUT = ("extra ", "engine cache", "memory", "CPU clock", "GPU clock")
"""Facts of the doctor that say nothing about speed, or that move, as clocks do; see the conditions."""


def parse_batch_sizes(text: str) -> tuple[int, ...]:
    """`1,4,8`, in rising order; ProductError where the text is no such list."""
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError:
        sizes = []
    if not sizes or not 1 <= sizes[0] <= sizes[-1] <= MAX_BATCH_SIZE:
        raise ProductError(f"--batch must be numbers from 1 to {MAX_BATCH_SIZE} such as 1,4,8, not {text!r}.")
    return tuple(sizes)


@dataclasses.dataclass(frozen=True)
class Request(Options):
    """What to measure: all bundled models where none is named; `pair` are two images for whole runs.

    Of datasets whose NAME is that of a benchmark dataset published scores are known.
    """

    title = "What is measured"
    error = ProductError

    models: tuple[str, ...] = option((), "Model files, plans or names of bundled models.", is_path=True)
    datasets: tuple[str, ...] = option(
        (),
        "Labelled data for F1: NAME=ROOT[,split=test]; repeatable, see docs/sources.md.",
        flag="--data",
        is_path=True,
    )
    pair: tuple[str, str] | None = None
    devices: tuple[str, ...] = option(("cpu",), "cpu, cuda, cuda:onnxruntime or auto; repeatable.", flag="--device")
    batch_sizes: tuple[int, ...] = option((1, 4, 8), "Tiles per call.", flag="--batch", parse=parse_batch_sizes)
    repetitions: int = option(REPETITIONS, "Timed calls per model and batch size; p99 needs 100.", at_least=1)
    pair_runs: int = option(PAIR_RUNS, "Whole runs per model on the pair.", at_least=1)
    gsd: float | None = option(
        None, "Metres per pixel, to report km2.", unit="metres per pixel", above=0, unset="the model's"
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """A model file or a plan; `facts` are what `schanger-edge info` says of it, `name` is unique."""

    name: str
    path: Path
    facts: dict[str, Any]

    @property
    def tile(self) -> int:
        """Side of a tile in pixels."""
        return int(self.facts["tile"])

    @property
    def core(self) -> int:
        """Side in pixels of a tile without its halo."""
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
        digest: of names, sizes and times of its files: whether it is still the same.
    """

    name: str
    root: Path
    split: str
    images: int
    pixels: int
    digest: str

    @property
    def label(self) -> str:
        """In tables."""
        return f"{self.name} {self.split}".removesuffix(" .")


@dataclasses.dataclass(frozen=True)
class ImagePair:
    """The pair that is asked for: the size of its grid in pixels, and what identifies its images."""

    width: int
    height: int
    identity: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Place:
    """A model on a device.

    Attributes:
        device: as it was asked for.
        model: the model.
        engine: engine, version and device in words.
        plan_sha256: of the plan it was built to; None for other engines.
        notes: what the session reported.
        slots: batches that may be under way at once.
        tile_seconds: of one tile, once warm.
    """

    device: str
    model: Model
    engine: str
    plan_sha256: str | None
    notes: tuple[str, ...]
    slots: int
    tile_seconds: float

    @property
    def key(self) -> str:
        """In the names of parts, such as `pair 0: cpu, schanger-small`."""
        return f"{self.device}, {self.model.name}"


@dataclasses.dataclass(frozen=True)
class Case:
    """A model on a device at a batch size: one line of the tables."""

    place: Place
    batch_size: int

    @property
    def key(self) -> str:
        """In the names of parts, such as `memory: cpu, schanger-small, batch 1`."""
        return f"{self.place.key}, batch {self.batch_size}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured: a request, with everything it names found and opened once."""

    request: Request
    models: Sequence[Model]
    datasets: Sequence[Labelled]
    pair: ImagePair | None
    devices: Sequence[str]
    places: Sequence[Place]
    machine: Mapping[str, Any]

    @property
    def cases(self) -> list[Case]:
        """Every model on every device at every batch size."""
        return [Case(place, size) for place in self.places for size in self.request.batch_sizes]

    @property
    def calls(self) -> int:
        """Timed calls of a block, at least."""
        return math.ceil(self.request.repetitions / ROUNDS)

    @property
    def words(self) -> str:
        """`3 models x 3 batches on cpu, 2 datasets, a pair of 4.2 megapixels`."""
        batches = counted(self.request.batch_sizes, "batch", "batches")
        words = [f"{counted(self.models, 'model')} x {batches} on {', '.join(self.devices)}"]
        words.append(counted(self.datasets, "dataset") if self.datasets else "no dataset")
        if self.pair is not None:
            words.append(f"a pair of {self.pair.width * self.pair.height / 1e6:.1f} megapixels")
        return ", ".join(words)

    def identity(self) -> dict[str, Any]:
        """All that decides about the figures."""
        places = {f"{place.model.name} on {place.device}": place for place in self.places}
        return {
            "version": __version__,
            "machine": self.machine,
            "models": {model.name: model.facts["sha256"] for model in self.models},
            "engines": {name: [place.engine, place.plan_sha256] for name, place in places.items()},
            "datasets": {entry.label: {"root": str(entry.root), "files": entry.digest} for entry in self.datasets},
            "pair": self.pair and self.pair.identity,
            "batches": list(self.request.batch_sizes),
            "repetitions": self.request.repetitions,
            "pair runs": self.request.pair_runs,
        }

    def seconds(self) -> float:
        """About how long it takes."""
        total, pixels = 0.0, sum(dataset.pixels for dataset in self.datasets)
        for case in self.cases:
            once = case.batch_size * case.place.tile_seconds
            turn = max(BLOCK_SECONDS, self.calls * once) * (2 if case.place.slots > 1 else 1)
            total += START_SECONDS + RUNS * once + 2 * WINDOW * once + ROUNDS * (turn + once)
        for place in self.places:
            model, seconds = place.model, place.tile_seconds
            total += pixels / model.tile**2 * seconds
            if self.pair is not None:
                tiles = math.ceil(self.pair.width / model.core) * math.ceil(self.pair.height / model.core)
                total += (self.request.pair_runs + 1 / len(self.places)) * (START_SECONDS + tiles * seconds)
        return total


def counted(things: Sequence[Any], one: str, many: str = "") -> str:
    """`1 model`, `3 models`."""
    return f"{len(things)} {one if len(things) == 1 else many or one + 's'}"


def find(request: Request, progress: Progress | None = None) -> Plan:
    """Find and open once everything that is named; a tile is run on each model."""
    datasets = [_labelled(text) for text in request.datasets]
    if len({entry.label for entry in datasets}) < len(datasets):
        raise DatasetError("a dataset is given twice with the same split: give it once, or under another name.")
    pair = None
    if request.pair is not None:
        with open_pair(*request.pair) as opened:
            pair = ImagePair(opened.grid.width, opened.grid.height, opened.identity())
    models, devices = find_models(request.models, progress), list(dict.fromkeys(request.devices))
    places = [_open_once(device, model, request.batch_sizes, progress) for device in devices for model in models]
    return Plan(request, models, datasets, pair, devices, places, _machine(devices))


def find_models(given: Sequence[str], progress: Progress | None = None) -> list[Model]:
    """The models by name or file; all bundled ones where none is given."""
    paths = [model_path(name, progress) for name in given or names()]
    if len({path.resolve() for path in paths}) < len(paths):
        raise ModelError("a model is given twice: name each once.")
    stems = [path.stem for path in paths]
    called = [path.stem if stems.count(path.stem) == 1 else str(path) for path in paths]
    return [Model(name, path, info(path)) for name, path in zip(called, paths, strict=True)]


def _labelled(text: str) -> Labelled:
    source = parse_source(text, SCORED, named=True, split="test")
    files = source.files()
    with Sample(files[0], LabelRule.for_files(files)) as sample:
        pixels = len(files) * sample.width * sample.height
    name = source.name.lower() if source.name.lower() in DATASETS else source.name
    stats = ((path.name, path.stat()) for entry in files for path in (*entry.images, entry.label))
    lines = "\n".join(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats)
    digest = hashlib.sha256(lines.encode()).hexdigest()[:16]
    return Labelled(name, source.root.absolute(), source.split or ".", len(files), pixels, digest)


def _open_once(device: str, model: Model, batch_sizes: Sequence[int], progress: Progress | None) -> Place:
    """Open a model, run a tile, close it."""
    with open_session(model.path, device, progress=progress) as session:
        most = session.max_batch
        if most is not None and most < batch_sizes[-1]:
            fitting = ",".join(str(size) for size in batch_sizes if size <= most) or str(most)
            raise SessionError(
                f"{model.name} takes at most {most} tiles at once on {device}, not {batch_sizes[-1]}: give --batch "
                f"{fitting}, or rebuild it with `schanger-edge build --batch`."
            )
        tiles = tiles_for(session.card.tile, 1)
        session.run(*tiles)
        took = timed(lambda: session.run(*tiles))
        identity, notes = session.identity()["plan"], tuple(session.notes)
        return Place(device, model, session.device, identity, notes, session.slots, took)


def _machine(devices: Sequence[str]) -> dict[str, Any]:
    """The hardware of each device, and versions of what decides about speed."""
    facts = {name: words for name, words in doctor().facts.items() if not name.startswith(LEFT_OUT)}
    board = facts["board"] if "JetPack" in facts else None
    chip = cpu_model(Path("/")) or board_name() or platform.machine()
    cpu = board or f"{chip}, {counted(range(available_cores()), 'core')}"
    gpu = board or facts.get("GPU", cpu).split(",")[0]
    names = {device: cpu if device == "cpu" else gpu for device in devices}
    return {"devices": names, "facts": facts | {"NumPy": np.__version__}}
