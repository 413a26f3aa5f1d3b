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

    fp16: bool = option(False, "Use FP16 instead of FP32 for everything that is not INT8 (opset 19).")
    method: Method = option("auto", "How ranges become scales; auto tries every method.", choices=("auto", *METHODS))
    samples: int = option(256, "Tiles to measure ranges on; 25 % more are held out.", flag="--tiles", at_least=LEAST)
    max_f1_loss: float = option(
        0.5, "Largest loss of F1 allowed, in points, against labels and against the original's map."
    )
    seed: int = option(SEED, "Seed for drawing tiles.", at_least=0)


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

    size: Size | None = option(
        None, "Expected network size.", choices=("small", "base"), unset="taken from the weights"
    )
    dataset: str | None = option(None, "Benchmark dataset whose colour statistics to use.", unset="that of the weights")
    normalization: Path | None = option(None, "Or a JSON file with colour statistics.")
    tile: int | None = option(None, "Side of the input in pixels, a multiple of 16.", unset="256")
    halo: int | None = option(None, "Context around a tile's core, in pixels.", unset="32")
    threshold: float | None = option(None, "The model's default threshold.", unset="0.5")
    gsd: float | None = option(None, "Metres per pixel of the training images.")
    name: str | None = option(None, "Name of the model.")
    license: str | None = option(None, "Licence of the weights.")
