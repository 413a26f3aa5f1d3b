"""The stages of a benchmark; each measures what is not finished yet and keeps it part by part."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from schanger_edge.bench import parts
from schanger_edge.bench.document import Benchmark
from schanger_edge.bench.end_to_end import run_pair
from schanger_edge.bench.energy import Meters
from schanger_edge.bench.memory import peak_memory
from schanger_edge.bench.method import ROUNDS, order
from schanger_edge.bench.request import Labelled, Model
from schanger_edge.bench.speed import block, tiles_for, warm_up
from schanger_edge.bench.state import State
from schanger_edge.errors import SessionError
from schanger_edge.evaluation.evaluate import evaluate
from schanger_edge.host import board
from schanger_edge.host.nvml import Nvml
from schanger_edge.sessions import open_session

KEPT = (
    "f1", "precision", "recall", "iou", "accuracy", "images", "tiles", "official_tiles", "label_rule", "paper_f1",
    "checkpoint_f1",
)  # fmt: skip
"""Of an evaluation."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A benchmark under way.

    Attributes:
        plan: what is measured.
        state: what of it is finished.
        folder: of the results.
        meters: of energy, by device.
        nvml: by device; None for the CPU.
        tell: told (stage, done, total).
    """

    plan: Benchmark
    state: State
    folder: Path
    meters: Mapping[str, Meters]
    nvml: Mapping[str, Nvml | None]
    tell: Callable[[str, int, int], None]

    def memory(self) -> None:
        """Each case in a process of its own.

        Raises:
            SessionError: the machine has no room for all models at once, as the next stage needs.
        """
        cases = self.plan.cases
        for done, case in enumerate(cases, 1):
            self.state.once(parts.memory(case), partial(peak_memory, case.model.path, case.device, case.batch))
            self.tell("memory", done, len(cases))
        needed, free = self._needed_bytes(), board.free_memory(Path("/"))
        if free is not None and needed > free:
            raise SessionError(
                f"the models together take up to {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: give fewer "
                "--models at once, or smaller numbers for --batch."
            )

    def speed(self) -> None:
        """All sessions open at once, each case warmed up, then rounds over all cases."""
        cases = [case for case in self.plan.cases if "failed" not in self.state.get(parts.memory(case))]
        turns = [(case, number) for number in range(ROUNDS) for case in order(cases, number)]
        left = [turn for turn in turns if self.state.get(parts.block(*turn)) is None]
        if not left:
            return
        calls = math.ceil(self.plan.repetitions / ROUNDS)
        with ExitStack() as stack:
            needed = {(case.device, case.model.name): case.model.path for case in cases}
            opened = {
                (device, name): stack.enter_context(open_session(path, device))
                for (device, name), path in needed.items()
            }
            ready = {
                case.key: (opened[case.device, case.model.name], tiles_for(case.model.tile, case.batch))
                for case in cases
            }
            for done, case in enumerate(cases, 1):
                self.state.put(parts.warm_up(case), warm_up(*ready[case.key]))
                self.tell("warm-up", done, len(cases))
            for done, (case, number) in enumerate(left, len(turns) - len(left) + 1):
                own = (self.meters[case.device], self.nvml[case.device])
                self.state.put(parts.block(case, number), block(*ready[case.key], calls, case.model.core, *own))
                self.tell("rounds", done, len(turns))

    def pair(self) -> None:
        """Whole runs, the models by turns; one before them is not counted, it fills the disk cache."""
        pair, runs = self.plan.pair, range(self.plan.pair_runs)
        if pair is None:
            return
        turns = [(*place, number) for number in runs for place in order(self.plan.places, number)]
        left = [turn for turn in turns if self.state.get(parts.end_to_end(*turn)) is None]
        for device, model, _ in left[:1]:
            self.tell("pair", 0, len(turns))
            run_pair(pair, model, device, self.folder, self.meters[device])
        for done, (device, model, number) in enumerate(left, len(turns) - len(left) + 1):
            measured = run_pair(pair, model, device, self.folder, self.meters[device])
            self.state.put(parts.end_to_end(device, model, number), measured)
            self.tell("pair", done, len(turns))

    def accuracy(self) -> None:
        """Each model on each dataset."""
        turns = [(*place, entry) for entry in self.plan.datasets for place in self.plan.places]
        done, total = 0, sum(entry.images for *_, entry in turns)
        for device, model, entry in turns:
            self.state.once(
                parts.accuracy(device, model, entry), partial(self._score, device, model, entry, done, total)
            )
            done += entry.images
            self.tell("accuracy", done, total)

    def _score(self, device: str, model: Model, entry: Labelled, before: int, total: int) -> dict[str, Any]:
        result = evaluate(
            entry.root, dataset=entry.name if entry.published else None, split=entry.split, model=model.path,
            device=device, progress=lambda _, images, __: self.tell("accuracy", before + images, total),
        )  # fmt: skip
        return {key: getattr(result, key) for key in KEPT}

    def _needed_bytes(self) -> int:
        """Of all models at once, each at its largest batch."""
        largest: dict[tuple[str, str], int] = {}
        for case in self.plan.cases:
            place = (case.device, case.model.name)
            taken = self.state.get(parts.memory(case)).get("host_bytes") or 0
            largest[place] = max(largest.get(place, 0), taken)
        return sum(largest.values())
