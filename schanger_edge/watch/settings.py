"""The options of a watch."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from schanger_edge.errors import SchangerError, require
from schanger_edge.run.options import check_engine, check_polygons, check_products
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
        poll: seconds between two listings of the inbox; None relies on the system's events.
        once: end when all that has settled is done.
        min_free: bytes that must be free in `output` before a pair is begun.
        hook: a program and its arguments, run on each result, see `worker.PLACEHOLDERS`.
        hook_timeout: seconds it may take.
        metrics: file for Prometheus' textfile collector.
        detection: further options of `detect`.
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
    detection: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def reading(self) -> dict[str, Any]:
        """The options of `detect` that say how one image is read."""
        return {name: value for name, value in self.detection.items() if name in ("bands", "nodata")}

    def check(self) -> None:
        """Raise a SchangerError where a value makes no sense."""
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
        if self.hook and shutil.which(self.hook[0]) is None:
            raise SchangerError(f"--hook: there is no program {self.hook[0]}: give its path, and make it executable.")
        if self.metrics is not None:
            require("prometheus_client", "station")
        options = self.detection
        check_engine(options.get("threshold"), options.get("batch"), None)
        check_polygons({name: options[name] for name in ("min_area", "simplify", "fill_holes") if name in options})
        check_products(options.get("also", ()), stac=False, dates=None)
