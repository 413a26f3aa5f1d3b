"""The contract of a model file: tensor names, types and shapes, and the card that travels in its metadata.

A model takes `before` and `after`, uint8 (N, 3, T, T) RGB, and gives `probability`, float32 (N, 1, T, T) in 0-1.
Normalization, sigmoid and everything between are inside the graph. N is dynamic. T is the card's tile; where the graph
leaves height and width open, `PUBLISHED_TILE` too, for scenes that the card's tile is too large for.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from schanger_edge.errors import ModelError
from schanger_edge.model.decision import check_threshold

METADATA_KEY = "schanger_edge"
"""Key in the ONNX `metadata_props` under which the card is stored as JSON."""

INPUT_NAMES = ("before", "after")
OUTPUT_NAME = "probability"
TILE_MULTIPLE = 16
PUBLISHED_TILE = 256
"""Of the article's networks, which its test protocol is defined for."""


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Per-channel mean and standard deviation (R, G, B) of one date, on pixel values scaled to 0-1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ModelError("normalization needs three means and three standard deviations per date (R, G, B).")
        if not all(0 <= m <= 1 for m in self.mean) or not all(0 < s <= 1 for s in self.std):
            raise ModelError(
                "normalization must be on pixel values scaled to 0-1: means in 0-1, standard deviations in (0, 1]."
            )

    @property
    def mean_color(self) -> tuple[int, int, int]:
        """The mean as uint8 RGB: what fills invalid pixels, so that they are about zero after normalization."""
        r, g, b = (round(m * 255) for m in self.mean)
        return r, g, b


@dataclasses.dataclass(frozen=True)
class Normalization:
    """The statistics of the two dates; each date is normalized with its own."""

    before: Statistics
    after: Statistics

    @property
    def mean_colors(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """What fills pixels without data, of each date."""
        return self.before.mean_color, self.after.mean_color


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What a model file says of itself.

    Attributes:
        name: the model's name, such as `schanger-small`.
        size: the network, `small` or `base`; other words for networks that are not SChanger.
        dataset: what the weights were trained on, in words or a dataset's name.
        tile: T, height and width in pixels of the tiles the model is meant for, a multiple of 16.
        halo: context in pixels on each side of a core; tiles are blended over half of it, the rest is dropped.
        tiling: why this tile and halo, in words; empty where nobody measured.
        threshold: a pixel is change where its probability is greater.
        gsd: ground sample distance of the training images, metres per pixel; None where unknown.
        normalization: colour statistics of the two dates, as built into the graph.
        weights_sha256: hash of the checkpoint the model was made from; empty where there was none.
        bands: meaning of the three channels.
        precision: `fp32`, `fp16`, `int8` or `int8+fp16`.
        parent_sha256: hash of the model file this one was converted from; empty for a first export.
        kept_fp32: names of the nodes that stay FP32 in an FP16 model, for their range or precision; empty otherwise.
        calibration: method, set hash and measured scores of an INT8 model; empty otherwise.
        scores: measured accuracy by dataset, such as `{"levir/val": {"f1": 0.7, "tiles": 32}}`.
        producer: program and version that wrote the file.
        license: licence of the weights.
    """

    name: str
    size: str
    dataset: str
    tile: int
    halo: int
    threshold: float
    gsd: float | None
    normalization: Normalization
    weights_sha256: str = ""
    bands: tuple[str, ...] = ("red", "green", "blue")
    precision: str = "fp32"
    parent_sha256: str = ""
    kept_fp32: tuple[str, ...] = ()
    calibration: dict[str, Any] = dataclasses.field(default_factory=dict)
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)
    producer: str = ""
    license: str = ""
    tiling: str = ""

    def __post_init__(self) -> None:
        _check_types(self)
        if self.tile < TILE_MULTIPLE or self.tile % TILE_MULTIPLE:
            raise ModelError(f"tile must be a positive multiple of {TILE_MULTIPLE}, not {self.tile}.")
        if not 0 <= self.halo < self.tile // 2:
            raise ModelError(f"halo must lie between 0 and half the tile ({self.tile}), not {self.halo}.")
        check_threshold(self.threshold, ModelError)
        if self.gsd is not None and not (self.gsd > 0 and math.isfinite(self.gsd)):
            raise ModelError(f"gsd must be a positive number of metres per pixel, not {self.gsd}.")
        _check_values(self)

    def to_json(self) -> str:
        """The card as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card; unknown keys (of a newer version) are ignored.

        Raises:
            ModelError: the text is no card.
        """
        try:
            values = json.loads(text)
            known = {field.name for field in dataclasses.fields(cls)}
            values = {key: value for key, value in values.items() if key in known}
            values["normalization"] = normalization_from(values["normalization"])
            for key in ("bands", "kept_fp32"):
                values[key] = tuple(values.get(key, getattr(cls, key)))
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ModelError(f"the model card cannot be read ({error}): export the model again.") from error


_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "size", "dataset", "weights_sha256", "precision", "parent_sha256", "producer"), str),
    **dict.fromkeys(("license", "tiling"), str),
    **dict.fromkeys(("tile", "halo"), int),
    **dict.fromkeys(("calibration", "scores"), dict),
    "threshold": (int, float),
    "gsd": (int, float, type(None)),
}


def _check_types(card: ModelCard) -> None:
    """Raise a ModelError where a field is of another type than it is declared."""
    for name, kind in _KINDS.items():
        value = getattr(card, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ModelError(f"the model card has {name} {value!r:.60}, which is of the wrong type: export it again.")
    for name in ("bands", "kept_fp32"):
        if not all(isinstance(word, str) for word in getattr(card, name)):
            raise ModelError(f"the model card has {name} that are no words: export it again.")
    if not all(isinstance(score, dict) for score in card.scores.values()):
        raise ModelError("the model card has scores that are no objects: export it again.")


def _check_values(card: ModelCard) -> None:
    """Raise a ModelError where a field holds what cannot be written to a summary."""
    try:
        json.dumps(dataclasses.asdict(card), allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"the model card holds what JSON cannot say ({error}): export it again.") from error


def normalization_from(values: Any) -> Normalization:
    """Build a `Normalization` from `{"before": {"mean": [...], "std": [...]}, "after": {...}}`.

    The statistics of a single date, `{"mean": [...], "std": [...]}`, stand for both.

    Raises:
        ModelError: a key is missing or a number is out of range.
    """
    if isinstance(values, dict) and "mean" in values:
        values = dict.fromkeys(INPUT_NAMES, values)
    try:
        before, after = (
            Statistics(mean=tuple(map(float, values[date]["mean"])), std=tuple(map(float, values[date]["std"])))  # type: ignore[arg-type]
            for date in INPUT_NAMES
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            'normalization must look like {"before": {"mean": [r, g, b], "std": [r, g, b]}, "after": {...}}; '
            f"{error!r} is missing or wrong."
        ) from error
    return Normalization(before=before, after=after)
