"""Composes a model card: options come first, then the checkpoint's own card, the weights' name, and the defaults.

A dataset that is unknown is a DatasetError; a value or file that is wrong or missing is a ModelError.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from schanger_edge._version import __version__
from schanger_edge.errors import ModelError
from schanger_edge.model.card import ModelCard, Normalization, normalization_from
from schanger_edge.model.published import DATASETS
from schanger_edge.model.published import dataset as benchmark_dataset

PRODUCER = "schanger-edge"
TILE, HALO, THRESHOLD = 256, 32, 0.5


def compose_card(
    known: Mapping[str, Any], options: Mapping[str, Any], dataset: str | None, normalization: Path | None
) -> ModelCard:
    """The card of a model.

    What is `known` is a card's entries, any of which may be missing, see `checkpoints.CARD`. The options are the same,
    with `size` and `weights_sha256`, and take precedence unless they are None. A benchmark dataset replaces what is
    known of the data, a JSON file `normalization` the colour statistics.
    """
    if dataset is not None and normalization is not None:
        raise _one_normalization("both")
    facts = _holding(known, dataset, normalization)
    facts |= {key: value for key, value in options.items() if value is not None}
    if dataset is not None:
        facts["dataset"] = benchmark_dataset(dataset).name
    statistics = _statistics(facts) if normalization is None else read_normalization(normalization)
    benchmark = DATASETS.get(facts.get("dataset", "").lower())
    tile = facts.get("tile", TILE)
    return ModelCard(
        name=facts.get("name") or f"schanger-{facts['size']}" + (f"-{benchmark.name}" if benchmark else ""),
        size=facts["size"],
        dataset=facts.get("dataset") or "not stated",
        tile=tile,
        halo=facts.get("halo", min(HALO, tile // 8)),
        threshold=facts.get("threshold", THRESHOLD),
        gsd=facts.get("gsd", benchmark.gsd if benchmark else None),
        normalization=statistics,
        weights_sha256=facts["weights_sha256"],
        scores=facts.get("scores", {}),
        producer=f"{PRODUCER} {__version__}",
        license=facts.get("license", ""),
        tiling=facts.get("tiling", "") if options.get("tile") is options.get("halo") is None else "",
    )


def converted_card(
    card: ModelCard,
    precision: str,
    parent_sha256: str,
    calibration: Mapping[str, Any] | None = None,
    kept_fp32: Iterable[str] = (),
) -> ModelCard:
    """The card of a model that was converted from the one with this card: the parent's scores don't hold for it."""
    return dataclasses.replace(
        card,
        precision=precision,
        parent_sha256=parent_sha256,
        kept_fp32=tuple(kept_fp32),
        calibration=dict(calibration or {}),
        scores={},
        producer=f"{PRODUCER} {__version__}",
    )


def read_normalization(path: Path) -> Normalization:
    """Colour statistics of both dates from a JSON file."""
    try:
        return normalization_from(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ModelError(
            f"normalization file {path} cannot be read ({error.strerror}): give the path of a JSON file."
        ) from error
    except ValueError as error:
        raise ModelError(f"normalization file {path} is not valid JSON ({error}): correct it.") from error
    except ModelError as error:
        raise ModelError(f"normalization file {path} is wrong: {error}") from error


def _holding(known: Mapping[str, Any], dataset: str | None, normalization: Path | None) -> dict[str, Any]:
    """The known entries that another dataset or other statistics do not invalidate."""
    gone: set[str] = set()
    if normalization is not None:
        gone = {"normalization", "scores", "tiling"}
    elif dataset is not None:
        gone = {"normalization", "scores", "dataset", "gsd", "name", "tiling"}
    return {key: value for key, value in known.items() if key not in gone}


def _statistics(facts: Mapping[str, Any]) -> Normalization:
    """Colour statistics by what is known: its own, or those of its benchmark dataset."""
    if "normalization" in facts:
        try:
            return normalization_from(facts["normalization"])
        except ModelError as error:
            raise ModelError(f"the checkpoint's card is invalid: {error}") from error
    benchmark = DATASETS.get(facts.get("dataset", "").lower())
    if benchmark is None:
        raise _one_normalization("neither")
    return benchmark.normalization


def _one_normalization(given: str) -> ModelError:
    return ModelError(
        f"give either the dataset that the weights were trained on or a file with its normalization, not {given}."
    )
