"""What a plan is built to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from schanger_edge.errors import SessionError
from schanger_edge.model.plan import Batches, Name
from schanger_edge.options import Options, option

MAX_LEVEL = 5


def parse_batches(text: str) -> Batches:
    """`MIN,OPT,MAX`, or one number for all three."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise SessionError(f"--batch must be MIN,OPT,MAX such as 1,4,8, or one number, not {text!r}.")
    return Batches(*(numbers * 3 if len(numbers) == 1 else numbers))


@dataclasses.dataclass(frozen=True)
class BuildOptions(Options):
    """How TensorRT builds.

    A timing cache is read if it exists, and written after the build.
    """

    title = "Build"
    error = SessionError

    batches: Batches | None = option(
        None,
        "Tile pairs per batch: MIN,OPT,MAX, or one number for all three.",
        flag="--batch",
        parse=parse_batches,
        unset="1,4,8; fewer for tiles above 256",
    )
    workspace: int | None = option(
        None,
        "Scratch memory in megabytes.",
        at_least=1,
        unit="megabytes",
        unset="by model, tile and batch on Jetson, else TensorRT's choice",
    )
    level: int | None = option(
        None,
        "0 (fastest build) to 5 (tries the most kernels).",
        flag="--optimization-level",
        at_least=0,
        at_most=MAX_LEVEL,
        unset="TensorRT's choice",
    )
    no_tf32: bool = option(
        False, "FP32 layers multiply in whole FP32, not in TF32 (10 bits of fraction), which is TensorRT's default."
    )
    timing_cache: Path | None = option(None, "File that caches TensorRT's kernel timings between builds.", unset="none")
    flavour: Name | None = option(None, "Which TensorRT to use.", unset="the installed one, TensorRT before RTX")
    capabilities: tuple[str, ...] = option(
        (),
        "RTX only: build for these compute capabilities, without a GPU: '8.6 8.9 12.0' or 8.6,8.9,12.0; repeatable.",
        flag="--compute-capability",
    )

    def __post_init__(self) -> None:
        split = " ".join(self.capabilities).replace(",", " ").split()
        object.__setattr__(self, "capabilities", tuple(split))
        super().__post_init__()
