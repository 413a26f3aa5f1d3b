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
import io
from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from schanger_export.graph import HEADS, STEM, Convolution, convolutions, with_shapes

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
    """A quantized copy.

    Args:
        model: FP32.
        thresholds: of each input tensor of a chosen convolution, the |x| that 127 stands for.
        chosen: names of the convolutions that become INT8.
        per_channel: False gives each weight tensor one scale, for comparison.
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
