"""Which parts of the network become INT8: each is looked at alone, and the worst go back until the loss is small."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import onnx

from schanger_edge.errors import ModelError
from schanger_edge.evaluation.agreement import Agreement
from schanger_export.graph import Convolution, convolutions
from schanger_export.int8 import quantize
from schanger_export.parity import Reference
from schanger_export.ranges import Histogram

EVERY = 4  # of the held-aside tiles, those that each part alone is tried on
Build = Callable[[Sequence[str]], onnx.ModelProto]
MEAN_DIFFERENCE = 0.02  # of probability: more is not accepted, whatever F1 says on a few tiles


@dataclasses.dataclass(frozen=True)
class Step:
    """One state of the search: which parts are back in high precision, and what is lost."""

    kept: tuple[str, ...]
    macs_share: float
    agreement: Agreement


class Search:
    """Tries quantized copies of a model against the model itself.

    Args:
        parent: FP32.
        candidates: convolutions that may become INT8.
        reference: the parent's probabilities on held-aside tiles.
        max_f1_loss: points of F1 that may be lost.
        progress: called with (stage, done, total).
    """

    def __init__(
        self,
        parent: onnx.ModelProto,
        candidates: Sequence[Convolution],
        reference: Reference,
        max_f1_loss: float,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._parent, self._candidates, self._reference = parent, candidates, reference
        self._max_f1_loss, self._notify = max_f1_loss, progress
        self._macs = sum(conv.macs for conv in convolutions(parent))

    def names(self, kept: Sequence[str] = ()) -> list[str]:
        """The convolutions that become INT8 where these parts stay in high precision."""
        return [conv.name for conv in self._candidates if conv.part not in kept]

    def methods(self, histograms: Mapping[str, Histogram], methods: Sequence[str]) -> tuple[str, dict[str, Agreement]]:
        """The way from ranges to thresholds that loses least with everything in INT8, and how each one did."""
        tries = {}
        for number, method in enumerate(methods, 1):
            thresholds = {name: histogram.threshold(method) for name, histogram in histograms.items()}
            tries[method] = self._score(thresholds, self.names())
            self._notify("methods", number, len(methods))
        return min(tries, key=lambda name: (tries[name].worst_f1_loss, tries[name].mean_difference)), tries

    def each_part(self, thresholds: Mapping[str, float]) -> dict[str, Agreement]:
        """Agreement with one part in INT8 alone, by part; the part that moves probability most comes first."""
        parts = list(dict.fromkeys(conv.part for conv in self._candidates))
        found = {}
        for number, part in enumerate(parts, 1):
            own = [conv.name for conv in self._candidates if conv.part == part]
            found[part] = self._score(thresholds, own, EVERY)
            self._notify("parts", number, len(parts))
        return dict(sorted(found.items(), key=lambda entry: -entry[1].mean_difference))

    def steps(self, worst_first: Sequence[str], built: Build, everything: Agreement | None = None) -> list[Step]:
        """Put the worst part back to high precision until the limits hold.

        Args:
            worst_first: the parts.
            built: makes the model that is written, with these convolutions in INT8.
            everything: agreement with all parts in INT8, where it is known of that model.

        Raises:
            ModelError: with one part left they do not.
        """
        steps = [Step((), self._share(()), everything or self._reference.score(built(self.names())))]
        while any(not value <= most for _, value, most in self.limits(steps[-1].agreement)):
            kept = tuple(worst_first[: len(steps)])
            if len(kept) == len(worst_first):
                raise ModelError(
                    f"with only {worst_first[-1]} in INT8 the model still loses "
                    f"{steps[-1].agreement.worst_f1_loss:.2f} points of F1 (at most {self._max_f1_loss:g}): nothing "
                    "more can be put back; raise --max-f1-loss, or convert to FP16."
                )
            steps.append(Step(kept, self._share(kept), self._reference.score(built(self.names(kept)))))
            self._notify("search", len(steps) - 1, len(worst_first) - 1)
        if len(steps) > 1:
            self._notify("search", 1, 1)
        return steps

    def limits(self, found: Agreement) -> list[tuple[str, float, float]]:
        """For `parity.check_parity`."""
        return [
            ("mean difference of probability", found.mean_difference, MEAN_DIFFERENCE),
            ("points of F1 lost", found.worst_f1_loss, self._max_f1_loss),
        ]

    def _score(self, thresholds: Mapping[str, float], chosen: Sequence[str], every: int = 1) -> Agreement:
        return self._reference.score(quantize(self._parent, thresholds, chosen), every)

    def _share(self, kept: Sequence[str]) -> float:
        """Of the multiply-adds, what is in INT8."""
        return sum(conv.macs for conv in self._candidates if conv.part not in kept) / self._macs
