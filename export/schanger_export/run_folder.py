"""The folder of a training run: its checkpoints, its start weights, and how it is resumed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from schanger_edge.errors import CheckpointError, DatasetError, SchangerError
from schanger_edge.model.card import Normalization, normalization_from
from schanger_edge.model.published import DATASETS
from schanger_export.checkpoints import initialize as initialize_change
from schanger_export.checkpoints import load_single_date, read_card, save_checkpoint, size_of
from schanger_export.network import SChanger
from schanger_export.options import Training, training_from
from schanger_export.state import State
from schanger_export.weights import find, resolve

LAST, BEST = "last.pth", "best.pth"
STATISTICS, DESCRIPTION = "statistics.json", "dataset.json"


def prepare(folder: Path, options: Training | None, *, resume: bool, writes: bool) -> Training:
    """The options of the run: given ones for a new run, those of its checkpoint for one that goes on.

    Raises:
        SchangerError: the folder holds a run already, or none to go on with, or one with other options.
    """
    last = folder / LAST
    if options is not None:
        if not options.data.sources:
            raise SchangerError("a new run needs training data: name at least one folder.")
        options = _completed(options)
    if resume:
        if not last.exists():
            raise CheckpointError(f"{last} does not exist: there is nothing to resume; omit --resume.")
        saved = training_from(_training_part(last)["options"])
        if options is not None and options != saved:
            theirs = saved.as_dict()
            names = [name for name, value in options.as_dict().items() if value != theirs[name]]
            raise CheckpointError(
                f"{last} was made with a different {', '.join(names)}: omit these options to continue as begun, or "
                "choose another folder."
            )
        return saved
    if last.exists() or (folder / BEST).exists():
        raise CheckpointError(f"{folder} already holds a run: continue it with --resume, or choose another folder.")
    if options is None:
        raise SchangerError("a new run needs training data: name at least one folder.")
    if writes:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SchangerError(f"{folder} cannot be created ({error.strerror}): choose another folder.") from error
    return options


def _completed(options: Training) -> Training:
    """Options with the size of the start weights, and GSD and name of the data from `ROOT/dataset.json`, filled in."""
    if options.network.size is None:
        init = options.network.init
        options = options.replace(size=size_of(resolve(init)) if init else "small")
    try:
        values = json.loads((options.sources()[0].root / DESCRIPTION).read_text())
        gsd, name = values.get("gsd"), values.get("name")
    except (OSError, ValueError, AttributeError):
        return options
    facts = options.facts
    gsd = facts.gsd if facts.gsd is not None or not isinstance(gsd, int | float) else float(gsd)
    return options.replace(gsd=gsd, dataset=facts.dataset or (str(name) if name else None))


def save(path: Path, options: Training, normalization: Normalization, state: State) -> None:
    """Write a checkpoint with all state; its `state_dict` holds the weights to use.

    These are the averaged ones; of pre-training the raw ones, which the authors hand on too.
    """
    weights = state.average if options.dates == 2 else state.network
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
    save_checkpoint(path, weights.state_dict(), card=card, training={"options": options.as_dict(), **state.as_dict()})


def restore(folder: Path, state: State, device: torch.device) -> None:
    """Put the state of the last checkpoint back, where there is one."""
    last = folder / LAST
    if not last.exists():
        return
    try:
        state.restore(_training_part(last, device))
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{last} does not hold a complete training state ({error}): start a new run.") from error


def is_best(state: State) -> bool:
    """Whether the averaged weights score higher than all before; without a validation the last are the best."""
    return state.f1 is None or state.best_f1 is None or state.f1 > state.best_f1


def initialize(network: nn.Module, options: Training) -> None:
    """Start weights into a fresh network.

    Raises:
        CheckpointError: they do not fit: of a network for pairs only temporal fusion may be missing.
    """
    path = resolve(str(options.network.init), options.size)
    if isinstance(network, SChanger):
        initialize_change(network, path)
    else:
        prior = load_single_date(path, options.size, drop_fusion=True)
        network.load_state_dict(prior.state_dict())


def normalization(options: Training) -> Normalization:
    """Colour statistics: those given, else those of change-detection start weights, else `ROOT/statistics.json`.

    Raises:
        DatasetError: there are none.
    """
    if options.data.normalization is not None:
        return options.data.normalization
    if options.network.init and options.dates == 2:
        found = find(options.network.init, options.size)
        card = {**read_card(found.path), **found.card}
        if (known := DATASETS.get(str(card.get("dataset", "")).lower())) and not card.get("normalization"):
            return known.normalization
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


def _training_part(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        part: dict[str, Any] = content["training"]
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error.strerror}).") from error
    except Exception as error:  # bytes that are no torch file fail in torch.load in many ways
        raise CheckpointError(f"{path} is not a checkpoint of a training run: choose another folder.") from error
    return part
