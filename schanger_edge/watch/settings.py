"""What a watch is asked for."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

from schanger_edge.errors import SchangerError
from schanger_edge.run.options import RunOptions, check_packages
from schanger_edge.watch.hook import check_hook
from schanger_edge.watch.pairing import check_pattern


@dataclasses.dataclass(frozen=True)
class Settings:
    """Options of a watch.

    Attributes:
        inbox: folder in which scenes arrive, with all folders in it.
        output: folder for `results`, `quarantine`, `work` and the ledger; made if absent.
        pair_by: how it is known that two scenes show the same place.
        name_pattern: see `pairing.named`.
        min_overlap: share of the smaller footprint that two scenes of one place have in common.
        settle: seconds a file must have stayed the same.
        keep: scenes of each place that are kept; None keeps all.
        poll: seconds between two looks into the inbox; None relies on the system's events.
        once: end when all that has settled is done.
        min_free: bytes that must be free in `output` before a pair is begun.
        hook: a program and its arguments, run on each result, see `hook.PLACEHOLDERS`.
        hook_timeout: seconds it may take.
        metrics: file for Prometheus' textfile collector.
        options: of each run; those of its engine hold for the whole watch.
    """

    inbox: Path
    output: Path
    pair_by: Literal["footprint", "name"] = "footprint"
    name_pattern: str | None = None
    min_overlap: float = 0.5
    settle: float = 10.0
    keep: int | None = None
    poll: float | None = None
    once: bool = False
    min_free: int = 100_000_000
    hook: tuple[str, ...] = ()
    hook_timeout: float = 60.0
    metrics: Path | None = None
    options: RunOptions = dataclasses.field(default_factory=RunOptions)

    @property
    def reading(self) -> dict[str, Any]:
        """Of the options of a run those that say how one image is read."""
        return {"bands": self.options.reading.bands, "nodata": self.options.reading.nodata}

    def check(self) -> None:
        """Raise a SchangerError where something cannot be meant."""
        if not self.inbox.is_dir():
            raise SchangerError(f"{self.inbox} is no folder: make it, or mount the share it lies on.")
        if self.output.resolve().is_relative_to(self.inbox.resolve()):
            raise SchangerError(f"{self.output} lies in the inbox, so results would be taken for scenes: move it out.")
        if not 0 < self.min_overlap <= 1:
            raise SchangerError(f"--min-overlap must be greater than 0 and at most 1, not {self.min_overlap:g}.")
        for name, seconds in (("settle", self.settle), ("poll", self.poll), ("hook-timeout", self.hook_timeout)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise SchangerError(f"--{name} must be a time greater than 0, such as 10s.")
        if self.keep is not None and self.keep < 1:
            raise SchangerError("--keep must be at least 1: the newest scene is what the next one is compared with.")
        if self.name_pattern is not None:
            if self.pair_by != "name":
                raise SchangerError("--name-pattern goes with --pair-by name.")
            check_pattern(self.name_pattern)
        check_hook(self.hook)
        check_packages(self.options.further)
