"""What `calibrate` and `export` are asked for. Needs neither torch nor onnx: the command line reads its flags here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from schanger_edge.options import Options, option
from schanger_export.options import Size

Method = Literal["auto", "percentile", "entropy", "minmax"]
METHODS = ("percentile", "entropy", "minmax")
LEAST = 8  # tiles to take ranges on
SEED = 36


@dataclasses.dataclass(frozen=True)
class CalibrationOptions(Options):
    """How an FP32 model becomes INT8.

    Attributes:
        fp16: what does not become INT8 becomes FP16 (opset 19) instead of FP32 (opset 17).
        method: how a tensor's range becomes its scale; auto tries all and keeps the best.
        samples: tiles to take ranges on.
        max_f1_loss: points of F1 that may be lost, both against labels, where all held-aside tiles have them, and
            against the parent's own map.
        seed: what the draw of tiles follows from.
    """

    title = "Calibration"

    fp16: bool = option(False, "FP16 instead of FP32 where it is not INT8 (opset 19).")
    method: Method = option("auto", "How ranges become scales; auto tries all.", choices=("auto", *METHODS))
    samples: int = option(256, "Tiles to take ranges on; a quarter more is held aside.", at_least=LEAST)
    max_f1_loss: float = option(0.5, "Points of F1 that may be lost, against labels and against its own map.")
    seed: int = option(SEED, "What the draw of tiles follows from.", at_least=0)


@dataclasses.dataclass(frozen=True)
class ExportOptions(Options):
    """What a model's card says, where it is not what the checkpoint's own card says, or the weights' name.

    Attributes:
        size: which network it must be; None takes what the checkpoint holds.
        dataset: benchmark dataset the weights were trained on; its statistics go into the graph.
        normalization: JSON file with the statistics instead, `{"before": {"mean": [r, g, b], "std": [...]}, ...}`.
        tile: T in pixels, a multiple of 16; 256 where nothing says it.
        halo: pixels read as context on each side of a tile; 32 where nothing says it, less for tiles below 256.
        threshold: a pixel is change where its probability is greater; 0.5 where nothing says it.
        gsd: metres per pixel of the training images; None takes the dataset's.
        name: the model's name; None makes one from size and dataset.
        license: licence of the weights.
    """

    title = "Model card"

    size: Size | None = option(None, "Which network it must be.", choices=("small", "base"), unset="what it is")
    dataset: str | None = option(
        None, "Benchmark dataset whose colour statistics it takes.", unset="what the weights say"
    )
    normalization: Path | None = option(None, "JSON file with colour statistics instead.")
    tile: int | None = option(None, "Side of the input, a multiple of 16.", unset="256")
    halo: int | None = option(None, "Context on each side of a core, in pixels.", unset="32")
    threshold: float | None = option(None, "Default threshold of the model.", unset="0.5")
    gsd: float | None = option(None, "Metres per pixel of the training images.")
    name: str | None = option(None, "Name of the model.")
    license: str | None = option(None, "Licence of the weights.")
