"""`schanger-edge batch` on a local Dask cluster of two processes, against runs one after the other.

kill: small rendered pairs and one damaged file; a worker is killed with SIGKILL when a third of the pairs is done. Maps
(byte for byte) and polygons (row by row) of each pair are compared with those of a single run. split: one large scene
divided over two workers, compared likewise; `computed_twice` is the share of the scene's tiles that both compute, for
the edges where their parts meet. overhead: seconds for the same list by a loop of `detect` with one warm session, by
`schanger-edge run` commands, and by batches of one and of two workers, their start and end included; one thread each.

The network is the timing stand-in unless `--model` gives another. Each case is saved when it is done:
`python benchmarks/batch.py`, or `python benchmarks/batch.py overhead`; writes `results/batch.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from kill_resume import content

from schanger_edge import detect
from schanger_edge.batch.options import Cluster
from schanger_edge.batch.outcome import Outcome
from schanger_edge.batch.results import Batch
from schanger_edge.batch.service import Listener, batch
from schanger_edge.run.predict import COLUMN, section_tiles
from schanger_edge.sessions import open_session
from schanger_edge.tiling.partition import Part
from schanger_edge.tiling.plan import TilePlan, blend_of

Files = Sequence[tuple[Path, Path]]


def write_list(path: Path, pairs: Files) -> Path:
    """A list of pairs named p000, p001, ..."""
    rows = [f"{before},{after},p{number:03d}" for number, (before, after) in enumerate(pairs)]
    path.write_text("\n".join(["before,after,id", *rows]) + "\n")
    return path


def worker_processes() -> list[psutil.Process]:
    """Those of a local cluster that this process has started."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def run_batch(
    pairs: Path, output: Path, model: Path, *, workers: int = 2, kill_after: int = 0, split: bool = False
) -> Batch:
    """A batch; after so many outcomes one of its workers is killed."""
    outcomes: list[str] = []

    class Killer(Listener):
        """Kills a worker."""

        def outcome(self, outcome: Outcome, error: BaseException | None) -> None:
            outcomes.append(outcome.id)
            if len(outcomes) == kill_after:
                os.kill(worker_processes()[0].pid, signal.SIGKILL)

    cluster = Cluster(workers=workers, split=split)
    return batch(pairs, output, cluster=cluster, listener=Killer(), model=str(model), device="cpu", threads=1)


def run_singly(pairs: Files, output: Path, model: Path) -> None:
    """One after the other, with one warm session."""
    with open_session(model, threads=1) as session:
        for number, (before, after) in enumerate(pairs):
            detect(before, after, output / f"p{number:03d}", session=session)


