"""The options of a watch."""

from __future__ import annotations

import dataclasses
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


def _quantity(flag: str, example: str, **units: float) -> Callable[[str], float]:
    """What reads a number, with one of these units or without, for this flag."""

    def parse(text: str) -> float:
        found = re.fullmatch(rf"(\d+(?:\.\d+)?)({'|'.join(units)})?", text)
        if found is None:
            raise SchangerError(f"{flag} must be {example}, not {text!r}.")
        return float(found[1]) * units.get(found[2], 1.0)

    return parse


def _duration(default: float | None, help: str, flag: str, unset: str = "") -> Any:
    """An option in seconds that is written as `10`, `10s`, `500ms`, `2m` or `1h`."""
    parse = _quantity(flag, "a duration such as 10s, 500ms or 2m", ms=0.001, s=1.0, m=60.0, h=3600.0)
    return option(default, help, parse=parse, above=0, unit="seconds", unset=unset)


@dataclasses.dataclass(frozen=True)
class Pairing(Options):
    """Which scenes are compared; see `pairing.named` and `pairing.same_place`."""

    title = "Pairing"

    pair_by: Literal["footprint", "name"] = option(
        "footprint",
        "How scenes of the same place are recognized: overlapping footprints, or names that differ only in the date.",
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
    """How the watch goes on; durations in seconds, sizes in bytes."""

    title = "Service"

    settle: float = _duration(10.0, "A file counts as complete when it has not changed for this long.", "--settle")
    poll: float | None = _duration(
        None, "Check the inbox at this interval, such as 30s; for network shares.", "--poll", "file events"
    )
    once: bool = option(False, "Process what is there and exit, for cron.")
    keep: int | None = option(
        None,
        "Delete scenes, and their results, once their place has this many newer ones.",
        at_least=1,
        unset="keep all",
    )
    min_free: int = option(
        100_000_000,
        "Pause while less disk space than this is free.",
        parse=lambda text: round(_quantity("--min-free", "a size such as 500MB", kB=1e3, MB=1e6, GB=1e9)(text)),
        at_least=0,
    )


@dataclasses.dataclass(frozen=True)
class Notification(Options):
    """Who hears of results."""

    title = "Notifications"

    hook: str | None = option(None, "Program to run for each result; no shell is involved.", unset="none")
    hook_args: tuple[str, ...] = option(
        (), "Argument for the hook; repeatable. {result}, {before}, {after} and {name} are replaced.", flag="--hook-arg"
    )
    hook_timeout: float = _duration(60.0, "Kill the hook after this long.", "--hook-timeout")
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
