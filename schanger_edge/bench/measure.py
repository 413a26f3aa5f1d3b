"""The stages of a benchmark; each measures what is not finished yet and keeps it part by part."""

from __future__ import annotations

import dataclasses
import datetime
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from schanger_edge.bench.energy import Meters
from schanger_edge.bench.memory import peak_memory
from schanger_edge.bench.method import ROUNDS, Tiles, block, order, tiles_for, warm_up
from schanger_edge.bench.plan import Case, Labelled, Place, Plan
from schanger_edge.errors import ProductError, SessionError
from schanger_edge.evaluation.evaluate import evaluate
from schanger_edge.files import read_json, replacing
from schanger_edge.host import board
from schanger_edge.host.conditions import conditions
from schanger_edge.host.nvml import NO_GPU, Nvml
from schanger_edge.model.published import DATASETS
from schanger_edge.products.journal import differences
from schanger_edge.progress import Progress
from schanger_edge.run.detect import detect
from schanger_edge.sessions import Session, open_session

UNFINISHED = "bench.unfinished.json"
"""What is finished, beside the results."""
SITTINGS = "sittings"
"""The part that holds the conditions of each call of the command."""
IDLE_SECONDS = 3.0
_COUNTS = ("images", "tiles", "official_tiles", "label_rule")
KEPT = ("f1", "precision", "recall", "iou", "accuracy", *_COUNTS, "paper_f1", "checkpoint_f1")
"""Of an evaluation."""