def kill(pairs: Files, model: Path, folder: Path) -> dict[str, Any]:
    """Kill a worker midway; to the pairs a damaged one is added."""
    damaged = folder / "damaged.tif"
    damaged.write_bytes(pairs[0][0].read_bytes()[:3000])
    listed = write_list(folder / "killed.csv", [*pairs, (damaged, pairs[0][1])])
    result = run_batch(listed, folder / "killed", model, kill_after=max(len(pairs) // 3, 1))
    run_singly(pairs, folder / "single", model)
    equal = [
        name for name in (f"p{number:03d}" for number in range(len(pairs)))
        if content(folder / "killed" / name) == content(folder / "single" / name)
    ]  # fmt: skip
    reported = {outcome.id: outcome.reason.replace(f"{folder}/", "") for outcome in result.failed if outcome.reason}
    return {"pairs": len(pairs) + 1, "workers": 2, "killed_workers": 1, "equal": len(equal), "reported": reported}


def split(before: Path, after: Path, model: Path, folder: Path) -> dict[str, Any]:
    """One scene over two workers, and by one run."""
    began = time.perf_counter()
    run_batch(write_list(folder / "large.csv", [(before, after)]), folder / "split", model, split=True)
    took = time.perf_counter() - began
    began = time.perf_counter()
    run_singly([(before, after)], folder / "whole", model)
    whole, divided = (content(folder / kind / "p000") for kind in ("whole", "split"))
    summary = json.loads((folder / "whole" / "p000" / "summary.json").read_text())
    return {
        "megapixels": round(summary["pixels"]["total"] / 1e6, 1), "workers": 2,
        "differing": [name for name in whole if whole[name] != divided[name]],
        "seconds_split": round(took, 1), "seconds_whole": round(time.perf_counter() - began, 1),
        "computed_twice": round(_computed_twice(summary), 3),
    }  # fmt: skip


def _computed_twice(summary: dict[str, Any]) -> float:
    """Share of the scene's rows that is context of the second of two parts: one strip of tiles, at one per batch."""
    card, grid = summary["model"]["card"], summary["grid"]
    plan = TilePlan(grid["width"], grid["height"], card["tile"], card["halo"], blend_of(card["tile"], card["halo"]))
    _, context = Part(1, 2).share(plan.sections(section_tiles(plan.tile), COLUMN), (), summary["options"]["batch_size"])
    return context[0].window.height / grid["height"] if context else 0.0


def overhead(pairs: Files, model: Path, folder: Path, commands: int = 5) -> dict[str, Any]:
    """Seconds for a list by several ways; `run` commands are timed for some pairs and counted up."""
    listed = write_list(folder / "pairs.csv", pairs)
    code = "from schanger_edge.cli import main; main()"

    def by_commands() -> None:
        for number, pair in enumerate(pairs[:commands]):
            options = ["-o", folder / "commands" / str(number), "--model", model, "--device", "cpu", "--threads", "1"]
            command = [sys.executable, "-c", code, "run", *pair, *options]
            subprocess.run([str(word) for word in command], check=True, capture_output=True)

    ways: dict[str, Callable[[], object]] = {
        "loop": lambda: run_singly(pairs, folder / "loop", model),
        "one_worker": lambda: run_batch(listed, folder / "one", model, workers=1),
        "two_workers": lambda: run_batch(listed, folder / "two", model, workers=2),
        "commands": by_commands,
        "all_done_before": lambda: run_batch(listed, folder / "two", model, workers=2),
    }
    seconds = {}
    for name, way in ways.items():
        began = time.perf_counter()
        way()
        seconds[name] = round(time.perf_counter() - began, 2)
    seconds["commands"] = round(seconds["commands"] * len(pairs) / min(commands, len(pairs)), 2)
    per_pair = (seconds["one_worker"] - seconds["loop"]) / len(pairs)
    return {
        "pairs": len(pairs), "threads_of_each_worker": 1, "seconds": seconds,
        "commands_timed": min(commands, len(pairs)),
        "overhead_of_one_worker_seconds_per_pair": round(per_pair, 3),
        "speedup_of_two_workers": round(seconds["loop"] / seconds["two_workers"], 2),
    }  # fmt: skip


def render(folder: Path, count: int, side: int) -> Files:
    """Small rendered pairs."""
    from schanger_edge.synthetic import write_pair

    made = [
        write_pair(folder / f"scene{seed}", width=side, height=side, seed=seed, nodata_wedge=seed % 3 == 0)
        for seed in range(count)
    ]
    return [(scene.before, scene.after) for scene in made]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", default=["kill", "split", "overhead"])
    parser.add_argument("--pairs", type=int, default=39, help="good pairs; one damaged is added in kill")
    parser.add_argument("--side", type=int, default=512, help="of a small pair")
    parser.add_argument("--large", type=int, default=8192, help="side of the scene that is split")
    parser.add_argument("--model", type=Path, help="an .onnx file (the timing stand-in)")
    options = parser.parse_args()
    from common import RESULTS, repeat_scene, save
    from standin import timing_model

    known = RESULTS / "batch.json"
    result = {"method": __doc__}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timing_model(folder / "timing.onnx")
        model = options.model or folder / "timing.onnx"
        small = render(folder, options.pairs, options.side)
        large = render(folder / "large", 1, 2048)[0] if "split" in options.case else None
        for case in options.case:
            work = folder / case
            work.mkdir()
            if case == "split":
                assert large is not None
                scene = [repeat_scene(path, folder / f"large_{path.name}", options.large) for path in large]
                found = split(*scene, model, work)
            else:
                found = {"side": options.side}
                found |= {"kill": kill, "overhead": overhead}[case](small, model, work)
            earlier = json.loads(known.read_text()) if known.exists() else {}
            save("batch", {**earlier, **result, case: {"model": model.name, **found}})
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
