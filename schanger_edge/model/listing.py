"""Every model that can be named, and what helps to choose one."""

from __future__ import annotations

import dataclasses

from schanger_edge.errors import ModelError
from schanger_edge.model.bundled import model_path, names
from schanger_edge.model.fetching import cached
from schanger_edge.model.file import read_model
from schanger_edge.model.published import LICENSE, MODELS, VALUES, BenchmarkDataset


@dataclasses.dataclass(frozen=True)
class Listed:
    """One model.

    Attributes:
        name: as `--model` takes it.
        where: `bundled`, `fetched`, or `published` where it was not yet fetched.
        size: the network.
        bytes: of the model file; of the download where it was not yet fetched.
        license: of the weights.
        f1: in percent, by data set and split; that of published models is their authors'.
        trained_on: a dataset, or a sentence.
        gsd: metres per pixel of the training images, finest and coarsest; None where unknown.
        sensor: what took them, in words; None where `trained_on` says it.
        off_nadir: whether they were taken at an angle; None where `trained_on` says it.
        change: what the training data calls change, in words; None where `trained_on` says it.
        file: on this disk; None where it was not yet fetched.
    """

    name: str
    where: str
    size: str
    bytes: int
    license: str
    f1: dict[str, float]
    trained_on: str
    gsd: tuple[float, float] | None
    sensor: str | None = None
    off_nadir: bool | None = None
    change: str | None = None
    file: str | None = None


def listing() -> list[Listed]:
    """Bundled models first, then all published ones."""
    return [*map(_bundled, names()), *(_published(name, *MODELS[name]) for name in MODELS)]


def _bundled(name: str) -> Listed:
    path = model_path(name)
    card = read_model(path).card
    return Listed(
        name=name,
        where="bundled",
        size=card.size,
        bytes=path.stat().st_size,
        license=card.license,
        f1={data: round(100 * scores["f1"], 2) for data, scores in card.scores.items() if "f1" in scores},
        trained_on=card.dataset,
        gsd=None if card.gsd is None else (card.gsd, card.gsd),
        file=str(path),
    )


def _published(name: str, dataset: BenchmarkDataset, size: str) -> Listed:
    try:
        path = cached(name)
    except ModelError:  # no home folder, no cache
        path = None
    return Listed(
        name=name,
        where="published" if path is None else "fetched",
        size=size,
        bytes=4 * VALUES[size] if path is None else path.stat().st_size,
        license=LICENSE,
        f1={f"{dataset.name}/test": dataset.checkpoint_f1[size]},
        trained_on=dataset.name,
        gsd=dataset.gsd_range,
        sensor=dataset.sensor,
        off_nadir=dataset.off_nadir,
        change=dataset.change,
        file=None if path is None else str(path),
    )