class State(dict[str, Any]):
    """Finished parts of a benchmark by name, on the disk as soon as they are finished: the same command goes on.

    The identity is all that decides about the figures, as JSON: files, devices, options, versions. What is left in the
    folder of another benchmark, and a folder that cannot be written, are a ProductError; `restart` drops what is left.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, restart: bool = False) -> None:
        self._path = folder / UNFINISHED
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        super().__init__(self._left() if self._path.exists() and not restart else {})
        self._write()

    def put(self, name: str, value: Any) -> None:
        """Keep a part; ProductError where the disk is full or gone."""
        self[name] = value
        self._write()

    def once(self, name: str, measure: Callable[[], Any]) -> None:
        """Measure a part and keep it, unless it is finished."""
        if name not in self:
            self.put(name, measure())

    def discard(self) -> None:
        """The results are written: nothing is left to be continued."""
        self._path.unlink(missing_ok=True)

    def _left(self) -> dict[str, Any]:
        """What an interrupted benchmark has finished."""
        left = read_json(self._path)
        was, parts = left.get("identity"), left.get("parts")
        if was is None or not isinstance(parts, dict):
            raise ProductError(f"{self._path} is damaged: start over with --restart.")
        different = differences(was, self._identity) if parts else ""
        if different:
            raise ProductError(
                f"the unfinished benchmark in {self._path.parent} has other settings ({different}): repeat the same "
                "command, or discard it with --restart."
            )
        return parts

    def _write(self) -> None:
        with replacing(self._path, ProductError) as temporary:
            temporary.write_text(json.dumps({"identity": self._identity, "parts": self}), encoding="utf-8")


def measure(plan: Plan, state: State, folder: Path, report: Progress) -> dict[str, str]:
    """Measure all parts of a plan that are not finished.

    The results are in `folder`; `report` hears (stage, done, total).

    Returns:
        What the energy of each device is of, in words; empty where nothing is measured.

    Raises:
        SessionError: the machine has no room for all models at once.
    """
    with ExitStack() as stack:
        meters = {device: stack.enter_context(Meters(nvml=Nvml.open(device))) for device in plan.devices}
        look = partial(conditions, nvml=next((meter.nvml for meter in meters.values() if meter.nvml), NO_GPU))
        earlier, began, before = state.get(SITTINGS) or [], _now(), look()
        sitting = {"began": began, "before": before, "idle_watts": _idle_watts(meters.values())}
        state.put(SITTINGS, [*earlier, sitting | {"ended": began, "after": before}])
        stages = _Stages(plan, state, folder, report, meters)
        for stage in (stages.memory, stages.speed, stages.pair, stages.accuracy):
            stage()
            state.put(SITTINGS, [*earlier, sitting | {"ended": _now(), "after": look()}])
    return {device: meter.covers for device, meter in meters.items()}


@dataclasses.dataclass(frozen=True)
class _Stages:
    """A benchmark under way; see `measure`."""

    plan: Plan
    state: State
    folder: Path
    report: Progress
    meters: Mapping[str, Meters]

    def memory(self) -> None:
        """Each case in a process of its own; the next stage needs room for all models at once."""
        measured = {f"memory: {case.key}": case for case in self.plan.cases}
        self._each("memory", {name: partial(_peak_memory, case) for name, case in measured.items()})
        largest: dict[str, int] = {}
        for name, case in measured.items():
            taken = self.state[name].get("host_bytes") or 0
            largest[case.place.key] = max(largest.get(case.place.key, 0), taken)
        needed, free = sum(largest.values()), board.free_memory(Path("/"))
        if free is not None and needed > free:
            raise SessionError(
                f"the models together take up to {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: use fewer "
                "models at once, or a smaller --batch."
            )

    def speed(self) -> None:
        """All sessions open at once, each case warmed up, then rounds over all cases."""
        cases = [case for case in self.plan.cases if "failed" not in self.state[f"memory: {case.key}"]]
        turns = {f"round {k}: {case.key}": case for k in range(ROUNDS) for case in order(cases, k)}
        if turns.keys() <= self.state.keys():
            return
        with ExitStack() as stack:
            sessions = {
                place.key: stack.enter_context(open_session(place.model.path, place.device))
                for place in {case.place.key: case.place for case in cases}.values()
            }

            def ready(case: Case) -> tuple[Session, Tiles]:
                return sessions[case.place.key], tiles_for(case.place.model.tile, case.batch_size)

            def turn(case: Case) -> dict[str, Any]:
                core, meters = case.place.model.core, self.meters[case.place.device]
                return block(*ready(case), self.plan.calls, core, meters)

            for done, case in enumerate(cases, 1):
                self.state.put(f"warm-up: {case.key}", warm_up(*ready(case)))
                self.report("warm-up", done, len(cases))
            self._each("rounds", {name: partial(turn, case) for name, case in turns.items()})

    def pair(self) -> None:
        """Whole runs, the models by turns; one before them is not counted, it fills the disk cache."""
        images = self.plan.request.pair
        if images is None:
            return
        turns = {
            f"pair {k}: {place.key}": partial(run_pair, images, place, self.folder, self.meters[place.device])
            for k in range(self.plan.request.pair_runs)
            for place in order(self.plan.places, k)
        }
        left = [turn for name, turn in turns.items() if name not in self.state]
        if left:
            self.report("pair", 0, len(turns))
            left[0]()
        self._each("pair", turns)

    def accuracy(self) -> None:
        """Each model on each dataset."""
        turns = [(place, entry) for entry in self.plan.datasets for place in self.plan.places]
        done, total = 0, sum(entry.images for _, entry in turns)
        for place, entry in turns:
            self.state.once(f"accuracy: {place.key}, {entry.label}", partial(self._score, place, entry, done, total))
            done += entry.images
            self.report("accuracy", done, total)

    def _each(self, stage: str, turns: Mapping[str, Callable[[], Any]]) -> None:
        """The parts of a stage by name."""
        for done, (name, turn) in enumerate(turns.items(), 1):
            self.state.once(name, turn)
            self.report(stage, done, len(turns))

    def _score(self, place: Place, entry: Labelled, before: int, total: int) -> dict[str, Any]:
        def progress(stage: str, images: int, of: int) -> None:
            self.report("accuracy", before + images, total)

        dataset = entry.name if entry.name in DATASETS else None
        run = partial(evaluate, entry.root, dataset=dataset, split=entry.split)
        result = run(model=place.model.path, device=place.device, progress=progress)
        return {**{key: getattr(result, key) for key in KEPT}, "warnings": list(result.warnings)}


def _peak_memory(case: Case) -> dict[str, Any]:
    return peak_memory(case.place.model.path, case.place.device, case.batch_size)


def run_pair(images: tuple[str, str], place: Place, scratch: Path, meters: Meters) -> dict[str, Any]:
    """A whole run, timed from opening the model to the last product; the products are removed.

    Returns:
        `seconds` in all, those in which reading, inference and writing were busy (they overlap), `megapixels`, `gsd`,
        `batch`, `joules`.
    """
    with tempfile.TemporaryDirectory(prefix=".bench.", dir=scratch) as folder:
        spent = meters.start()
        summary = detect(*images, folder, model=place.model.path, device=place.device).summary
        joules = spent()
    seconds = summary["seconds"]
    found = {"seconds": seconds["total"], "batch": summary["engine"]["batch"], "gsd": summary["grid"]["gsd"]}
    found |= {"megapixels": summary["pixels"]["total"] / 1e6, "joules": joules, "warnings": summary["warnings"]}
    return found | {stage: seconds[stage] for stage in ("read_busy", "infer_busy", "write_busy")}


def _idle_watts(meters: Iterable[Meters]) -> dict[str, float]:
    """By what the meters cover, over a few seconds in which nothing is done."""
    spent = {meter.covers: meter.start() for meter in meters if meter.covers}
    if spent:
        time.sleep(IDLE_SECONDS)
    found = {covers: joules() for covers, joules in spent.items()}
    return {covers: joules / IDLE_SECONDS for covers, joules in found.items() if joules is not None}


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
