"""What `evaluate` and `compare` are asked for: the command line reads its flags from here."""

from __future__ import annotations

import dataclasses

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
        None, "levir-cd, levir-cd+, s2looking, cdd, sysu-cd or whu-cd, to show its published F1.", unset="none of these"
    )
    split: str = option("test", "Which split; . where ROOT itself holds A, B, label.")
    label_rule: str = option("auto", "Label values that mean change: auto, nonzero, >127, or values such as 2,3.")
    gsd: float | None = option(
        None, "Metres per pixel, for the sweep's false alarms per km2.", unset="the dataset's, else the model's"
    )
    stitched: bool = option(False, "Read and tile whole images as run does, not by the protocol.")
    halo: int | None = option(None, "Context around a tile, with --stitched.", unset="the model's own")


@dataclasses.dataclass(frozen=True)
class Engine(Options):
    """What computes.

    See `sessions.open_session`.
    """

    title = "Engine"

    model: str | None = option(None, "An .onnx file or a bundled model's name.", unset="schanger-small", is_path=True)
    device: str = option("cpu", "Where it runs: as of `run`.")
    cuda: Binding | None = option(
        None, "Package that reaches CUDA.", choices=("cuda-python", "pycuda"), unset="what is installed"
    )


@dataclasses.dataclass(frozen=True)
class Results(Options):
    """What is written beside what is printed."""

    title = "Results"

    json_file: str | None = option(None, "Also write the result here.", flag="--json", is_path=True)
    gallery: str | None = option(None, "Also write an HTML page of the worst images here.", is_path=True)
    gallery_count: int = option(GALLERY_COUNT, "How many images the page shows at most.")
    sweep: str | None = option(
        None, "Also write the scores at all thresholds here (.json, with a .png beside it).", is_path=True
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

    count: int = option(32, "How many tiles.", flag="--tiles", at_least=1)
    device: str = option("cpu", "Where .onnx files run: cpu, cpu:openvino, cuda, cuda:onnxruntime, auto.")
    cuda: Binding | None = option(
        None, "Package that reaches CUDA.", choices=("cuda-python", "pycuda"), unset="what is installed"
    )
    worst: str | None = option(None, "Also write a PNG of the tiles that differ most.", is_path=True)
    json_file: str | None = option(None, "Also write the result here.", flag="--json", is_path=True)
