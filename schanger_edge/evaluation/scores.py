"""Pixel-level confusion counts of the change class and the scores made of them."""

from __future__ import annotations

import dataclasses
import operator

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Counts:
    """Pixels by prediction and label; counts add up over tiles, scores don't."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0

    @classmethod
    def of(cls, change: NDArray[np.bool_], label: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None) -> Counts:
        """Count boolean arrays of one shape; pixels that are not valid don't count."""
        total = change.size
        if valid is not None:
            change, label = change & valid, label & valid
            total = int(np.count_nonzero(valid))
        both, predicted, labelled = (int(np.count_nonzero(a)) for a in (change & label, change, label))
        return cls(both, predicted - both, labelled - both, total - predicted - labelled + both)

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(operator.add, vars(self).values(), vars(other).values()))

    @property
    def total(self) -> int:
        """All pixels counted."""
        return self.true_positive + self.wrong + self.true_negative

    @property
    def wrong(self) -> int:
        """Pixels that are false alarms or misses."""
        return self.false_positive + self.false_negative

    @property
    def kinds_of_labels(self) -> set[bool]:
        """Whether there are pixels labelled as change, and such labelled as none; without both, scores say nothing."""
        labelled = self.true_positive + self.false_negative
        return {kind for kind, count in ((True, labelled), (False, self.total - labelled)) if count}

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 0 where nothing is predicted or labelled."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.wrong)

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """TP / (TP + FN)."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN)."""
        return _ratio(self.true_positive, self.true_positive + self.wrong)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all."""
        return _ratio(self.true_positive + self.true_negative, self.total)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
