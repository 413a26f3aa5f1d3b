"""Runs killed with SIGKILL at random moments and resumed, until so many kills were had.

A pair is run once without interruption. Then runs of the same pair are started with `--resume` and killed at a moment
drawn evenly from the time a whole run takes, again and again until each reaches its end by itself; what it leaves must
equal the uninterrupted result: both rasters byte for byte, the polygons row by row. Each process logs the sections it
begins and those that are finished, so that no section is computed again once it was finished. The network is the timing
stand-in. `python benchmarks/kill_resume.py --side 4096 --kills 50` writes `results/kill_resume.json`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyogrio.raw

from schanger_edge.products import SUMMARY
from schanger_edge.products.journal import unfinished


def worker(before: str, after: str, output: str, model: str, log: str) -> None:
    """One process: resume, and log what is begun and what is finished."""
    predict = importlib.import_module("schanger_edge.run.predict")
    journal = importlib.import_module("schanger_edge.products.journal").Journal
    detect = importlib.import_module("schanger_edge.run.detect").detect
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b"start\n")
    submit, adding = predict._submit, journal.adding

    def submitting(session: Any, items: Any, inputs: Any, flow: Any) -> Any:
        for item in items:
            os.write(file, f"tile {item.tile.owned.row_off} {item.tile.owned.col_off}\n".encode())
        return submit(session, items, inputs, flow)

    def logged(self: Any, section: Any) -> Any:
        block = adding(self, section)

        class Logged:
            def __enter__(self) -> Any:
                return block.__enter__()

            def __exit__(self, *error: Any) -> Any:
                result = block.__exit__(*error)
                rows, cols = (section.row_off, section.row_end), (section.col_off, section.col_end)
                os.write(file, "finished {} {} {} {}\n".format(*rows, *cols).encode())
                return result

        return Logged()

    predict._submit, journal.adding = submitting, logged
    detect(before, after, output, model=model, threads=1, resume=True)
    os.write(file, b"whole\n")


def run(before: Path, after: Path, output: Path, model: Path, log: Path, wait: float | None = None) -> bool:
    """Start a worker and kill it after `wait` seconds; True where the run had come to its end."""
    command = [sys.executable, __file__, "--worker", *map(str, (before, after, output, model, log))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _, text = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return (output / SUMMARY).exists() and unfinished(output) is None
        if process.returncode:
            raise RuntimeError(text.decode())
    return True


def computed_again(log: Path) -> list[tuple[int, int]]:
    """(row, column) of tiles that were begun after their section had been finished."""
    finished: list[tuple[int, ...]] = []
    again = []
    for line in log.read_text().splitlines():
        kind, *words = line.split()
        numbers = tuple(map(int, words))
        if kind == "finished":
            finished.append(numbers)
        elif kind == "tile":
            row, col = numbers
            if any(top <= row < bottom and left <= col < right for top, bottom, left, right in finished):
                again.append((row, col))
    return again


def content(folder: Path) -> dict[str, Any]:
    """Both rasters as bytes, the polygons as rows."""
    _, _, wkb, fields = pyogrio.raw.read(folder / "changes.gpkg", layer="changes")
    rows = [list(wkb), *[column.tolist() for column in fields]]
    return {"change": (folder / "change.tif").read_bytes(), "polygons": rows} | {
        "probability": (folder / "probability.tif").read_bytes()
    }


def storm(before: Path, after: Path, model: Path, folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill and resume; counts, and what differed (empty where all is well)."""
    rng = random.Random(seed)
    began = time.perf_counter()
    run(before, after, folder / "whole", model, folder / "whole.log")
    seconds = time.perf_counter() - began
    expected = content(folder / "whole")
    done = rounds = 0
    at: list[float] = []
    differing: set[str] = set()
    again: list[tuple[int, int]] = []
    while done < kills:
        rounds += 1
        output, log = folder / f"round{rounds}", folder / f"round{rounds}.log"
        whole = False
        while not whole:
            wait = rng.uniform(0, seconds) if done < kills else None
            whole = run(before, after, output, model, log, wait)
            if not whole:
                done += 1
                at.append(round(wait or 0, 2))
        got = content(output)
        differing |= {name for name in expected if got[name] != expected[name]}
        again += computed_again(log)
    sections = (folder / "whole.log").read_text().count("finished")
    return {
        "kills": done, "rounds": rounds, "sections": sections, "whole_run_seconds": round(seconds, 2),
        "killed_at_seconds": at, "differing": sorted(differing), "computed_again": again,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    from common import repeat_scene, save
    from standin import timing_model

    from schanger_edge.synthetic import write_pair

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timing_model(folder / "timing.onnx")
        scene = write_pair(folder / "scene", width=2048, height=2048, seed=1, nodata_wedge=False)
        pair = [repeat_scene(p, folder / p.name, options.side) for p in (scene.before, scene.after)]
        result = storm(*pair, folder / "timing.onnx", folder, options.kills)
    save("kill_resume", {"method": __doc__, "side": options.side, **result})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main()
