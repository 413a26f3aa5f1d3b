"""How far two models agree on the same tiles, and how each scores where there are labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.samples import warning_on_labels
from schanger_edge.evaluation.scores import Counts
from schanger_edge.model.decision import is_change


@dataclasses.dataclass
class Agreement:
    """Adds up over tiles: a reference and another model, at one threshold each.

    Attributes:
        tiles: added so far.
        pixels: added so far.
        largest: largest absolute difference of probability.
        own_map: the other's change against the reference's own change map.
        reference_counts: the reference against labels; None where a tile had none.
        other_counts: the other against labels; None where a tile had none.
    """

    tiles: int = 0
    pixels: int = 0
    largest: float = 0.0
    own_map: Counts = dataclasses.field(default_factory=Counts)
    reference_counts: Counts | None = dataclasses.field(default_factory=Counts)
    other_counts: Counts | None = dataclasses.field(default_factory=Counts)
    _difference: float = 0.0

    def add(
        self,
        reference: NDArray[np.float32],
        other: NDArray[np.float32],
        label: NDArray[np.bool_] | None,
        thresholds: tuple[float, float] = (0.5, 0.5),
    ) -> float:
        """Take the probabilities (h, w) of both, and the label (h, w) where there is one.

        Returns:
            Mean absolute difference of probability on this tile.
        """
        difference = np.abs(reference - other)
        total = float(difference.sum(dtype=np.float64))
        self.tiles, self.pixels = self.tiles + 1, self.pixels + reference.size
        self._difference += total
        self.largest = max(self.largest, float(difference.max()))
        changes = is_change(reference, thresholds[0]), is_change(other, thresholds[1])
        self.own_map += Counts.of(changes[1], changes[0])
        if label is None:
            self.reference_counts = self.other_counts = None
        elif self.reference_counts is not None and self.other_counts is not None:
            self.reference_counts += Counts.of(changes[0], label)
            self.other_counts += Counts.of(changes[1], label)
        return total / reference.size

    @property
    def mean_difference(self) -> float:
        """Mean absolute difference of probability, 0-1."""
        return self._difference / self.pixels if self.pixels else 0.0

    @property
    def agreement(self) -> float:
        """Share of pixels that both call the same, 0-1."""
        return self.own_map.accuracy

    @property
    def f1_against_reference(self) -> float:
        """F1 of the other's change against the reference's own; 1 where neither calls any change."""
        counts = self.own_map
        none = not (counts.true_positive or counts.false_positive or counts.false_negative)
        return 1.0 if none else counts.f1

    @property
    def labelled(self) -> bool:
        """Whether every tile had a label, and some pixel was labelled as change."""
        counts = self.reference_counts
        return counts is not None and counts.true_positive + counts.false_negative > 0

    def warning(self, label_rules: Sequence[str]) -> str:
        """A sentence where every tile had a label, but all labels are alike; else an empty one."""
        if self.reference_counts is None:
            return ""
        kinds, rules = self.reference_counts.kinds_of_labels, ", ".join(label_rules)
        return warning_on_labels("these tiles", (), rules, kinds, "label= of a folder, or correct the files")

    @property
    def f1_loss(self) -> float:
        """Points of F1 lost against labels; without labels, what F1 against the reference's own map lacks to 100."""
        if not self.labelled:
            return 100 * (1 - self.f1_against_reference)
        assert self.reference_counts is not None
        assert self.other_counts is not None
        return 100 * (self.reference_counts.f1 - self.other_counts.f1)

    @property
    def worst_f1_loss(self) -> float:
        """The larger of the points lost against labels and against the reference's own map.

        Against labels alone, pixels that change to the better hide as many that change to the worse; on ground that
        the model learnt from they nearly cancel.
        """
        return max(self.f1_loss, 100 * (1 - self.f1_against_reference))

    def as_dict(self) -> dict[str, Any]:
        """For reports and cards; F1 in 0-1, its loss in points."""
        plain = {
            "tiles": self.tiles,
            "agreement": round(self.agreement, 6),
            "mean_difference": round(self.mean_difference, 6),
            "largest_difference": round(self.largest, 4),
            "f1_against_reference": round(self.f1_against_reference, 5),
            "f1_loss": round(self.f1_loss, 3),
            "worst_f1_loss": round(self.worst_f1_loss, 3),
            "f1_loss_against": "labels" if self.labelled else "the reference's own map",
        }
        if self.labelled and self.reference_counts and self.other_counts:
            plain |= {"f1_reference": round(self.reference_counts.f1, 5), "f1": round(self.other_counts.f1, 5)}
        return plain
