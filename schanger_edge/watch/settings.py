"""The options of a watch."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from schanger_edge.errors import SchangerError, require
from schanger_edge.options import Options, option
from schanger_edge.run.options import RunOptions, check_packages
from schanger_edge.scene.opening import PLAIN_FORMATS
from schanger_edge.watch.pairing import check_pattern


def seconds(flag: str) -> Callable[[str], float]:
    """What reads `10`, `10s`, `500ms`, `2m` or `1h` for this flag."""

    def parse(text: str) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
        if found is None:
            raise SchangerError(f"{flag} must be a duration such as 10s, 500ms or 2m, not {text!r}.")
        return float(found[1]) * {"ms": 0.001, "m": 60.0, "h": 3600.0}.get(found[2], 1.0)

    return parse


def parse_size(text: str) -> int:
    """Bytes of `1000000`, `500MB` or `2GB`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(kB|MB|GB)?", text)
    if found is None:
        raise SchangerError(f"--min-free must be a size such as 500MB, not {text!r}.")
    return round(float(found[1]) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}.get(found[2], 1.0))


def _time(flag: str) -> Callable[[float], None]:
    def check(value: float) -> None:
        if not 0 < value < math.inf:
            raise SchangerError(f"{flag} must be a positive duration, such as 10s.")

    return check


def _check_keep(keep: int) -> None:
    if keep < 1:
        raise SchangerError("--keep must be at least 1: the next scene is compared with the newest one.")


@dataclasses.dataclass(frozen=True)
class Pairing(Options):
    """Which scenes are compared.

    Attributes:
        pair_by: how it is known that two scenes show the same place.
        min_overlap: share of the smaller footprint that two scenes of one place have in common.
        name_pattern: see `pairing.named`.
    """

    title = "Pairing"

    pair_by: Literal["footprint", "name"] = option(
        "footprint",
        "How scenes of the same place are recognized: overlapping footprints, or names that differ only in the date.",
        choices=("footprint", "name"),
    )
    min_overlap: float = option(0.5, "Share of the smaller footprint that must overlap.", above=0, at_most=1)
    name_pattern: str | None = option(
        None,
        "Regular expression with the group (?P<place>...) and optionally (?P<date>...).",
        unset="the date's own forms",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name_pattern is not None:
            if self.pair_by != "name":
                raise SchangerError("--name-pattern needs --pair-by name.")
            check_pattern(self.name_pattern)


@dataclasses.dataclass(frozen=True)
class Service(Options):
    """How the watch goes on.

    Attributes:
        settle: seconds a file must have stayed the same.
        poll: seconds between two listings of the inbox; None relies on the system's events.
        once: end when all that has settled is done.
        keep: scenes of each place that are kept; None keeps all.
        min_free: bytes that must be free in the output folder before a pair is begun.
    """

    title = "Service"

    settle: float = option(
        10.0,
        "A file counts as complete when it has not changed for this long.",
        parse=seconds("--settle"),
        check_value=_time("--settle"),
    )
    poll: float | None = option(
        None,
        "Check the inbox at this interval, such as 30s; for network shares.",
        parse=seconds("--poll"),
        check_value=_time("--poll"),
        unset="file events",
    )
    once: bool = option(False, "Process what is there and exit, for cron.")
    keep: int | None = option(
        None,
        "Delete scenes, and their results, once their place has this many newer ones.",
        check_value=_check_keep,
        unset="keep all",
    )
    min_free: int = option(100_000_000, "Pause while less disk space than this is free.", parse=parse_size, at_least=0)


@dataclasses.dataclass(frozen=True)
class Notification(Options):
    """Who hears of results.

    Attributes:
        hook: a program that is run on each result.
        hook_args: its arguments, see `worker.PLACEHOLDERS`.
        hook_timeout: seconds it may take.
        metrics: file for Prometheus' textfile collector.
    """

    title = "Notifications"

    hook: str | None = option(None, "Program to run for each result; no shell is involved.", unset="none")
    hook_args: tuple[str, ...] = option(
        (), "Argument for the hook; repeatable. {result}, {before}, {after} and {name} are replaced.", flag="--hook-arg"
    )
    hook_timeout: float = option(
        60.0, "Kill the hook after this long.", parse=seconds("--hook-timeout"), check_value=_time("--hook-timeout")
    )
    metrics: Path | None = option(None, ".prom file for Prometheus' textfile collector.", unset="none")

    @property
    def command(self) -> tuple[str, ...]:
        """The hook with its arguments; empty where there is none."""
        return () if self.hook is None else (self.hook, *self.hook_args)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is watched, and how.

    Attributes:
        inbox: folder in which scenes arrive, with all folders in it.
        output: folder for `results`, `quarantine`, `work` and the ledger; made if absent.
        options: of each run; those of the engine hold for the whole watch.
    """

    inbox: Path
    output: Path
    pairing: Pairing = dataclasses.field(default_factory=Pairing)
    service: Service = dataclasses.field(default_factory=Service)
    notification: Notification = dataclasses.field(default_factory=Notification)
    options: RunOptions = dataclasses.field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        if not self.options.opening.formats:  # whoever may put files there must not reach others by them
            object.__setattr__(self, "options", self.options.replace(formats=PLAIN_FORMATS))

    @property
    def reading(self) -> dict[str, Any]:
        """The options that say how one image is read."""
        reading = self.options.reading
        return {"bands": reading.bands, "nodata": reading.nodata, "formats": self.options.opening.formats}

    def check(self) -> None:
        """Raise a SchangerError where a folder, a program or a package is missing."""
        if not self.inbox.is_dir():
            raise SchangerError(f"{self.inbox} is not a folder: create it, or mount its share.")
        if self.output.resolve().is_relative_to(self.inbox.resolve()):
            raise SchangerError(
                f"{self.output} is inside the inbox, so results would be taken for scenes: choose a folder outside."
            )
        hook = self.notification.hook
        if hook is not None and shutil.which(hook) is None:
            raise SchangerError(f"--hook: program {hook} not found: give its path, and make it executable.")
        if self.notification.metrics is not None:
            require("prometheus_client", "station")
        check_packages(self.options.further)
