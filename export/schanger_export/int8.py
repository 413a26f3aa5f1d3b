"""An FP32 graph -> the same with explicit Q/DQ around its convolutions, placed for TensorRT.

Inputs of convolutions get one symmetric INT8 scale per tensor, which both dates share because they lie stacked along
the batch: with a scale for each, rounding would look like change. Weights get one scale per output channel. Outputs are
not quantized: TensorRT fuses what follows at full precision. A tensor that a residual addition takes too is quantized
for it as well, so that convolution and addition become one kernel. Weights stay floating-point numbers before a pair of
Q and DQ, the only form that every TensorRT from 8.5 on reads.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from schanger_edge.errors import ModelError
from schanger_edge.evaluation.agreement import Agreement
from schanger_export.graph import HEADS, STEM, Convolution, convolutions, with_shapes
from schanger_export.parity import Reference
from schanger_export.ranges import Histogram

KEPT_PARTS = (STEM, HEADS)
"""First and last layers: little work, and every error there is seen in all or in the result."""

SQUEEZE_EXCITE = (".se.", "/se/")  # the second in models of earlier versions
"""Its convolutions work on one value per channel: nothing to gain."""

OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,  # TensorRT refuses INT32 biases
    "AddQDQPairToWeight": True,
    "OpTypesToExcludeOutputQuantization": ["Conv"],
}


def candidates(model: onnx.ModelProto) -> list[Convolution]:
    """The convolutions that may become INT8.

    Depthwise ones stay: TensorRT-RTX's INT8 kernel for them takes each channel four times (its layer log of a build for
    SM 8.6), which moves more bytes than FP16 does, and dilated ones may have no INT8 kernel at all.
    """
    return [
        conv
        for conv in convolutions(model)
        if not (conv.depthwise or conv.part in KEPT_PARTS or any(mark in conv.name for mark in SQUEEZE_EXCITE))
    ]


def quantize(
    model: onnx.ModelProto,
    thresholds: Mapping[str, float],
    chosen: Collection[str],
    *,
    per_channel: bool = True,
) -> onnx.ModelProto:
    """A quantized copy of an FP32 model, in which the convolutions of the chosen names become INT8.

    A threshold is, of each input tensor of such a convolution, the |x| that 127 stands for. Without `per_channel` each
    weight tensor has one scale, for comparison.
    """
    shaped = with_shapes(model)
    if not chosen:
        return copy.deepcopy(model)
    ranges = {
        name: TensorData(lowest=_float32(-threshold), highest=_float32(threshold))
        for name, threshold in thresholds.items()
    }
    with contextlib.redirect_stdout(io.StringIO()):
        quantizer = QDQQuantizer(
            shaped,
            per_channel=per_channel,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=list(chosen),
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv"],
            extra_options=dict(OPTIONS),
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    del result.graph.value_info[:]
    result.ir_version = model.ir_version
    return result


def _float32(value: float) -> NDArray[np.float32]:
    return np.array(value, dtype=np.float32)


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
    """Tries quantized copies of an FP32 model against the model itself.

    The candidates are the convolutions that may become INT8, the reference has the parent's probabilities on held-aside
    tiles, and at most `max_f1_loss` points of F1 may be lost; progress is called with (stage, done, total).
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

        `built` makes the model that is written, with these convolutions in INT8; `everything` is the agreement with all
        parts in INT8, where it is known of that model. ModelError where the limits do not hold with one part left.
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
