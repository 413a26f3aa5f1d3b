"""The folder of a training run: its checkpoints, and how it is resumed.

A folder that cannot be made, is in use by another process, or holds another run or none to go on with, is a
SchangerError of one sentence.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from schanger_edge import files
from schanger_edge.datasets.sources import parse_source
from schanger_edge.errors import CheckpointError, DatasetError, SchangerError
from schanger_edge.files import PREFIX
from schanger_edge.model.card import Normalization, normalization_from
from schanger_edge.model.published import DATASETS
from schanger_export.checkpoints import as_tensors, load, read_card, save_checkpoint, size_of
from schanger_export.options import Training, training_from
from schanger_export.recipe import State
from schanger_export.weights import find, resolve

LAST, BEST = "last.pth", "best.pth"
STATISTICS, DESCRIPTION = "statistics.json", "dataset.json"
PLACES = ("sources", "validation")
"""Options that may differ when a run goes on: the data may have moved."""


@contextlib.contextmanager
def held(folder: Path, *, resume: bool, writes: bool) -> Iterator[None]:
    """The folder, made where it does not exist, for one run alone."""
    if resume:
        saved_options(folder)
    refusal = f"another training uses {folder}: wait for it, or choose another folder."
    with files.held(folder, f"{PREFIX}lock", refusal) if writes else contextlib.nullcontext():
        yield


def prepare(folder: Path, options: Training | None, *, resume: bool) -> Training:
    """The options of the run: given ones for a new run, those of its checkpoint for one that goes on."""
    if resume:
        saved = saved_options(folder)
        return saved if options is None else _continued(saved, options, unfinished(folder))
    if options is None or not options.data.sources:
        raise SchangerError("a new run needs training data: name at least one folder.")
    if unfinished(folder).exists():
        raise CheckpointError(f"{folder} already holds a run: continue it with --resume, or choose another folder.")
    return _completed(options)


def saved_options(folder: Path) -> Training:
    """Those of the run in a folder."""
    path = unfinished(folder)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: there is nothing to resume; omit --resume.")
    return training_from(_training_part(path)["options"])


def unfinished(folder: Path) -> Path:
    """The checkpoint to go on with, which may not exist; best.pth where a run was killed before its first last.pth."""
    last, best = folder / LAST, folder / BEST
    return best if best.exists() and not last.exists() else last


def _continued(saved: Training, options: Training, last: Path) -> Training:
    """The saved options with the places that are given; validation moves along with the data it belongs to."""
    given = _placed(options).values()
    asked = saved.replace(**{name: value for name, value in given.items() if value not in (None, ())})
    if not options.data.validation:
        moved = {str(old.root): str(new.root) for old, new in zip(saved.sources(), asked.sources(), strict=False)}
        asked = asked.replace(validation=tuple(moved.get(text, text) for text in saved.data.validation))
    theirs = saved.as_dict()
    names = [name for name, value in asked.as_dict().items() if value != theirs[name] and name not in PLACES]
    if names:
        raise CheckpointError(
            f"{last} was made with a different {', '.join(names)}: omit these options to continue as begun, or "
            "choose another folder."
        )
    return asked


def _placed(options: Training) -> Training:
    """The same with sources that mean the same in every folder."""

    def absolute(text: str) -> str:
        place = parse_source(text, options.takes).place
        if text.startswith(place):
            text = os.path.abspath(place) + text[len(place) :]
        return re.sub(r"(?<=,masks=)[^,]+", lambda found: os.path.abspath(found[0]), text)

    return options.replace(**{name: tuple(map(absolute, getattr(options.data, name))) for name in PLACES})


def _completed(options: Training) -> Training:
    """The same with absolute paths, the size of the start weights, and GSD and name from `ROOT/dataset.json`."""
    options = _placed(options)
    if options.network.size is None:
        init = options.network.init
        options = options.replace(size=size_of(resolve(init)) if init else "small")
    values, facts = files.read_json(options.sources()[0].root / DESCRIPTION), options.facts
    gsd, name = values.get("gsd"), values.get("name")
    gsd = facts.gsd if facts.gsd is not None or not isinstance(gsd, int | float) else float(gsd)
    return options.replace(gsd=gsd, dataset=facts.dataset or (str(name) if name else None))


def weights_to_use(options: Training, state: State) -> nn.Module:
    """The averaged ones; of pre-training the raw ones, which the authors hand on too."""
    return state.average if options.dates == 2 else state.network


def save(path: Path, options: Training, normalization: Normalization, state: State, data: str) -> None:
    """Write a checkpoint with all state and the digest of the data; its `state_dict` holds the weights to use."""
    weights = weights_to_use(options, state)
    scores = {"validation": {"f1": round(state.f1, 4)}} if state.f1 is not None else {}
    card = {
        "task": options.task,
        "size": options.size,
        "dataset": options.facts.dataset or ", ".join(source.root.name for source in options.sources()),
        "normalization": dataclasses.asdict(normalization),
        "gsd": options.facts.gsd,
        "scores": scores,
        "license": options.facts.license or "",
    }
    # Tuples become lists and back: only plain values are read again.
    card = json.loads(json.dumps(card))
    save_checkpoint(
        path, weights.state_dict(), card=card, training={"options": options.as_dict(), "data": data, **state.as_dict()}
    )


def restore(folder: Path, state: State, data: str) -> None:
    """Put the state of the last checkpoint back, where there is one."""
    last = unfinished(folder)
    if not last.exists():
        return
    saved = _training_part(last)
    if saved.get("data", data) != data:
        raise CheckpointError(
            f"{last} was made from other data, whose images have other names or labels: name the same data, or choose "
            f"another folder and start from these weights with --init {last}."
        )
    try:
        state.restore(as_tensors(saved))
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{last} does not hold a complete training state ({error}): start a new run.") from error


def is_best(state: State) -> bool:
    """Whether no weights before score higher; where there is no score, the last are the best."""
    return state.f1 is None or state.best_f1 is None or state.f1 >= state.best_f1


def normalization(folder: Path, options: Training) -> Normalization:
    """Colour statistics: those of the run that goes on, else those given, of the start weights, of the data.

    Of start weights only if they are for pairs; of the data in `ROOT/statistics.json`.
    """
    last = unfinished(folder)
    if last.exists() and (known := read_card(last).get("normalization")):
        return normalization_from(known)
    if options.data.normalization is not None:
        return options.data.normalization
    if options.network.init and options.dates == 2:
        found = find(options.network.init, options.size)
        card = {**read_card(found.path), **found.card}
        published = DATASETS.get(str(card.get("dataset", "")).lower())
        if published and not card.get("normalization"):
            return published.normalization
        if card.get("normalization") and card.get("task", "change") == "change":
            return normalization_from(card["normalization"])
    root = options.sources()[0].root
    try:
        values = json.loads((root / STATISTICS).read_text())
    except (OSError, ValueError):
        raise DatasetError(
            f"{root / STATISTICS} is missing: run schanger-edge statistics "
            f"{root}{' --single' if options.dates == 1 else ''} -o {root / STATISTICS}, or use --normalization FILE."
        ) from None
    return normalization_from(values)


def _training_part(path: Path) -> dict[str, Any]:
    try:
        content = load(path)
        part: dict[str, Any] = content["training"]
        part["options"]
    except (CheckpointError, KeyError, TypeError, IndexError) as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise CheckpointError(f"{path} is not a checkpoint of a training run: choose another folder.") from error
    return part
