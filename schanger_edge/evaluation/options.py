"""What `evaluate` and `compare` are asked for: the command line reads its flags from here."""

from __future__ import annotations

import dataclasses

from schanger_edge.errors import ProductError
from schanger_edge.options import OptionGroups, Options, option
from schanger_edge.sessions.gpu import Binding

GALLERY_COUNT = 40


@dataclasses.dataclass(frozen=True)
class Scoring(Options):
    """What is scored, and how.

    Published figures are of the official protocol, so none is shown beside stitched scores.
    """

    title = "What is scored"

    dataset: str | None = option(
        None,
        "levir-cd, levir-cd+, s2looking, cdd, sysu-cd or whu-cd: also shows the published F1.",
        unset="none of these",
    )
    split: str = option("test", "Split to score; '.' if ROOT itself holds A, B, label.")
    label_rule: str = option(
        "auto", "Label values that mean change: auto, nonzero, >127, or values such as 2,3.", flag="--label"
    )
    gsd: float | None = option(
        None, "Metres per pixel, to report the sweep's false alarms per km2.", unset="the dataset's, else the model's"
    )
    stitched: bool = option(False, "Read and tile whole images as `run` does, instead of following the protocol.")
    halo: int | None = option(None, "With --stitched: context around a tile's core, in pixels.", unset="the model's")


@dataclasses.dataclass(frozen=True)
class Engine(Options):
    """What computes.

    See `sessions.open_session`.
    """

    title = "Engine"

    model: str | None = option(
        None,
        "An .onnx file, or a name that `models` lists, such as levir-cd:base.",
        unset="schanger-small",
        is_path=True,
    )
    device: str = option("cpu", "Device to run on, as in `run`.")
    cuda: Binding | None = option(None, "Python package that talks to CUDA.", unset="the installed one")


@dataclasses.dataclass(frozen=True)
class Results(Options):
    """What is written beside what is printed."""

    title = "Results"

    json_file: str | None = option(
        None, "Also write the result to this .json file.", flag="--output", short="-o", is_path=True
    )
    gallery: str | None = option(None, "Also write an HTML page of the worst images to this file.", is_path=True)
    gallery_count: int = option(GALLERY_COUNT, "Maximum number of images on that page.")
    sweep: str | None = option(
        None, "Also write the scores at all thresholds to this .json file, and a .png beside it.", is_path=True
    )


@dataclasses.dataclass(frozen=True)
class EvaluationOptions(OptionGroups):
    """How a model is scored against labels."""

    scoring: Scoring = Scoring()
    engine: Engine = Engine()
    results: Results = Results()


@dataclasses.dataclass(frozen=True)
class ComparisonOptions(Options):
    """How two models are run on the same tiles.

    Plans run on the GPU, whatever the device.
    """

    title = "Comparison"
    error = ProductError

    count: int = option(32, "Number of tiles.", flag="--tiles", at_least=1)
    device: str = option("cpu", "Where .onnx files run: cpu, cpu:openvino, cuda, cuda:onnxruntime, auto.")
    cuda: Binding | None = option(None, "Python package that talks to CUDA.", unset="the installed one")
    worst: str | None = option(None, "Also write a PNG of the tiles that differ most to this file.", is_path=True)
    json_file: str | None = option(
        None, "Also write the result to this .json file.", flag="--output", short="-o", is_path=True
    )
