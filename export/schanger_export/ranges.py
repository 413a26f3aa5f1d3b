"""Histograms of |x| of tensors over real tiles, in bounded memory and in one pass.

ONNX Runtime's own collectors keep every tensor of every tile, or sort each value into edges of growing number; these
use a fixed number of bins, whose width doubles when a value does not fit. The thresholds by relative entropy are
ONNX Runtime's.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from schanger_edge.datasets.tile_pool import WholeTile
from schanger_edge.errors import ModelError

BINS = 2048
SAMPLES = 1 << 16  # values of one tensor and tile that are counted; the largest value is looked for in all of them
PERCENTILE = 99.99
ENTROPY_BINS, QUANTIZED_BINS = 256, 128
ERRORS_ONLY = 3


@dataclasses.dataclass
class Histogram:
    """Counts of |x| in equal bins from 0 to `top`, and the largest |x|."""

    counts: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(BINS, np.int64))
    top: float = 0.0
    largest: float = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the values of a tensor; of a large one, evenly spread values."""
        flat = values.reshape(-1)
        largest = max(float(flat.max(initial=0)), -float(flat.min(initial=0)))
        if not np.isfinite(largest):
            raise ModelError("the model computes values that are not finite: its weights are broken.")
        self.largest = max(self.largest, largest)
        if self.largest == 0:
            self.counts[0] += min(flat.size, SAMPLES)
            return
        if self.top == 0:
            self.top = float(2 ** np.ceil(np.log2(self.largest)))
        while self.top < self.largest:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)])
            self.top *= 2
        bins = np.abs(flat[:: max(1, flat.size // SAMPLES)]) * np.float32(BINS / self.top)
        self.counts += np.bincount(np.minimum(bins.astype(np.int64), BINS - 1), minlength=BINS)

    def threshold(self, method: str) -> float:
        """The |x| that the largest integer stands for: `minmax`, `percentile` or `entropy`."""
        if method == "minmax" or self.largest == 0:
            return self.largest
        if method == "percentile":
            share = np.cumsum(self.counts) / self.counts.sum()
            bin_number = int(np.searchsorted(share, PERCENTILE / 100))
            return min(float(self.top * (bin_number + 1) / BINS), self.largest)
        return min(self._entropy(), self.largest)

    def _entropy(self) -> float:
        half = self.counts.reshape(ENTROPY_BINS, -1).sum(1)
        counts = np.concatenate([half[::-1], half])
        edges = np.linspace(-self.top, self.top, counts.size + 1, dtype=np.float32)
        collector = HistogramCollector("entropy", True, counts.size, QUANTIZED_BINS, PERCENTILE, "same")
        largest = np.float32(self.top)
        low, high = collector.get_entropy_threshold((counts, edges, -largest, largest), QUANTIZED_BINS)
        return float(max(-low, high))


def collect(model: onnx.ModelProto, names: Sequence[str], tiles: Iterable[WholeTile]) -> dict[str, Histogram]:
    """Histograms of tensors of an FP32 model over tiles, one tile at a time; ModelError where a value is not finite."""
    histograms = {name: Histogram() for name in names}
    for values in values_of(model, names, tiles):
        for name, value in values.items():
            histograms[name].add(value)
    return histograms


def values_of(
    model: onnx.ModelProto, names: Sequence[str], tiles: Iterable[WholeTile]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The values of tensors on one tile after the other."""
    model = copy.deepcopy(model)
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as `schanger_edge.sessions.ort` does
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for tile in tiles:
        values = session.run(list(names), {"before": tile.before[None], "after": tile.after[None]})
        yield dict(zip(names, values, strict=True))


def largest_values(model: onnx.ModelProto, names: Sequence[str], tiles: Iterable[WholeTile]) -> dict[str, float]:
    """The largest |x| of tensors over tiles; the graph itself reduces, so that hundreds of tensors fit in memory.

    ModelError where a value is not finite.
    """
    reduced = copy.deepcopy(model)
    for name in names:
        absolute = onnx.helper.make_node("Abs", [name], [f"{name}.abs"])
        largest_one = onnx.helper.make_node("ReduceMax", [f"{name}.abs"], [f"{name}.largest"], keepdims=0)
        reduced.graph.node.extend([absolute, largest_one])
    outputs = [f"{name}.largest" for name in names]
    largest = np.zeros(len(names))
    for values in values_of(reduced, outputs, tiles):
        largest = np.maximum(largest, [float(value) for value in values.values()])
        if not np.isfinite(largest).all():
            raise ModelError("the model computes values that are not finite: its weights are broken.")
    return dict(zip(names, largest.tolist(), strict=True))
