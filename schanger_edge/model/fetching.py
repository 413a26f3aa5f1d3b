"""Published models by name: made on this machine once, from the published weights, then kept in the user's cache."""

from __future__ import annotations

import logging
from pathlib import Path

from schanger_edge.errors import ModelError, extra
from schanger_edge.files import OTHER_CACHE, cache_folder, locked
from schanger_edge.model.file import read_model
from schanger_edge.model.published import MODELS, PAGE
from schanger_edge.progress import Progress

LOG = logging.getLogger(__name__)
PAIRS = 1
"""Pairs of tiles to compare with the network, each seconds of work: the tests of the graph look at more."""


def cached(name: str) -> Path | None:
    """The file of a published model, or None where it was not made yet or is damaged."""
    path = _place(name)
    try:
        return read_model(path).path
    except ModelError:
        return None


def fetched(name: str, progress: Progress | None = None) -> Path:
    """The file of a published model, made first where it is not yet there; one line of the log says so.

    Args:
        name: a key of `published.MODELS`.
        progress: called with (stage, done, total): `fetch` in bytes, then `check`; None shows the client's own bar.

    Raises:
        CheckpointError: the weights can't be fetched.
        ModelError: the model can't be kept, or it differs from the network.
        SchangerError: a package of the extra `models` is missing.
    """
    if found := cached(name):
        return found
    target = _place(name)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = locked(target.with_name(f".{target.name}.lock"), None)
    except OSError as error:
        raise ModelError(
            f"the model cache {target.parent} cannot be written ({error.strerror}): {OTHER_CACHE}"
        ) from error
    try:
        return cached(name) or _made(name, target, progress)  # another process may have made it meanwhile
    finally:
        lock.release()


def _place(name: str) -> Path:
    dataset, size = MODELS[name]
    return cache_folder("model", ModelError) / f"schanger-{size}-{dataset.name}.onnx"


def _made(name: str, target: Path, progress: Progress | None) -> Path:
    with extra("models"):
        from schanger_export.to_onnx import export
        from schanger_export.weights import find

    notify = progress or (lambda *_: None)
    weights = find(name, progress=progress)
    notify("check", 0, PAIRS)
    report = export(weights.path, None, target, known=weights.card, tiles=PAIRS)
    notify("check", PAIRS, PAIRS)
    difference = f"largest difference {report.largest_difference:.0e}"
    LOG.info(f"{name}: weights from {PAGE}, model built and checked ({difference}); kept, also for offline: {target}")
    return target
