"""What a run is asked for: the one description that flags, checks, summaries, resume and documents follow from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from schanger_edge.errors import SchangerError, require
from schanger_edge.model.decision import check_threshold
from schanger_edge.options import Options, option
from schanger_edge.products.register import FORMATS
from schanger_edge.products.shaping import Shaping
from schanger_edge.products.stac import parse_date
from schanger_edge.registration.register import MAX_OFFSET
from schanger_edge.scene.options import PairOptions
from schanger_edge.scene.remote import public_name
from schanger_edge.sessions.gpu import Binding
from schanger_edge.sessions.register import device_help

MAX_THREADS = 1024


def parse_dates(text: str) -> tuple[str, ...]:
    """`2019-05-01,2021-06-03`."""
    return tuple(text.split(","))


def check_dates(dates: Sequence[str]) -> None:
    """Raise a SchangerError unless they are two dates, of before and after."""
    if len(dates) != 2:
        raise SchangerError(f"--dates must be two dates, BEFORE,AFTER, not {len(dates)}.")
    for date in dates:
        parse_date(date)


@dataclasses.dataclass(frozen=True)
class Alignment(Options):
    """What is done about an offset between the dates.

    Attributes:
        max_offset: pixels between the dates above which there is a warning; infinity without `align` skips the
            estimate.
        align: take the offset between the dates away while the image is read, where it is known.
    """

    title = "Reading the images"

    max_offset: float = option(
        MAX_OFFSET,
        "Warn if the dates are misaligned by more pixels than this; inf skips the check.",
        unit="pixels",
        above=0,
        finite=False,
    )
    align: bool = option(False, "Correct the offset between the dates while reading.", decides="facts")


@dataclasses.dataclass(frozen=True)
class Change(Options):
    """What counts as change.

    Attributes:
        threshold: a pixel is change where its probability is greater; None takes the model's.
    """

    title = "What counts as change"

    threshold: float | None = option(
        None,
        "Change where probability is greater than this.",
        check_value=check_threshold,
        unset="the model's",
        decides="value",
    )


@dataclasses.dataclass(frozen=True)
class Further(Options):
    """Products beside those that every run writes.

    Attributes:
        also: further formats of the polygons, see `products.register.FORMATS`.
        stac: also write item.json, a STAC item; where CRS or dates are unknown a warning says so instead.
        dates: when the two images were taken, such as `2021-06-03`; None takes what their files say.
    """

    title = "Further products"

    also: tuple[str, ...] = option((), "Also write the polygons in this format; repeatable.", choices=tuple(FORMATS))
    stac: bool = option(False, "Also write a STAC item.")
    dates: tuple[str, ...] | None = option(
        None,
        "Dates of the images for STAC, such as 2019-05-01,2021-06-03.",
        parse=parse_dates,
        check_value=check_dates,
        unset="from the files",
    )


def check_packages(further: Further) -> None:
    """Raise a SchangerError where a package is missing that a product needs."""
    for name in further.also:
        FORMATS[name].check()
    if further.stac:
        require("pystac", "products")


@dataclasses.dataclass(frozen=True)
class Engine(Options):
    """What computes.

    Attributes:
        model: an .onnx file, a TensorRT plan, or a name that `schanger-edge models` lists, such as `levir-cd:base`,
            which is fetched once; None takes `schanger-small`.
        device: see `sessions.open_session`.
        cuda: by whom CUDA is reached, `cuda-python` or `pycuda`; None takes the installed one.
        threads: CPU threads of the engine; None takes all.
        batch_size: tiles per inference; None takes what the engine is fastest at.
    """

    title = "Engine"

    model: str | None = option(
        None,
        "An .onnx file, or a name that `models` lists, such as levir-cd:base.",
        unset="schanger-small",
        is_path=True,
        decides="facts",
    )
    device: str = option("auto", device_help(), decides="facts")
    cuda: Binding | None = option(None, "Python package that talks to CUDA.", unset="the installed one")
    threads: int | None = option(None, "CPU threads.", at_least=1, at_most=MAX_THREADS, unset="all", decides="facts")
    batch_size: int | None = option(
        None, "Tiles per inference.", flag="--batch", at_least=1, unset="the engine's fastest", decides="value"
    )


@dataclasses.dataclass(frozen=True)
class RunOptions(PairOptions):
    """Everything a run can be asked for; the defaults are those of the command line, of `watch` and of `batch`."""

    alignment: Alignment = Alignment()
    change: Change = Change()
    shaping: Shaping = Shaping()
    further: Further = Further()
    engine: Engine = Engine()

    @property
    def paths(self) -> tuple[str, ...]:
        """All files that options name."""
        values = self.values()
        given = [value for one in self.described() if one.is_path and (value := values[one.name]) is not None]
        return tuple(path for value in given for path in (value if isinstance(value, tuple) else (value,)))

    def as_json(self) -> dict[str, Any]:
        """All options as plain values: without keys of URLs, and with what JSON has no number for as text."""
        values = self.values()
        for one in self.described():
            value = values[one.name]
            if one.is_path and value is not None:
                value = [public_name(item) for item in value] if one.many else public_name(value)
            values[one.name] = _plain(value)
        return values


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
